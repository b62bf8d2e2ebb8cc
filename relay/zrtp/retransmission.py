"""Sending one message again until it is answered (RFC 6189 section 6)."""

from enum import StrEnum

from relay.zrtp.settings import Schedule


class Ripe(StrEnum):
    """What is due."""

    NOTHING = "nothing"
    AGAIN = "again"
    GIVE_UP = "give up"


class Retransmission:
    """At most one message at a time.  It is the same bytes every time; only the packet around it is new."""

    __slots__ = ("_interval", "_left", "_schedule", "_until", "deadline", "message")

    def __init__(self) -> None:
        self.stop()

    def start(self, message: bytes, schedule: Schedule, now: float, *, at_least: float = 0.0) -> None:
        """Called when `message` is sent for the first time.  `at_least`: seconds for which to go on in any case."""
        self.message = message
        self._schedule = schedule
        self._interval = schedule.first
        self._left = schedule.times
        self._until = now + at_least
        self.deadline: float | None = now + self._interval

    def stop(self) -> None:
        """It was answered."""
        self.message = b""
        self.deadline = None

    def extend(self, until: float) -> None:
        """Go on until then, the number of times notwithstanding."""
        self._until = max(self._until, until)

    def due(self, now: float) -> Ripe:
        """What to do now; AGAIN once for each time that the message is to be sent."""
        if self.deadline is None or now < self.deadline:
            return Ripe.NOTHING
        if self._left <= 0 and now >= self._until:
            self.stop()
            return Ripe.GIVE_UP
        self._left -= 1
        self._interval = min(2 * self._interval, self._schedule.most)
        # From now, not from when it should have been: a late caller must not send a burst.
        self.deadline = now + self._interval
        return Ripe.AGAIN
