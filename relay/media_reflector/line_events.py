"""What a line tells its agent."""

from dataclasses import dataclass
from enum import StrEnum

from relay.media_reflector.tickets import Ticket


@dataclass(frozen=True, slots=True)
class LineOpened:
    """The reflector answered the handshake."""


@dataclass(frozen=True, slots=True)
class LineCrossed:
    """The exchange crossed this line with the other one of its join code."""


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """Not under this join code, or nobody came in time.  The line itself stays up.

    `seconds` is after how long the reflector would take another try; zero where it did not say.
    """

    reason: str
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """An end-to-end body from the other line: 131 bytes, perhaps random ones."""

    body: bytes


@dataclass(frozen=True, slots=True)
class ResumptionReceived:
    """A ticket to come back to this reflector with, should the line be lost; it replaces the one before."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class BackupReceived:
    """A ticket for the reflector of `identity`, should this one be gone; it replaces the one before."""

    identity: bytes
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Draining:
    """The reflector ends when its calls have ended; it takes no new ones.

    It says so on each line, and could say it on one alone: who does anything because of it that others can see, lets it
    mark a line.  It is a reason to give when the line is lost (`LossCause.ENDED`).
    """


class LossCause(StrEnum):
    """Why a line was lost."""

    UNANSWERED = "unanswered"
    """Nothing came back: no way there, an old ticket, or no reflector."""
    BUSY = "busy"
    """The reflector is there, under load: it asked to come once more, and then did not answer in time."""
    SILENT = "silent"
    """It answered once, and went silent."""
    ENDED = "ended"
    """It went silent after it had said that it would end."""
    MOVED = "moved"
    """Our address changed before the handshake was answered.  Its message is known on the network that was left, so the
    same line cannot be opened from another one."""


@dataclass(frozen=True, slots=True)
class LineLost:
    """No authentic cell came for too long, or the handshake was never answered.  `reason` is a plain sentence."""

    reason: str
    cause: LossCause = LossCause.SILENT


@dataclass(frozen=True, slots=True)
class LineHeard:
    """An authentic cell came again on a line that was lost: it was an outage, and the line is as good as before."""


LineEvent = (
    LineOpened
    | LineCrossed
    | JoinRefused
    | BodyReceived
    | ResumptionReceived
    | BackupReceived
    | Draining
    | LineLost
    | LineHeard
)
