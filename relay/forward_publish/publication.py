"""When one contact's record is published: at times that say nothing of when the author's other records are.

All records of one author would otherwise come together, at its start and at midnight, and a contact point
could count them as one person's.  So every record waits a random time of its own.  Only where nobody has found
anything yet, in the first exchange of two new contacts, does it go at once: somebody waits for it.
"""

from relay.core import Entropy

AFTER_START = 600.0
"""Seconds over which an agent that starts spreads the records it has published before."""

AFTER_MIDNIGHT = 3600.0
"""The same, when a new period begins: the record of the last one is good until this one is over."""

FIRST_EVER = 2.0
"""The same, for a contact who may have no record of ours yet."""

EVERY = 6 * 3600.0
"""A record is published again after half this time to all of it."""


class PublicationTimes:
    """The schedule of one contact's record.  `now` is monotonic, in seconds."""

    __slots__ = ("_at", "_entropy", "_period", "_spread", "published")

    def __init__(self, entropy: Entropy, now: float, period: int, *, known: bool) -> None:
        """`known`: the two have found each other before, so that nobody waits."""
        self._entropy = entropy
        self._period = period
        self._at = now
        self._spread = AFTER_START if known else FIRST_EVER
        self.published = False
        """Whether it was ever done."""
        self.postpone(now)

    def due(self, now: float, period: int) -> bool:
        """Whether the record of `period`, the current one, is to be published now."""
        if period != self._period:
            self._period = period
            self._at = min(self._at, now + self._entropy.uniform(0.0, AFTER_MIDNIGHT))
        return now >= self._at

    def postpone(self, now: float) -> None:
        """It cannot be published now: what hinders all records must not let all of them go together when it ends."""
        self._at = now + self._entropy.uniform(0.0, self._spread)

    def done(self, now: float) -> None:
        """It was published."""
        self.published = True
        self._spread = AFTER_START
        self._at = now + self._entropy.uniform(0.5, 1.0) * EVERY

    def wait(self, now: float) -> float:
        """Seconds until it is due, as far as is known; 0 where it is."""
        return max(0.0, self._at - now)
