"""Where the two lines of a call meet (pure decisions): at a guard both have, else over a trunk between two guards.

The caller offers her guards, the callee chooses.  A reflector that is a guard of neither is never taken: who could name
one could name their own, and would see an address on it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relay.core import Entropy

NOTHING_IN_COMMON = (
    "you and {contact} have no reflector in common, and no trunk joins one of yours with one of theirs. A call would "
    "have to go through a reflector that is not your guard, and whoever runs that would learn your address; so it is "
    "not made. Accept a list of reflectors that {contact} accepts too"
)
"""What a person is told when there is nowhere to meet."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """`own` is the id of the callee's guard at which the callee opens the line; `via`, where the caller opens hers: at
    the same one when it is empty, else at that guard of hers, from where a trunk leads to `own`."""

    own: str
    via: str = ""

    @property
    def callers(self) -> str:
        """The id of the reflector at which the caller opens her line."""
        return self.via or self.own


def choose_meeting(
    offered: Sequence[str], guards: Mapping[str, Collection[str]], entropy: Entropy
) -> Meeting | None:
    """Where to meet a caller who offered these ids; None when there is nowhere.

    `guards` are the callee's that can take a line now, each with the ids of the reflectors it keeps a trunk with.
    """
    common = sorted(set(offered) & set(guards))
    if common:
        return Meeting(entropy.choice(common))
    trunks = sorted((own, via) for own, peers in guards.items() for via in set(offered) & set(peers))
    return Meeting(*entropy.choice(trunks)) if trunks else None
