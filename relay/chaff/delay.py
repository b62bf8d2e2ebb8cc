"""Start delay and staggered teardown: the random times around a call on an on-demand line.

They protect one call, not a habit: repeated calls between the same two people are singled out all the same
(docs/threat-model.md).  Presence is what removes the signal.
"""

from dataclasses import dataclass

from relay.core import Entropy


@dataclass(frozen=True, slots=True)
class StartDelay:
    """The time between a human's answer and the opening of a line: uniform in [0, maximum] seconds."""

    maximum: float

    def draw(self, entropy: Entropy) -> float:
        return entropy.uniform(0.0, self.maximum)


@dataclass(frozen=True, slots=True)
class StaggeredTeardown:
    """How long a line stays up, full of chaff, after its call ended: uniform in [minimum, maximum] seconds.

    Each of the two lines draws its own, independently of the other and of the start delay.  `minimum` leaves
    time to say goodbye inside the cells.
    """

    maximum: float
    minimum: float = 0.0

    def draw(self, entropy: Entropy) -> float:
        return entropy.uniform(self.minimum, max(self.minimum, self.maximum))
