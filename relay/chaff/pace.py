"""When cells leave: the tick, and a line's slot within it."""

import math

from relay.core import Entropy


class Pace:
    """A fixed grid of departures: `slot + k * tick` for every integer k, whatever arrives or fails to.

    `tick` and `slot` are in seconds.  Departures that were missed (a suspended machine) are skipped, never
    sent in a burst, because a burst would say how long this machine was busy.
    """

    __slots__ = ("slot", "tick")

    def __init__(self, tick: float, slot: float) -> None:
        self.tick = tick
        self.slot = slot % tick

    @classmethod
    def at_random(cls, tick: float, entropy: Entropy) -> "Pace":
        """A pace whose slot is drawn uniformly from the tick."""
        return cls(tick, entropy.uniform(0.0, tick))

    def index(self, now: float) -> int:
        """The number of the last departure at or before `now`."""
        index = math.floor((now - self.slot) / self.tick)
        # The quotient is rounded, the more the longer the clock has run; a departure must not come up twice.
        while self.departure(index + 1) <= now:
            index += 1
        while self.departure(index) > now:
            index -= 1
        return index

    def departure(self, index: int) -> float:
        """The moment of departure number `index`, in the clock of `index`."""
        return self.slot + index * self.tick

    def following(self, now: float) -> float:
        """The first departure strictly after `now`."""
        return self.departure(self.index(now) + 1)
