"""The reflector's core (sans-IO): lines by SSRC, one cell per line and tick, bodies from one line to the
other.

`receive` never sends and `tick` never looks at what came in this tick to decide whether or when a cell
leaves. Nothing in a datagram from a stranger costs more than a table look-up; only one with a valid ticket
number costs a key exchange.  No work is proportional to all lines.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.chaff import Pace
from relay.core import Counters, Entropy, PeerError
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.exchange import Exchange, Outcome
from relay.media_reflector.handshake import answer_handshake, ticket_number
from relay.media_reflector.line import Address, Line
from relay.media_reflector.link import CellSender, cell_ssrc, is_cell
from relay.media_reflector.tickets import TicketOffice
from relay.rtp.cell import CELL_SIZE, RTP_HEADER_SIZE, TICK, LinkType
from relay.rtp.srtp import SrtpDrop

SLOTS = 20
"""Slots in a tick; each line has one, so that departures are spread over the tick."""
LINE_EXPIRY = 30.0
"""Seconds without an authentic cell after which a line ends."""
OPENING_EXPIRY = 10.0
"""Seconds that an answered handshake waits for its address to prove itself."""

DROPS = (
    "wrong_size",
    "not_a_cell",
    "unknown_ssrc",
    "handshake_refused",
    "no_capacity",
    "other_address",
    "unproved",
    "not_authentic",
    "replayed",
    "unknown_type",
    "unknown_control",
    "not_crossed",
    "queue_full",
    "queue_trimmed",
)
"""Every reason for which a datagram, or a body in it, goes no further."""

_EVENTS = (
    "datagrams_received",
    "cells_received",
    "cells_sent",
    "answers_sent",
    "bodies_sent",
    "chaff_sent",
    "control_sent",
    "departures_missed",
    "lines_opened",
    "lines_closed",
    "lines_expired",
    "openings_expired",
    "crossings",
    "joins_refused",
)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Counts only: lines that tick, handshakes under way, pairs that are crossed, tickets out."""

    lines: int
    opening: int
    crossed: int
    tickets: int


