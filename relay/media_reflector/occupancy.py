"""How full a reflector says it is: a level from 0 to 4, changed seldom, so that no line and no call shows in it.

Whoever fetches descriptors often would otherwise read from them when lines come and go.
"""

FULL = 4
"""The level at which new lines are not worth a try; the levels below are quarters."""

PERIOD = 600
"""Seconds of wall time in which the level changes at most once, at the first look.  Periods of the clock and not of the
process: the moment of a change says nothing about when either began."""

_RISES_AT = (0.25, 0.50, 0.75, 0.95)
"""Share of the capacity from which the next level is told."""
_MARGIN = 0.06
"""How far below that the share must fall before the level is taken back: lines around a threshold move nothing."""


class OccupancyLevel:
    """The level that is told now.  `look` often; it decides once in a period."""

    def __init__(self, capacity: int) -> None:
        self.level = 0
        self._capacity = capacity
        self._period = -1

    def look(self, lines: int, wall: float) -> int:
        """The level to tell at `wall` seconds of wall time, when `lines` lines are open."""
        period = int(wall // PERIOD)
        if period != self._period:
            self._period = period
            self.level = self._judge(lines / self._capacity)
        return self.level

    def _judge(self, share: float) -> int:
        rises = sum(share >= threshold for threshold in _RISES_AT)
        stays = sum(share >= threshold - _MARGIN for threshold in _RISES_AT)
        return min(max(self.level, rises), stays)
