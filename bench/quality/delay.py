"""Mouth to ear by adding up what waits where: each part with the constant of the code that makes it wait."""

from dataclasses import dataclass

from relay.agent.transcoder import TICK_MILLISECONDS
from relay.lab.ear import PLAYOUT_START
from relay.rtp.playout import DEPTH

TICK = float(TICK_MILLISECONDS)
CODEC = 6.5
"""Milliseconds that libopus looks ahead (RFC 6716 section 2.1: voice application)."""
HALF = TICK / 2
"""Whatever waits for a moment of a clock of 20 ms waits half of that on average."""
BLUR = 1.0
"""Milliseconds by which an agent puts a cell off, on average."""


@dataclass(frozen=True, slots=True)
class Part:
    what: str
    milliseconds: float


def parts(*, translated: bool) -> tuple[Part, ...]:
    """From mouth to ear over one reflector, without the network itself."""
    common = (
        Part("the phone's packet", TICK),
        Part("Opus looks ahead", CODEC),
        Part("until the agent's next cell", HALF + BLUR),
        Part("until the other line's slot", HALF),
        Part("the phone's playout", PLAYOUT_START * 1000),
    )
    if not translated:
        return common
    return (
        *common,
        Part("the agent's grid, and one packet kept", HALF + TICK),
        Part("the agent's jitter buffer", (DEPTH - 1) * TICK + HALF),
    )
