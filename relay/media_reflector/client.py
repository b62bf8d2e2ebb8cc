"""One line of an agent (sans-IO): from its first cell, a handshake, to its last, a farewell.

The caller has one duty: at every departure of its own pace take `next_cell` and send it, whatever came in or did not.
"""

from relay.core import Counters, Entropy, MisuseError
from relay.media_reflector.client_epochs import AgentEpochs, Era
from relay.media_reflector.client_joining import Joining
from relay.media_reflector.client_moves import Moves
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.descriptor import Descriptor
from relay.media_reflector.handshake import AgentHandshake
from relay.media_reflector.line_events import (
    BackupReceived,
    BodyReceived,
    Draining,
    LineEvent,
    LineHeard,
    LineLost,
    LineOpened,
    LossCause,
    ResumptionReceived,
)
from relay.media_reflector.link import CellSender, cell_ssrc, cell_timestamp, is_cell
from relay.media_reflector.tickets import Ticket
from relay.rtp.cell import BODY_SIZE, RTP_HEADER_SIZE, LinkType
from relay.rtp.srtp import SrtpDrop

LOST_AFTER = 1.5
"""Seconds without an authentic cell after which a line is lost."""
OPENING_TIMEOUT = 5.0
"""Seconds that the handshake is repeated."""
FAREWELL_CELLS = 3
"""How often LEAVE and CLOSE are said, because each may be lost."""

_REASONS = {
    LossCause.UNANSWERED: "the reflector did not answer the handshake",
    LossCause.BUSY: "the reflector is under load and did not answer the handshake in time",
    LossCause.SILENT: "the reflector went silent",
    LossCause.ENDED: "the reflector has ended, as it had said it would",
    LossCause.MOVED: "this machine's address changed while the line was being opened",
}
_CHALLENGES = (Era.CURRENT_CHALLENGE, Era.FOLLOWING_CHALLENGE)


