"""Whether a ring is as old as it may be, although the two clocks differ.

A contact point can hold a ring back and deliver it when it likes.  The sender's clock may be wrong by half an hour, so
its time stamp alone says little; compared with the least delayed message seen of the same contact it says enough.
"""

MOST_CONTACTS = 2000


class Freshness:
    """Remembers, in memory alone, how far each contact's time stamps lie behind our clock at the least."""

    def __init__(self) -> None:
        self._least: dict[bytes, float] = {}

    def note(self, contact: bytes, sent_at: float, now: float) -> float:
        """Take up a message; returns by how many seconds it is later than the promptest one of this contact."""
        behind = now - sent_at
        least = min(behind, self._least.get(contact, behind))
        if contact in self._least or len(self._least) < MOST_CONTACTS:
            self._least[contact] = least
        return behind - least
