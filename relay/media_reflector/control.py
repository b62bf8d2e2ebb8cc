"""Link control: what an agent and its reflector say to each other in place of a body.

One byte of operation, a field of that operation's size, random filling: 131 bytes inside the link encryption.  Two
reflectors speak the same on the slots of a trunk.
"""

from dataclasses import dataclass
from enum import IntEnum

from relay.core import Entropy, MisuseError
from relay.media_reflector.forwarding.face import TICKET_ID_SIZE
from relay.media_reflector.tickets import SECRET_SIZE, Ticket, TicketKind
from relay.rtp.cell import BODY_SIZE

JOIN_CODE_SIZE = 16
CHALLENGE_SIZE = 16
PUBLIC_SIZE = 32
IDENTITY_SIZE = 32
_TIMESTAMP_SIZE = 4
_SECONDS_SIZE = 2
LONGEST_SECONDS = (1 << 8 * _SECONDS_SIZE) - 1
_TICKET_SIZE = TICKET_ID_SIZE + SECRET_SIZE + _SECONDS_SIZE


class Operation(IntEnum):
    """The first byte of a control body."""

    JOIN = 1
    """Agent: cross me with the other line of this code."""
    CROSSED = 2
    """Reflector: you are crossed under this code."""
    REFUSED = 3
    """Reflector: not under this code; after so many seconds another try may do.  Never says why."""
    LEAVE = 4
    """Agent: uncross me, the line stays."""
    CLOSE = 5
    """Agent: the line ends here."""
    PROVE = 6
    """Agent: what you sent reached me here.  The RTP timestamp of an answer (4 bytes), or a challenge."""
    ROAM = 7
    """Agent: I am at another address now."""
    CHALLENGE = 8
    """Reflector, to an address that is not the line's: say this back."""
    REKEY = 9
    """Agent: my half of a new X25519 exchange."""
    REKEYED = 10
    """Reflector: the other half; go on under the following epoch."""
    RESUMPTION = 11
    """Reflector: a ticket to come back with, here."""
    BACKUP = 12
    """Reflector: a ticket for another reflector, for when this one is gone."""
    JOIN_VIA = 13
    """Agent: cross me with the line that sends this code to the reflector of that identity."""
    DRAINING = 14
    """Reflector: this one ends when its calls have ended."""
    ALIVE = 15
    """Reflector, to a reflector: this end of the trunk lives."""


_FIELD_SIZES = {
    Operation.JOIN: JOIN_CODE_SIZE,
    Operation.CROSSED: JOIN_CODE_SIZE,
    Operation.REFUSED: JOIN_CODE_SIZE + _SECONDS_SIZE,
    Operation.LEAVE: JOIN_CODE_SIZE,
    Operation.CLOSE: 0,
    Operation.PROVE: CHALLENGE_SIZE,
    Operation.ROAM: 0,
    Operation.CHALLENGE: CHALLENGE_SIZE,
    Operation.REKEY: PUBLIC_SIZE,
    Operation.REKEYED: PUBLIC_SIZE,
    Operation.RESUMPTION: _TICKET_SIZE,
    Operation.BACKUP: IDENTITY_SIZE + _TICKET_SIZE,
    Operation.JOIN_VIA: JOIN_CODE_SIZE + IDENTITY_SIZE,
    Operation.DRAINING: 0,
    Operation.ALIVE: 0,
}
_OPERATIONS: list[Operation | None] = [None] * 256
for _operation in Operation:
    _OPERATIONS[_operation] = _operation


@dataclass(frozen=True, slots=True)
class Control:
    """One control body: an operation and its field, of exactly the operation's size."""

    operation: Operation
    field: bytes = b""

    @classmethod
    def refused(cls, code: bytes, seconds: int) -> "Control":
        return cls(Operation.REFUSED, code + seconds.to_bytes(_SECONDS_SIZE))

    @classmethod
    def prove_answer(cls, timestamp: int) -> "Control":
        return cls(Operation.PROVE, timestamp.to_bytes(_TIMESTAMP_SIZE).ljust(CHALLENGE_SIZE, b"\0"))

    @classmethod
    def join_via(cls, code: bytes, identity: bytes) -> "Control":
        return cls(Operation.JOIN_VIA, code + identity)

    @classmethod
    def resumption(cls, ticket: Ticket, now: float) -> "Control":
        """`now` is in the clock of the ticket's `expires`; only whole seconds of what is left travel."""
        return cls(Operation.RESUMPTION, _pack_ticket(ticket, now))

    @classmethod
    def backup(cls, identity: bytes, ticket: Ticket, now: float) -> "Control":
        """`identity` is that of the reflector which honours the ticket."""
        return cls(Operation.BACKUP, identity + _pack_ticket(ticket, now))

    @property
    def code(self) -> bytes:
        """The join code of JOIN, CROSSED, REFUSED, LEAVE and JOIN_VIA."""
        return self.field[:JOIN_CODE_SIZE]

    @property
    def seconds(self) -> int:
        """After how long another moment may do (REFUSED)."""
        return int.from_bytes(self.field[JOIN_CODE_SIZE:])

    @property
    def timestamp(self) -> int:
        """What PROVE echoes of an answer."""
        return int.from_bytes(self.field[:_TIMESTAMP_SIZE])

    @property
    def identity(self) -> bytes:
        """The other reflector of JOIN_VIA and BACKUP."""
        if self.operation is Operation.JOIN_VIA:
            return self.field[JOIN_CODE_SIZE:]
        return self.field[:IDENTITY_SIZE]

    def ticket(self, now: float) -> Ticket:
        """The ticket of RESUMPTION and BACKUP, `expires` in the clock of `now`."""
        handed, kind = self.field, TicketKind.RESUMPTION
        if self.operation is Operation.BACKUP:
            handed, kind = self.field[IDENTITY_SIZE:], TicketKind.BACKUP
        secret_end = TICKET_ID_SIZE + SECRET_SIZE
        lifetime = int.from_bytes(handed[secret_end:])
        return Ticket(handed[:TICKET_ID_SIZE], handed[TICKET_ID_SIZE:secret_end], now + lifetime, kind)

    def to_body(self, entropy: Entropy) -> bytes:
        if len(self.field) != _FIELD_SIZES[self.operation]:
            raise MisuseError("a control field of another operation's size")
        return bytes((self.operation,)) + self.field + entropy.token(BODY_SIZE - 1 - len(self.field))

    @classmethod
    def from_body(cls, body: bytes) -> "Control | None":
        """None for an operation that this version does not know."""
        operation = _OPERATIONS[body[0]]
        return None if operation is None else cls(operation, body[1 : 1 + _FIELD_SIZES[operation]])


def _pack_ticket(ticket: Ticket, now: float) -> bytes:
    lifetime = max(0, min(LONGEST_SECONDS, int(ticket.expires - now)))
    return ticket.id + ticket.secret + lifetime.to_bytes(_SECONDS_SIZE)
