"""How a line opens: a first message, an answer at the line's slot, and the proof that the answer arrived.

Nobody makes the reflector compute a key exchange without a ticket's secret, and under load nobody without having
received something at the address they write from.  Until then an address gets one cell for each that came from it, at
most.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Counters, Entropy, PeerError
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.cookie import CookieJar
from relay.media_reflector.forwarding.face import SLOTS, Address, Forwarding
from relay.media_reflector.handshake import answer_handshake, first_core, first_is_authentic, ticket_number
from relay.media_reflector.line import Line, Slots
from relay.media_reflector.link import CellSender, cell_ssrc
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.succession import Succession
from relay.media_reflector.tickets import Ticket, TicketKind
from relay.rtp.cell import RTP_HEADER_SIZE

OPENING_EXPIRY = 10.0
"""Seconds that an answered handshake waits for its address to prove itself."""
MAX_ANSWERED = 8
"""Addresses that get answers to the same first message."""
AGAIN_SECONDS = 0.05
"""Seconds within which an address that was answered is not answered again: its agent says its first message in every
tick until the answer is there, and that takes as long as the way does."""

GUEST_SHARE = 2
"""One part in so many of the capacity is for the lines of one peer's backup tickets, of which that peer alone decides
how many it makes."""

HANDSHAKES_AT_EASE = 200
EASE_SECONDS = 0.1
"""More key exchanges than that in this time, or half of the capacity opening, are load: then cookies are asked for."""

DROPS = (
    "handshake_refused",
    "no_ticket",
    "already_succeeded",
    "draining",
    "no_capacity",
    "no_share",
    "ssrc_taken",
    "other_address",
    "answered_already",
    "unproved",
)
EVENTS = ("handshakes", "answers_sent", "cookies_sent", "lines_opened", "openings_expired")


@dataclass(slots=True)
class Answered:
    """An address that got answers: their sequence numbers and timestamps are its own, so that only who saw the answers
    that went there can echo one.  `at` is when the latest one was given."""

    sender: CellSender
    at: float


@dataclass(slots=True)
class Opening:
    """A line that was answered and has not proved its address."""

    line: Line
    ticket_id: bytes
    core: bytes
    """What the agent repeats of its first message, whatever cookie it brings."""
    answer: bytes
    down_ssrc: int
    deadline: float
    answered: dict[Address, Answered] = field(default_factory=dict)


class Openings:
    """All lines that are opening.  `capacity` bounds them together with the open ones, which the caller counts.

    Lines that come back are taken beyond it, all of them, so that for `succession.OVERLAP` there may be twice as many.
    Those of a part would be the first to come, whatever calls they belong to: of most of these one end would be back
    and the other one not, and the network would see which lines have to look elsewhere.
    """

    def __init__(
        self,
        static: X25519PrivateKey,
        office: TicketOffice,
        succession: Succession,
        forwarding: Forwarding,
        entropy: Entropy,
        counters: Counters,
        slots: Slots,
        capacity: int,
    ) -> None:
        self.capacity = capacity
        self.draining = False
        """Lines that come back are taken all the same: their calls are to be finished."""
        self._static = static
        self._office = office
        self._succession = succession
        self._forwarding = forwarding
        self._entropy = entropy
        self._counters = counters
        self._slots = slots
        self._jar = CookieJar(entropy)
        self._by_number: dict[int, Opening] = {}
        """In order of arrival, which is the order of expiry."""
        self._by_ticket: dict[bytes, Opening] = {}
        self._guests: Counter[bytes] = Counter()
        """Lines that stand or open with tickets of a peer, by peer."""
        self._exchanges: deque[float] = deque(maxlen=HANDSHAKES_AT_EASE)
        """When the latest key exchanges were made."""

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def knock(self, datagram: bytes, source: Address, lines: int, now: float) -> None:
        """A first message; `lines` are open."""
        message = datagram[RTP_HEADER_SIZE:]
        opening = self._by_ticket.get(ticket_number(message))
        if opening is not None:
            if first_core(message) == opening.core:
                self._say_again(opening, source, now)
            else:
                self._counters.count("handshake_refused")
            return
        ticket = self._office.find(ticket_number(message), now)
        if ticket is None:
            self._counters.count("no_ticket")
        elif not first_is_authentic(message, ticket):
            self._counters.count("handshake_refused")
        elif not self._succession.may_open(ticket.id):
            self._counters.count("already_succeeded")
        elif refusal := self._no_place(ticket, lines):
            self._counters.count(refusal)
        elif self._loaded(now) and not self._jar.good(message, source, now):
            self._ask_for_cookie(ticket, source, now)
        else:
            self._open(datagram, message, ticket, source, now)

    def _no_place(self, ticket: Ticket, lines: int) -> str:
        """Why there is no place for a line with that ticket, as it is counted; empty where there is one."""
        if self._succession.replaces(ticket.id):
            return ""
        if self.draining:
            return "draining"
        if lines + len(self) >= self.capacity:
            return "no_capacity"
        guest = ticket.kind is TicketKind.BACKUP
        return "no_share" if guest and self._guests[ticket.peer] * GUEST_SHARE >= self.capacity else ""

    def _loaded(self, now: float) -> bool:
        exchanges = self._exchanges
        if len(exchanges) == HANDSHAKES_AT_EASE and now - exchanges[0] < EASE_SECONDS:
            return True
        return 2 * len(self) >= self.capacity

    def _ask_for_cookie(self, ticket: Ticket, source: Address, now: float) -> None:
        """One cell for the one that came.  Its header is nobody's: the line, if there will be one, has no SSRC yet."""
        header = CellSender(self._entropy.below(1 << 32), self._entropy)
        cell = header.handshake(self._jar.answer(ticket, source, now))
        if self._forwarding.send(self._entropy.below(SLOTS), cell, source):
            self._counters.count("cookies_sent")

    def _open(self, datagram: bytes, message: bytes, ticket: Ticket, source: Address, now: float) -> None:
        self._exchanges.append(now)
        self._counters.count("handshakes")
        down_ssrc = self._entropy.below(1 << 32)
        try:
            answer, chain = answer_handshake(
                message, ticket, self._static, cell_ssrc(datagram), down_ssrc, self._entropy
            )
        except PeerError:
            # The ticket stays good: somebody who copies a first message can spoil its header on the way.
            self._counters.count("handshake_refused")
            return
        slot = self._slots.choose(self._entropy)
        number = self._forwarding.add_line(slot, chain.current.up, now)
        if number is None:
            self._counters.count("ssrc_taken")
            return
        self._office.use(ticket.id, now)
        self._slots.taken(slot)
        line = Line(number, slot, chain)
        if ticket.kind is TicketKind.BACKUP:
            line.peer = ticket.peer
        self._succession.opening(line, ticket.id)
        if line.peer:
            self._guests[line.peer] += 1
        deadline = now + OPENING_EXPIRY
        opening = Opening(line, ticket.id, first_core(message), answer, down_ssrc, deadline)
        self._by_number[number] = opening
        self._by_ticket[ticket.id] = opening
        self._say_again(opening, source, now)

    def _say_again(self, opening: Opening, source: Address, now: float) -> None:
        """One answer to `source` at the line's slot, for the one message that came from there."""
        answered = opening.answered.get(source)
        if answered is None:
            if len(opening.answered) >= MAX_ANSWERED:
                self._counters.count("other_address")
                return
            answered = opening.answered[source] = Answered(CellSender(opening.down_ssrc, self._entropy), now)
        elif now - answered.at < AGAIN_SECONDS:
            self._counters.count("answered_already")
            return
        answered.at = now
        cell = answered.sender.handshake(opening.answer)
        if self._forwarding.send(opening.line.slot, cell, source):
            self._counters.count("answers_sent")

    def prove(self, number: int, control: Control | None, source: Address, now: float) -> Line | None:
        """The line, open from now on, if `control` came authentic from `source` and echoes an answer that was sent
        there.

        Without the echo somebody on the path could have the line's cells sent to a third party, by copying the agent's
        cells under a forged source.
        """
        opening = self._by_number[number]
        answered = opening.answered.get(source)
        if answered is None:
            self._counters.count("other_address")
            return None
        sender = answered.sender
        if control is None or control.operation is not Operation.PROVE or not sender.sent(control.timestamp):
            self._counters.count("unproved")
            return None
        line = opening.line
        down = sender.continued(line.chain.current.down)
        self._forwarding.settle(number, down, source, advance=False)
        self._forwarding.prepare(number, line.chain.following.up)
        line.address = source
        self._end(opening)
        self._succession.opened(line, now)
        self._counters.count("lines_opened")
        return line

    def give_up(self, number: int) -> None:
        """Forget an opening line."""
        opening = self._by_number[number]
        self._forwarding.remove(number)
        self._end(opening)
        self.freed(opening.line)

    def freed(self, line: Line) -> None:
        """A line that was opened here is gone: its place is free."""
        self._slots.freed(line.slot)
        self._succession.closed(line)
        if line.peer:
            self._guests[line.peer] -= 1
            if not self._guests[line.peer]:
                del self._guests[line.peer]

    def expire(self, now: float) -> None:
        """Forget what was not proved in time."""
        while self._by_number:
            number, opening = next(iter(self._by_number.items()))
            if now < opening.deadline:
                break
            self.give_up(number)
            self._counters.count("openings_expired")

    def _end(self, opening: Opening) -> None:
        del self._by_number[opening.line.number]
        del self._by_ticket[opening.ticket_id]
        self._forwarding.forbid(opening.ticket_id)
