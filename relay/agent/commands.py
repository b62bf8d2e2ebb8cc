"""What a call wants done: the commands that `relay.agent.call` drains and `relay.agent.calls` carries out."""

from dataclasses import dataclass
from enum import Enum

from relay.agent.events import Value


class Tone(Enum):
    NONE = "none"
    WAITING = "waiting"
    FAREWELL = "farewell"


@dataclass(frozen=True, slots=True)
class ProgressPhone:
    """Tell the caller's phone how things stand."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerPhone:
    """Answer the caller's phone: from here on it hears the waiting tone."""


@dataclass(frozen=True, slots=True)
class RefusePhone:
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class HangUpPhone:
    """End the phone's leg, whichever state it is in."""


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """Seal `status` as the one answer to the ring, back to the caller's own token."""

    status: int


@dataclass(frozen=True, slots=True)
class SendNote:
    """Seal a dialog request (CANCEL, BYE) as a message of its own."""

    method: str


@dataclass(frozen=True, slots=True)
class SendInCells:
    """Put a dialog request (ACK, BYE) or "200" for the BYE into the cells."""

    what: str


@dataclass(frozen=True, slots=True)
class OpenLine:
    """Open a line at the agreed reflector at `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class Unkey:
    """Forget the call's keys: from here on the line carries chaff alone."""


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """Close the line at `at`; until then it stays up, full of chaff."""

    at: float


@dataclass(frozen=True, slots=True)
class Play:
    tone: Tone
    until: float


@dataclass(frozen=True, slots=True)
class Tell:
    """An event for the owner of this agent."""

    event: str
    fields: dict[str, Value]


Output = (
    ProgressPhone
    | AnswerPhone
    | RefusePhone
    | HangUpPhone
    | SendAnswer
    | SendNote
    | SendInCells
    | OpenLine
    | Unkey
    | ReleaseLine
    | Play
    | Tell
)