class LineClient:
    """One line: one 160-byte cell for every tick, from the first to the last, whatever there is to say.

    Counters: `cells_sent`, `cells_received` (authentic ones), `bodies_received`, `cookies_received`, `moves`, `rekeys`,
    and every reason for a drop.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        ticket: Ticket,
        entropy: Entropy,
        *,
        join_code: bytes | None = None,
        via: bytes | None = None,
    ) -> None:
        """`join_code`, if there is one already, is sent as soon as the line is open; `via` as in `join`."""
        self.counters = Counters(
            (
                "cells_sent",
                "cells_received",
                "bodies_received",
                "bodies_replaced",
                "cookies_received",
                "moves",
                "rekeys",
                "wrong_size",
                "unknown_ssrc",
                "not_authentic",
                "replayed",
                "unknown_control",
                "unasked_challenge",
            )
        )
        self.lost = False
        self.closed = False
        self.draining = False
        self.resumption: Ticket | None = None
        """The latest ticket to come back with."""
        self.backup: tuple[bytes, Ticket] | None = None
        """(identity, latest ticket) of the reflector to go on at, should this one be gone."""
        self._entropy = entropy
        self._first = CellSender(entropy.below(1 << 32), entropy)
        self._handshake = AgentHandshake(ticket, descriptor.static_key, self._first.ssrc, entropy)
        self._epochs: AgentEpochs | None = None
        self._moves: Moves | None = None
        self._joining = Joining()
        self._proof: Control | None = None
        """What says that the answer reached us here; sent until the line's first cell comes."""
        self._heard = -1.0
        self._body: bytes | None = None
        self._farewells: list[Control] = []
        self._closing = False
        self._events: list[LineEvent] = []
        if join_code is not None:
            self.join(join_code, via)

    @property
    def opened(self) -> bool:
        """Whether the reflector answered the handshake."""
        return self._epochs is not None

    @property
    def crossed(self) -> bool:
        """Whether the line is crossed under the code that was asked for last."""
        return self._joining.crossed

    def silence(self, now: float) -> float:
        """Seconds since the last cell of this line came, or since its first one left."""
        return 0.0 if self._heard < 0 else now - self._heard

    def next_cell(self, now: float) -> bytes:
        """The cell for this tick; call it once per tick.  Look at `events` and `closed` afterwards."""
        if self.closed:
            raise MisuseError("a closed line has no more cells")
        self._watch(now)
        self.counters.count("cells_sent")
        if self._epochs is None:
            self.closed = self._closing
            return self._first.handshake(self._handshake.first())
        control = self._next_control(now)
        if control is not None:
            return self._epochs.sender.seal(LinkType.CONTROL, control.to_body(self._entropy))
        body, self._body = self._body, None
        return self._epochs.sender.seal(LinkType.END_TO_END, body or self._entropy.token(BODY_SIZE))

    def submit(self, body: bytes) -> None:
        """Put a body into the next cell that is free; one that is still waiting is replaced, and counted."""
        if len(body) != BODY_SIZE:
            raise MisuseError("an end-to-end body has 131 bytes")
        if self._body is not None:
            self.counters.count("bodies_replaced")
        self._body = body

    def receive(self, datagram: bytes, now: float) -> list[LineEvent]:
        """Take one datagram from the reflector's address; give the events that it brought."""
        if not is_cell(datagram):
            self.counters.count("wrong_size")
            return []
        if self._epochs is None:
            return self._read_answer(datagram, now)
        opened = self._epochs.open(datagram)
        if opened is None:
            self.counters.count("unknown_ssrc")
            return []
        era, payload = opened
        if isinstance(payload, SrtpDrop):
            # A repeated answer to a repeated handshake ends here too; it looks like any other damaged cell.
            self.counters.count("not_authentic" if payload is SrtpDrop.NOT_AUTHENTIC else "replayed")
            return []
        self.counters.count("cells_received")
        return self._read_payload(era, payload, now)

    def events(self) -> list[LineEvent]:
        """Events that time alone brought, once."""
        events, self._events = self._events, []
        return events

    def join(self, code: bytes, via: bytes | None = None) -> None:
        """Ask to be crossed with the other line that sends `code` (16 bytes), again and again until it is done.

        `via` is the identity of the reflector at which that line is, where it is another one that this one has a trunk
        to.
        """
        self._joining.ask(code, via)

    def leave(self) -> None:
        """Uncross; the line stays up with random bodies.  Nothing to do when no code was given."""
        code = self._joining.drop()
        if code is not None:
            self._farewells += [Control(Operation.LEAVE, code)] * FAREWELL_CELLS
        self._body = None

    def move(self) -> None:
        """The cells leave from another address, and another pace, from now on.

        Nothing in them tells that this is the line that was somewhere else; only the reflector knows.  One that is not
        open yet has no other keys to go on under: it is lost, and closed at once, because its first message, with its
        SSRC and its ticket's number, would show on the one network what was seen on the other.
        """
        if self._moves is not None:
            self._heard = -1.0
            self._moves.move()
        elif not self.closed:
            self.closed = self.lost = True
            self._events.append(LineLost(_REASONS[LossCause.MOVED], LossCause.MOVED))

    def close(self) -> None:
        """Say goodbye in the next cells; `closed` is true once the last of them was taken."""
        if not self._closing:
            self._closing = True
            self._body = None
            self._farewells = [Control(Operation.CLOSE)] * FAREWELL_CELLS

    def _watch(self, now: float) -> None:
        """What passing time alone brings."""
        if self._heard < 0:
            self._heard = now
        if not self.lost and now - self._heard >= (LOST_AFTER if self.opened else OPENING_TIMEOUT):
            self.lost = True
            cause = self._loss()
            self._events.append(LineLost(_REASONS[cause], cause))
        if self.opened and (refused := self._joining.watch(now)) is not None:
            self._events.append(refused)

    def _loss(self) -> LossCause:
        if self.opened:
            return LossCause.ENDED if self.draining else LossCause.SILENT
        return LossCause.BUSY if self._handshake.cookies else LossCause.UNANSWERED

    def _next_control(self, now: float) -> Control | None:
        if self._farewells:
            farewell = self._farewells.pop(0)
            self.closed = self._closing and not self._farewells
            return farewell
        if self._proof is not None:
            return self._proof
        assert self._moves is not None
        return self._moves.next_control(now, self.silence(now)) or self._joining.next_control()

    def _read_answer(self, datagram: bytes, now: float) -> list[LineEvent]:
        cookies = self._handshake.cookies
        answered = self._handshake.answered(datagram[RTP_HEADER_SIZE:])
        if answered is None or answered[0] != cell_ssrc(datagram):
            brought = self._handshake.cookies > cookies
            self.counters.count("cookies_received" if brought else "not_authentic")
            return []
        self._epochs = AgentEpochs(answered[1], self._first, self._entropy)
        self._moves = Moves(self._epochs, self._entropy, self.counters, now)
        self._proof = Control.prove_answer(cell_timestamp(datagram))
        self._heard = now
        self.counters.count("cells_received")
        return [LineOpened()]

    def _read_payload(self, era: Era, payload: bytes, now: float) -> list[LineEvent]:
        kind, body = payload[0], payload[1:]
        control = Control.from_body(body) if kind == LinkType.CONTROL else None
        if era is not Era.CURRENT and not self._follow(era, control, now):
            return []
        self._heard = now
        self._proof = None
        heard = self._heard_again()
        if kind == LinkType.END_TO_END:
            self.counters.count("bodies_received")
            return [*heard, BodyReceived(body)]
        return heard if kind == LinkType.CHAFF else heard + self._obey(control, now)

    def _heard_again(self) -> list[LineEvent]:
        was, self.lost = self.lost, False
        return [LineHeard()] if was else []

    def _follow(self, era: Era, control: Control | None, now: float) -> bool:
        """A cell that is not of the current epoch.  True when it is one of the line's own cells all the same."""
        assert self._epochs is not None
        assert self._moves is not None
        is_challenge = control is not None and control.operation is Operation.CHALLENGE
        if era is Era.BEFORE:
            return True
        if control is not None and is_challenge and (era in _CHALLENGES or self._epochs.ahead):
            self._moves.challenged(era, control.field, self.silence(now))
            return False
        if era in _CHALLENGES or is_challenge or not self._epochs.ahead:
            # No honest reflector goes to an epoch before its agent did.
            self.counters.count("unknown_control")
            return False
        self._moves.arrived(now)
        return True

    def _obey(self, control: Control | None, now: float) -> list[LineEvent]:
        assert self._moves is not None
        match control:
            case Control(Operation.CROSSED | Operation.REFUSED):
                event = self._joining.answered(control)
                return [] if event is None else [event]
            case Control(Operation.REKEYED, public):
                # It may have been said twice; then the second is an old story.
                if self._moves.rekeyed(public):
                    self.counters.count("rekeys")
            case Control(Operation.RESUMPTION):
                self.resumption = control.ticket(now)
                return [ResumptionReceived(self.resumption)]
            case Control(Operation.BACKUP):
                self.backup = control.identity, control.ticket(now)
                return [BackupReceived(*self.backup)]
            case Control(Operation.DRAINING):
                told, self.draining = self.draining, True
                return [] if told else [Draining()]
            case _:
                self.counters.count("unknown_control")
        return []
