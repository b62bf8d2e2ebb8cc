"""When the lines of a reflector that died go on elsewhere: each at a time of its own, whatever it carries."""

from dataclasses import dataclass

from relay.core import Entropy


@dataclass(frozen=True, slots=True)
class Scatter:
    """Two times of one line, in seconds after it fell silent.  Neither depends on anything that a call could change.

    It moves at a time uniform in [0, `moving`), and the line that it leaves closes at one uniform in
    [`holding`, `holding + releasing`), when every move is over.
    """

    moving: float = 2.5
    holding: float = 5.0
    releasing: float = 3.0

    def move(self, entropy: Entropy) -> float:
        """When to open a line elsewhere."""
        return entropy.uniform(0.0, self.moving)

    def release(self, entropy: Entropy) -> float:
        """When to close what is not needed any more: independent of `move`."""
        return self.holding + entropy.uniform(0.0, self.releasing)
