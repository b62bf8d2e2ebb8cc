"""The lines of one agent, those that it opens while it moves included, and when it did what."""

import math
from dataclasses import dataclass, field

from relay.agent.failover import Failover, Place
from relay.forward_publish import CallKeys
from relay.lab.moving.cohort import Cohort
from relay.media_reflector import Descriptor, LineClient, Ticket


@dataclass(slots=True)
class Move:
    """What one line did, in monotonic seconds; NaN for what it never did."""

    in_call: bool
    lost: float = math.nan
    began: float = math.nan
    """When the first cell of its line at the backup left."""
    opened: float = math.nan
    crossed: float = math.nan


@dataclass(slots=True, eq=False)
class Branch:
    agent: "Agent"
    number: int
    cohort: Cohort
    client: LineClient
    identity: bytes
    """The reflector's."""
    away: bool
    native: int | None = None
    heard_at: float = 0.0
    listens: bool = True
    """Whether anything that comes on it is of interest still, beyond that it came."""

    @property
    def up(self) -> bool:
        """Whether it is open, and crossed if it is in a call."""
        return self.native is not None and (self.agent.keys is None or self.client.crossed)


@dataclass(slots=True, eq=False)
class Agent:
    core: Failover
    keys: CallKeys | None
    slot: int
    move: Move
    branches: dict[int, Branch] = field(default_factory=dict)
    resumption: Ticket | None = None
    backup: tuple[bytes, Ticket] | None = None
    other: "Agent | None" = None
    """The other end of its call."""
    ready: dict[Place, tuple[Descriptor, LineClient]] = field(default_factory=dict)

    @property
    def provided(self) -> bool:
        """Whether it holds both tickets."""
        return self.resumption is not None and self.backup is not None
