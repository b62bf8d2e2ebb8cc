"""One line of an agent (sans-IO): from its first cell, a handshake, to its last, a farewell.

The caller has one duty: at every departure of its own pace take `next_cell` and send it, whatever came in or
did not.
"""

from dataclasses import dataclass

from relay.core import Counters, Entropy, MisuseError
from relay.media_reflector.control import JOIN_CODE_SIZE, Control, Operation
from relay.media_reflector.descriptor import Descriptor
from relay.media_reflector.handshake import AgentHandshake
from relay.media_reflector.link import CellSender, cell_ssrc, cell_timestamp, is_cell
from relay.media_reflector.tickets import Ticket
from relay.rtp.cell import BODY_SIZE, RTP_HEADER_SIZE, LinkType
from relay.rtp.srtp import AeadSrtp, SrtpDrop

LOST_AFTER = 1.5
"""Seconds without an authentic cell after which a line is lost."""
OPENING_TIMEOUT = 5.0
"""Seconds that the handshake is repeated."""
CROSSING_TIMEOUT = 120.0
"""Seconds that a join code waits for its other line."""
JOIN_EVERY = 10
"""Ticks between two JOIN cells."""
FAREWELL_CELLS = 3
"""How often LEAVE and CLOSE are said, because each may be lost."""


@dataclass(frozen=True, slots=True)
class LineOpened:
    """The reflector answered the handshake."""


@dataclass(frozen=True, slots=True)
class LineCrossed:
    """The exchange crossed this line with the other one of its join code."""


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """The join code is taken by two others, or nobody came in time.  The line itself stays up."""

    reason: str


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """An end-to-end body from the other line: 131 bytes, perhaps random ones."""

    body: bytes


@dataclass(frozen=True, slots=True)
class LineLost:
    """No authentic cell came for too long, or the handshake was never answered.  `reason` is a plain
    sentence."""

    reason: str


LineEvent = LineOpened | LineCrossed | JoinRefused | BodyReceived | LineLost


class LineClient:
    """One line: one 160-byte cell for every tick, from the first to the last, whatever there is to say.

    Counters: `cells_sent`, `cells_received` (authentic ones), `bodies_received`, and every reason for a drop.
    """

    def __init__(
        self, descriptor: Descriptor, ticket: Ticket, entropy: Entropy, *, join_code: bytes | None = None
    ) -> None:
        """`join_code`, if there is one already, is sent as soon as the line is open."""
        self.counters = Counters(
            (
                "cells_sent",
                "cells_received",
                "bodies_received",
                "bodies_replaced",
                "wrong_size",
                "unknown_ssrc",
                "not_authentic",
                "replayed",
                "unknown_control",
            )
        )
        self.opened = False
        self.crossed = False
        self.lost = False
        self.closed = False
        self._entropy = entropy
        self._sender = CellSender(entropy.below(1 << 32), entropy)
        self._handshake = AgentHandshake(ticket, descriptor.static_key, self._sender.ssrc, entropy)
        self._down: AeadSrtp | None = None
        self._down_ssrc = -1
        self._proof: Control | None = None
        """What says that the answer reached us here; sent until the line's first cell comes."""
        self._heard = -1.0
        self._body: bytes | None = None
        self._code: bytes | None = None
        self._join_since = -1.0
        self._ticks_to_join = 0
        self._farewells: list[Control] = []
        self._closing = False
        self._events: list[LineEvent] = []
        if join_code is not None:
            self.join(join_code)

    def next_cell(self, now: float) -> bytes:
        """The cell for this tick; call it once per tick.  Look at `events` and `closed` afterwards."""
        if self.closed:
            raise MisuseError("a closed line has no more cells")
        self._watch(now)
        self.counters.count("cells_sent")
        if not self.opened:
            self.closed = self._closing
            return self._sender.handshake(self._handshake.first)
        if (control := self._next_control()) is not None:
            return self._sender.seal(LinkType.CONTROL, control.to_body(self._entropy))
        body, self._body = self._body, None
        return self._sender.seal(LinkType.END_TO_END, body or self._entropy.token(BODY_SIZE))

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
        if self._down is None:
            return self._read_answer(datagram, now)
        if cell_ssrc(datagram) != self._down_ssrc:
            self.counters.count("unknown_ssrc")
            return []
        payload = self._down.unprotect(datagram)
        if isinstance(payload, SrtpDrop):
            # A repeated answer to a repeated handshake ends here too; it looks like any other damaged cell.
            self.counters.count("not_authentic" if payload is SrtpDrop.NOT_AUTHENTIC else "replayed")
            return []
        self._heard = now
        self._proof = None
        self.counters.count("cells_received")
        return self._read_payload(payload)

    def events(self) -> list[LineEvent]:
        """Events that time alone brought, once."""
        events, self._events = self._events, []
        return events

    def join(self, code: bytes) -> None:
        """Ask to be crossed with the other line that sends `code` (16 bytes), again and again until it is
        done."""
        if len(code) != JOIN_CODE_SIZE:
            raise MisuseError("a join code has 16 bytes")
        self._code = code
        self._join_since = -1.0
        self._ticks_to_join = 0
        self.crossed = False

    def leave(self) -> None:
        """Uncross; the line stays up with random bodies.  Nothing to do when no code was given."""
        if self._code is not None:
            self._farewells += [Control(Operation.LEAVE, self._code)] * FAREWELL_CELLS
        self._code = None
        self.crossed = False
        self._body = None

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
            quiet = (
                "the reflector went silent" if self.opened else "the reflector did not answer the handshake"
            )
            self._events.append(LineLost(quiet))
        if self.opened and self._code is not None and not self.crossed:
            if self._join_since < 0:
                self._join_since = now
            elif now - self._join_since >= CROSSING_TIMEOUT:
                self._code = None
                self._events.append(JoinRefused("the other line did not come in time"))

    def _next_control(self) -> Control | None:
        if self._farewells:
            farewell = self._farewells.pop(0)
            self.closed = self._closing and not self._farewells
            return farewell
        if self._proof is not None:
            return self._proof
        if self._code is None or self.crossed:
            return None
        due = self._ticks_to_join == 0
        self._ticks_to_join = (self._ticks_to_join + 1) % JOIN_EVERY
        return Control(Operation.JOIN, self._code) if due else None

    def _read_answer(self, datagram: bytes, now: float) -> list[LineEvent]:
        answered = self._handshake.answered(datagram[RTP_HEADER_SIZE:])
        if answered is None or answered[0] != cell_ssrc(datagram):
            self.counters.count("not_authentic")
            return []
        self._down_ssrc, contexts = answered
        self._sender.keys, self._down = contexts.up, contexts.down
        self._proof = Control.prove(cell_timestamp(datagram))
        self.opened = True
        self._heard = now
        self.counters.count("cells_received")
        return [LineOpened()]

    def _read_payload(self, payload: bytes) -> list[LineEvent]:
        kind, body = payload[0], payload[1:]
        if kind == LinkType.END_TO_END:
            self.counters.count("bodies_received")
            return [BodyReceived(body)]
        if kind == LinkType.CHAFF:
            return []
        control = Control.from_body(body) if kind == LinkType.CONTROL else None
        match control:
            case Control(Operation.CROSSED, code):
                if code == self._code and not self.crossed:
                    self.crossed = True
                    return [LineCrossed()]
            case Control(Operation.REFUSED, code):
                if code == self._code and not self.crossed:
                    self._code = None
                    return [
                        JoinRefused("two other lines are crossed under this code, or nobody came in time")
                    ]
            case _:
                self.counters.count("unknown_control")
        return []
