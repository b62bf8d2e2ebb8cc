"""The descriptors of one reflector, one after the other: whatever says something else is dated later.

Descriptors are dated to the full hour, so that none says when its reflector began or was asked.  They also travel by
way of contact points, in any order, and whoever reads them there has to know which of two is the newer one.  So the
second one of an hour is dated a second later than the first, the third one two: the seconds are a number and no time.

The number must not begin anew with the process, or what was said before a restart would count as newer than what is
said after it: `last` is kept on disk.  Where it was lost all the same, contact points say so ("older"), and `overtake`
goes on behind.
"""

from collections.abc import Callable

import msgspec

from relay.media_reflector.descriptor import Descriptor

HOUR = 3600
MOST_LATER = 1500
"""Seconds that a date is later than the hour at most: below the half of an hour by which clocks may disagree."""

Sign = Callable[[Descriptor], bytes]


class DescriptorSeries:
    """Dates and signs what one reflector says of itself; `last` is the date of what it said last, 0 for nothing."""

    def __init__(self, sign: Sign, last: int = 0) -> None:
        self.last = last
        self._sign = sign
        self._told: Descriptor | None = None
        self._signed = b""
        self._overtaken = 0

    def signed(self, told: Descriptor) -> bytes:
        """The signed descriptor that says `told`, which is dated to the hour that it is now.

        The same bytes again for as long as `told` is the same.
        """
        if told != self._told or self._overtaken:
            hour = told.valid_from
            # What would be later than that is from a clock that was wrong, or from more changes than anybody takes in.
            from_ = min(max(hour, self.last + 1 + self._overtaken), hour + MOST_LATER)
            later = from_ - hour
            dated = msgspec.structs.replace(told, valid_from=from_, valid_until=told.valid_until + later)
            self._told, self._signed, self._overtaken = told, self._sign(dated), 0
            self.last = from_
        return self._signed

    def overtake(self, step: int) -> None:
        """Somebody has a later one of ours: date the next one `step` seconds later than would do."""
        self._overtaken = step
