"""What every transaction shares: timer values, state names, and the flow a message travels on."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal


class TransactionState(Enum):
    """The states of RFC 3261 section 17 and RFC 6026 section 7."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


FINISHED = frozenset(
    {
        TransactionState.ACCEPTED,
        TransactionState.COMPLETED,
        TransactionState.CONFIRMED,
        TransactionState.TERMINATED,
    }
)
"""States in which a transaction only absorbs retransmissions, and may be dropped when room is needed."""


@dataclass(frozen=True, slots=True)
class Timers:
    """Base values in seconds, from which RFC 3261 table 4 derives Timer A to Timer K."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    d: float = 32.0

    @property
    def transaction(self) -> float:
        """64*T1: Timers B, F, H, J, and L and M of RFC 6026."""
        return 64 * self.t1


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a message came from, and where its answer goes (RFC 5626).

    `connection` numbers a TCP connection; 0 on TCP asks for a new one to `host` and `port`.
    """

    transport: Literal["UDP", "TCP"]
    host: str
    port: int
    connection: int = 0

    @property
    def reliable(self) -> bool:
        return self.transport != "UDP"
