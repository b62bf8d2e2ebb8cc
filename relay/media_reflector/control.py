"""Link control: what an agent and its reflector say to each other in place of a body.

One byte of operation, a field, random filling: 131 bytes inside the link encryption.  Rekey, path challenge,
resumption ticket and backup reflector will be operations here; none exists yet.
"""

from dataclasses import dataclass
from enum import IntEnum

from relay.core import Entropy, MisuseError
from relay.rtp.cell import BODY_SIZE

JOIN_CODE_SIZE = 16
_TIMESTAMP_SIZE = 4


class Operation(IntEnum):
    """The first byte of a control body."""

    JOIN = 1
    """Agent: cross me with the other line of this code."""
    CROSSED = 2
    """Reflector: you are crossed under this code."""
    REFUSED = 3
    """Reflector: two other lines are crossed under this code, or nobody came in time."""
    LEAVE = 4
    """Agent: uncross me, the line stays."""
    CLOSE = 5
    """Agent: the line ends here."""
    PROVE = 6
    """Agent: your answer reached me here; its RTP timestamp is the field's first four bytes."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control body; `code` is zero where the operation has none."""

    operation: Operation
    code: bytes = bytes(JOIN_CODE_SIZE)

    @classmethod
    def prove(cls, timestamp: int) -> "Control":
        return cls(Operation.PROVE, timestamp.to_bytes(_TIMESTAMP_SIZE).ljust(JOIN_CODE_SIZE, b"\0"))

    @property
    def timestamp(self) -> int:
        """What PROVE echoes."""
        return int.from_bytes(self.code[:_TIMESTAMP_SIZE])

    def to_body(self, entropy: Entropy) -> bytes:
        if len(self.code) != JOIN_CODE_SIZE:
            raise MisuseError("a join code has 16 bytes")
        return bytes((self.operation,)) + self.code + entropy.token(BODY_SIZE - 1 - JOIN_CODE_SIZE)

    @classmethod
    def from_body(cls, body: bytes) -> "Control | None":
        """None for an operation that this version does not know."""
        try:
            operation = Operation(body[0])
        except ValueError:
            return None
        return cls(operation, body[1 : 1 + JOIN_CODE_SIZE])
