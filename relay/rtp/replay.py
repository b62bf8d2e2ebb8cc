"""The replay window that SRTP (RFC 3711 section 3.3.2) and the end-to-end layer share."""

WINDOW_SIZE = 128
"""How far behind the highest index a packet may come; RFC 3711 asks for at least 64."""

_MASK = (1 << WINDOW_SIZE) - 1


class ReplayWindow:
    """Remembers which of the last `WINDOW_SIZE` indices were accepted.

    Ask only after the packet proved authentic, else an attacker could move the window.
    """

    __slots__ = ("_seen", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._seen = 0

    def fresh(self, index: int) -> bool:
        """Whether `index` could still be accepted."""
        behind = self.highest - index
        return behind < 0 or (behind < WINDOW_SIZE and not self._seen >> behind & 1)

    def accept(self, index: int) -> bool:
        """Take `index`; False when it was taken before or is too old."""
        behind = self.highest - index
        if behind < 0:
            self._seen = ((self._seen << min(-behind, WINDOW_SIZE)) | 1) & _MASK
            self.highest = index
            return True
        if behind >= WINDOW_SIZE or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