class Reflector:
    """All lines of one reflector.  `counters` holds every drop by reason (`DROPS`) and what went well."""

    def __init__(
        self, static: X25519PrivateKey, office: TicketOffice, entropy: Entropy, *, capacity: int = 1000
    ) -> None:
        self.counters = Counters(DROPS + _EVENTS)
        self._static = static
        self._office = office
        self._entropy = entropy
        self._capacity = capacity
        self._lines: dict[int, Line] = {}
        self._opening = 0
        self._slots: list[dict[int, Line]] = [{} for _ in range(SLOTS)]
        self._pace = Pace(TICK / SLOTS, 0.0)
        self._done: int | None = None
        """Number of the last slot that has been sent."""
        self._exchange: Exchange[Line] = Exchange()

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(
            len(self._lines) - self._opening, self._opening, self._exchange.crossings, len(self._office)
        )

    def receive(self, datagram: bytes, source: Address, now: float) -> None:
        """Take one datagram.  Nothing leaves because of it before its line's slot."""
        self.counters.count("datagrams_received")
        if not is_cell(datagram):
            self.counters.count("wrong_size" if len(datagram) != CELL_SIZE else "not_a_cell")
            return
        line = self._lines.get(cell_ssrc(datagram))
        if line is None:
            self._open(datagram, source, now)
        elif line.address is None:
            self._prove(line, datagram, source, now)
        elif line.address != source:
            # Authenticated roaming belongs here: open the cell, challenge the new address, keep the old path.
            self.counters.count("other_address")
        else:
            self._read(line, datagram, now)

    def tick(self, now: float) -> list[tuple[bytes, Address]]:
        """The cells of all slots that passed since the last call, (cell, destination).

        After a standstill each line gets one cell; what was missed beyond that is skipped, never sent in a
        burst.
        """
        current = self._pace.index(now)
        done = current - 1 if self._done is None else self._done
        if current - done > SLOTS:
            self.counters.count("departures_missed", self._departures(done + 1, current - SLOTS))
            done = current - SLOTS
        cells: list[tuple[bytes, Address]] = []
        for index in range(done + 1, current + 1):
            for line in tuple(self._slots[index % SLOTS].values()):
                self._depart(line, now, cells)
        self._done = max(done, current)
        self.counters.count("cells_sent", len(cells))
        return cells

    def next_deadline(self, now: float) -> float:
        """When `tick` is due: the next slot that has lines, or a tick from now."""
        index = self._pace.index(now) if self._done is None else self._done
        for following in range(index + 1, index + SLOTS):
            if self._slots[following % SLOTS]:
                return self._pace.departure(following)
        return self._pace.departure(index + SLOTS)

    def _departures(self, first: int, last: int) -> int:
        """How many cells were due in the slots numbered `first` to `last`."""
        rounds, rest = divmod(last - first + 1, SLOTS)
        return rounds * len(self._lines) + sum(
            len(self._slots[index % SLOTS]) for index in range(first, first + rest)
        )

    def _depart(self, line: Line, now: float, cells: list[tuple[bytes, Address]]) -> None:
        """What leaves for one line in this tick: one cell, or, before it is open, one answer for each that
        asked."""
        if line.address is None:
            if now >= line.deadline:
                self._forget(line, "openings_expired")
                return
            answers = line.take_answers()
            self.counters.count("answers_sent", len(answers))
            cells += answers
        elif now - line.heard >= LINE_EXPIRY:
            self._forget(line, "lines_expired")
        else:
            cells.append((line.next_cell(self._entropy, self.counters), line.address))

    def _open(self, datagram: bytes, source: Address, now: float) -> None:
        """A first message, if it names a ticket that is there; anything else from a stranger ends here,
        unanswered."""
        message = datagram[RTP_HEADER_SIZE:]
        ticket_id = ticket_number(message)
        ticket = self._office.find(ticket_id, now)
        if ticket is None:
            self.counters.count("unknown_ssrc")
            return
        if len(self._lines) >= self._capacity:
            self.counters.count("no_capacity")
            return
        ssrc = cell_ssrc(datagram)
        sender = CellSender(self._entropy.below(1 << 32), self._entropy)
        try:
            answer, keys = answer_handshake(message, ticket, self._static, ssrc, sender.ssrc, self._entropy)
        except PeerError:
            # The ticket stays: who only saw its number on the wire must not be able to use it up.
            self.counters.count("handshake_refused")
            return
        self._office.use(ticket_id)
        line = Line(ssrc, sender, keys, self._choose_slot(), now + OPENING_EXPIRY)
        line.first, line.answer = message, answer
        line.ask_again(source, self._entropy)
        self._lines[ssrc] = line
        self._slots[line.slot][ssrc] = line
        self._opening += 1

    def _choose_slot(self) -> int:
        """The emptier one of two slots drawn at random."""
        one, other = self._entropy.below(SLOTS), self._entropy.below(SLOTS)
        return one if len(self._slots[one]) <= len(self._slots[other]) else other

    def _prove(self, line: Line, datagram: bytes, source: Address, now: float) -> None:
        """A cell of a line that is not open yet: its first message again, or the proof that the answer
        arrived."""
        if datagram[RTP_HEADER_SIZE:] == line.first:
            line.ask_again(source, self._entropy)
            return
        if source not in line.answered:
            self.counters.count("other_address")
            return
        payload = line.receiver.unprotect(datagram)
        if isinstance(payload, SrtpDrop):
            self.counters.count(_DROP_COUNT[payload])
            return
        control = Control.from_body(payload[1:]) if payload[0] == LinkType.CONTROL else None
        if line.prove(source, control):
            self._opening -= 1
            self.counters.count("lines_opened")
            self._take(line, payload, now)
        else:
            self.counters.count("unproved")

    def _read(self, line: Line, datagram: bytes, now: float) -> None:
        payload = line.receiver.unprotect(datagram)
        if isinstance(payload, SrtpDrop):
            self.counters.count(_DROP_COUNT[payload])
        else:
            self._take(line, payload, now)

    def _take(self, line: Line, payload: bytes, now: float) -> None:
        """What an authentic cell carried."""
        line.heard = now
        self.counters.count("cells_received")
        kind = payload[0]
        if kind == LinkType.END_TO_END:
            if line.peer is None:
                self.counters.count("not_crossed")
            else:
                line.peer.forward(payload[1:], self.counters)
        elif kind == LinkType.CONTROL:
            self._obey(line, Control.from_body(payload[1:]), now)
        elif kind != LinkType.CHAFF:
            self.counters.count("unknown_type")

    def _obey(self, line: Line, control: Control | None, now: float) -> None:
        match control:
            case Control(Operation.JOIN, code):
                self._join(line, code, now)
            case Control(Operation.LEAVE, code):
                if self._exchange.code_of(line) == code:
                    self._leave(line)
            case Control(Operation.CLOSE):
                self._forget(line, "lines_closed")
            case Control(Operation.PROVE):
                pass  # Repeated until the agent heard the line's first cell.
            case _:
                self.counters.count("unknown_control")

    def _join(self, line: Line, code: bytes, now: float) -> None:
        if self._exchange.code_of(line) not in (None, code):
            self._leave(line)
        outcome, other = self._exchange.join(line, code, now)
        if outcome is Outcome.REFUSED:
            line.control = Control(Operation.REFUSED, code)
            self.counters.count("joins_refused")
        elif other is not None:
            line.control = Control(Operation.CROSSED, code)
            if line.peer is None:
                line.peer, other.peer = other, line
                other.control = Control(Operation.CROSSED, code)
                self.counters.count("crossings")

    def _leave(self, line: Line) -> None:
        """Uncross.  Bodies that wait already still leave: a hang-up may be among them."""
        other = self._exchange.leave(line)
        line.peer = None
        if other is not None:
            other.peer = None

    def _forget(self, line: Line, reason: str) -> None:
        self._leave(line)
        if line.address is None:
            self._opening -= 1
        del self._lines[line.ssrc]
        del self._slots[line.slot][line.ssrc]
        self.counters.count(reason)


_DROP_COUNT = {
    SrtpDrop.TRUNCATED: "wrong_size",
    SrtpDrop.REPLAYED: "replayed",
    SrtpDrop.NOT_AUTHENTIC: "not_authentic",
}
