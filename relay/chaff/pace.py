"""When cells leave: the tick, and a line's slot within it."""

import math

from relay.core import Entropy


class Pace:
    """A fixed grid of departures: `slot + k * tick` for every integer k, whatever arrives or fails to.

    `tick` and `slot` are in seconds.  Departures that were missed (a suspended machine) are skipped, never
    sent in a burst, because a burst would say how long this machine was busy.

    `blur` (seconds) is for senders that share a machine with what must stay hidden: each departure is put off by a
    time of its own, uniform in [0, blur), which drowns the far smaller delays that a busy processor causes.
    """

    __slots__ = ("blur", "slot", "tick")

    def __init__(self, tick: float, slot: float, blur: float = 0.0) -> None:
        self.tick = tick
        self.blur = blur
        self.slot = slot % tick

    @classmethod
    def at_random(cls, tick: float, entropy: Entropy, *, blur: float = 0.0) -> "Pace":
        """A pace whose slot is drawn uniformly from the tick."""
        return cls(tick, entropy.uniform(0.0, tick), blur)

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

    def blurred(self, index: int, entropy: Entropy) -> float:
        """The moment of departure number `index`, put off by a random part of `blur`."""
        return self.departure(index) + entropy.uniform(0.0, self.blur)

    def following(self, now: float) -> float:
        """The first departure strictly after `now`."""
        return self.departure(self.index(now) + 1)
