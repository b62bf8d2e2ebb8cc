"""The trunks of one reflector (sans-IO): opened, kept up, taken by join code (DESIGN.md section 4).

Two reflectors that list each other keep one: a bundle of slots on which one cell leaves in every tick, each way, in
silence and in speech, free or taken.  A call whose two ends share no reflector goes through it.  Each of the two then
knows one agent's address and that the other end is somewhere behind the other reflector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Counters, Entropy, MisuseError, PeerError
from relay.media_reflector import trunk_slots
from relay.media_reflector.control import Control
from relay.media_reflector.first_message import first_core, first_is_authentic, ticket_number
from relay.media_reflector.forwarding.face import Address, Elsewhere, Expired, Forwarding, Stranger
from relay.media_reflector.line import NEVER, Line
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.tickets import Ticket
from relay.media_reflector.trunk_handshake import SlotChains, TrunkInitiator
from relay.media_reflector.trunk_opening import TrunkAnswer, TrunkCall, answer_trunk
from relay.media_reflector.trunk_slots import SlotHost, Trunk
from relay.rtp.cell import RTP_HEADER_SIZE, LinkType

TOLD_FOR = 600.0
"""Seconds for which the descriptor goes on naming a trunk that broke: it comes back, mostly."""

ANSWER_EVERY = 5.0
"""Seconds, at least, between two handshakes of one peer.  Each ends its trunk and opens another of up to thousands of
slots, while a ticket costs that peer a request; who is too early is answered when it says its message again."""

_REFUSALS = ("trunk_unknown_peer", "trunk_refused", "trunk_too_soon")
DROPS = (*_REFUSALS, "trunk_other_address", "trunk_unproved", "trunk_ahead", *trunk_slots.DROPS)
"""Every reason for which what another reflector sent goes no further."""
_EVENTS = ("trunks_opened", "trunks_ended", "trunk_calls", "trunk_answers", "slots_taken", "no_slot")


@dataclass(slots=True)
class _Peer:
    """A reflector that we are to keep a trunk with."""

    slots: int
    static: bytes = b""
    """From its descriptor; empty until that was seen."""
    told_slots: int = 0
    up_at: float = NEVER
    answered_at: float = NEVER
    """When its last handshake was answered."""


class Trunks:
    """A `TrunkSwitch`.  `serve` it to its reflector before anything else."""

    def __init__(
        self, static: X25519PrivateKey, office: TicketOffice, forwarding: Forwarding, entropy: Entropy
    ) -> None:
        self.counters = Counters((*DROPS, *_EVENTS))
        self._static = static
        self._office = office
        self._forwarding = forwarding
        self._entropy = entropy
        self._host: SlotHost | None = None
        self._peers: dict[bytes, _Peer] = {}
        """Whatever stands or is under way below is with one of these."""
        self._trunks: dict[bytes, Trunk] = {}
        self._calls: dict[bytes, TrunkCall] = {}
        """By the number that the answer begins with."""
        self._answers: dict[int, TrunkAnswer] = {}
        """By the data plane's number of slot 0."""

    def serve(self, host: SlotHost) -> None:
        """`host` is the reflector whose trunks these are."""
        self._host = host

    # What the node asks.

    def aim(self, peers: Mapping[bytes, int]) -> None:
        """Keep trunks with these reflectors, of so many slots; those with others end, and whatever was being opened to
        or from there.  A number that changed holds from the next time that the trunk opens."""
        for identity in self._peers.keys() - peers.keys():
            self._forget_call(identity)
            self._forget_answers(identity)
            self._end(identity)
            del self._peers[identity]
        for identity, slots in peers.items():
            self._peers.setdefault(identity, _Peer(slots)).slots = slots

    def know(self, identity: bytes, static: bytes) -> None:
        """The static key that a peer's descriptor holds."""
        if identity in self._peers:
            self._peers[identity].static = static

    def begin(self, identity: bytes, ticket: Ticket, address: Address, now: float) -> None:
        """Try to open the trunk to a peer that is known, in place of an earlier try.

        Raises `PeerError` when its static key is none.
        """
        peer = self._peers.get(identity)
        if peer is None or not peer.static:
            raise MisuseError("a trunk to a reflector that is not known")
        self._forget_call(identity)
        initiator = TrunkInitiator(ticket, self._static, peer.static, peer.slots, self._entropy)
        call = TrunkCall(identity, initiator, address, self._forwarding, self._entropy, now)
        self._calls[call.answer_id] = call
        self._forwarding.permit(call.answer_id)
        self.counters.count("trunk_calls")
        call.watch(now)

    def is_up(self, identity: bytes) -> bool:
        """Whether calls can go through the trunk to that reflector."""
        return identity in self._trunks and self._trunks[identity].up

    def told(self, now: float) -> list[tuple[bytes, int]]:
        """(identity, slots) of each trunk, for the descriptor: those that are up, or were a moment ago."""
        self._note_up(now)
        return [
            (identity, peer.told_slots)
            for identity, peer in self._peers.items()
            if now - peer.up_at < TOLD_FOR
        ]

    def _note_up(self, now: float) -> None:
        for identity, trunk in self._trunks.items():
            if trunk.up:
                peer = self._peers[identity]
                peer.told_slots, peer.up_at = trunk.slots, now

    # What the reflector asks.

    def take(self, code: bytes, identity: bytes, now: float) -> Line | None:
        """See `TrunkSwitch`."""
        trunk = self._trunks.get(identity)
        slot = None if trunk is None else trunk.take(code, now)
        self.counters.count("no_slot" if slot is None else "slots_taken")
        return slot

    def free(self, line: Line, code: bytes) -> None:
        """See `TrunkSwitch`."""
        if (trunk := self._trunk_of(line.number)) is not None:
            trunk.free(line, code)

    def obey(self, slot: Line, control: Control, now: float) -> bool:
        """See `TrunkSwitch`."""
        trunk = self._trunk_of(slot.number)
        return trunk is None or trunk.obey(slot, control, now)

    def handle(self, upcall: Stranger | Elsewhere | Expired, now: float) -> bool:
        """See `TrunkSwitch`."""
        match upcall:
            case Stranger(datagram, source):
                return self._knock(datagram, source, now)
            case Elsewhere(number):
                if number in self._answers:
                    self._prove(self._answers[number], upcall, now)
                    return True
                trunk = self._trunk_of(number)
                return trunk is not None and self._strays(trunk, upcall)
            case Expired(number):
                trunk = self._trunk_of(number)
                if trunk is None:
                    return False
                # One slot is silent while the trunk talks: the two ends do not agree on what they opened.
                trunk.broken = True
                return True

    def watch(self, now: float) -> None:
        """See `TrunkSwitch`."""
        for call in list(self._calls.values()):
            if now >= call.deadline:
                self._forget_call(call.peer)
            else:
                call.watch(now)
        for answer in list(self._answers.values()):
            if now >= answer.deadline:
                self._give_up(answer)
        for identity, trunk in list(self._trunks.items()):
            trunk.watch(now)
            if trunk.broken:
                self._end(identity)
        self._note_up(now)

    # Opening.

    def _knock(self, datagram: bytes, source: Address, now: float) -> bool:
        message = datagram[RTP_HEADER_SIZE:]
        number = ticket_number(message)
        if number in self._calls:
            self._answered(self._calls[number], datagram, source, now)
            return True
        for answer in self._answers.values():
            if answer.ticket_id == number:
                if first_core(message) == answer.core:
                    self._say(answer, source)
                else:
                    self.counters.count("trunk_refused")
                return True
        ticket = self._office.trunk_ticket(number, now)
        if ticket is None:
            return False
        peer = self._peers.get(ticket.peer)
        if peer is None or not peer.static:
            # Its descriptor was not seen yet; it will ask again.
            self.counters.count("trunk_unknown_peer")
            return True
        if not first_is_authentic(message, ticket):
            self.counters.count("trunk_refused")
            return True
        if now - peer.answered_at < ANSWER_EVERY:
            self.counters.count("trunk_too_soon")
            return True
        peer.answered_at = now
        try:
            opened = answer_trunk(
                message, ticket, self._static, peer.static, peer.slots, self._forwarding, self._entropy, now
            )
        except PeerError:
            opened = None
        if opened is None:
            self.counters.count("trunk_refused")
            return True
        self._office.use(ticket.id, now)
        # One at a time: an answer holds the chains of all slots, and a peer may fetch ticket after ticket.
        self._forget_answers(ticket.peer)
        self._answers[opened.service.number] = opened
        self._say(opened, source)
        return True

    def _say(self, answer: TrunkAnswer, source: Address) -> None:
        sent = answer.say_again(source, self._forwarding, self._entropy)
        self.counters.count("trunk_answers" if sent else "trunk_other_address")

    def _answered(self, call: TrunkCall, datagram: bytes, source: Address, now: float) -> None:
        result = call.answered(datagram, source, now)
        if result is None:
            self.counters.count("trunk_refused")
            return
        self._forget_call(call.peer)
        service, chains, proof = result
        self._begin_trunk(call.peer, service, chains, proof, now)

    def _prove(self, answer: TrunkAnswer, upcall: Elsewhere, now: float) -> None:
        payload = upcall.payload
        control = Control.from_body(payload[1:]) if payload[0] == LinkType.CONTROL else None
        if not answer.proved(control, upcall.source, self._forwarding):
            self.counters.count("trunk_unproved")
            return
        self._close(answer)
        self._begin_trunk(answer.peer, answer.service, answer.chains, None, now)

    def _forget_answers(self, peer: bytes) -> None:
        for answer in [answer for answer in self._answers.values() if answer.peer == peer]:
            self._give_up(answer)

    def _give_up(self, answer: TrunkAnswer) -> None:
        self._forwarding.remove(answer.service.number)
        self._close(answer)

    def _close(self, answer: TrunkAnswer) -> None:
        del self._answers[answer.service.number]
        self._forwarding.forbid(answer.ticket_id)

    def _begin_trunk(
        self, peer: bytes, service: Line, chains: SlotChains, proof: Control | None, now: float
    ) -> None:
        """In place of an earlier one: the far end would not have asked for another if it still had that."""
        assert self._host is not None, "serve comes first"
        self._end(peer)
        self._trunks[peer] = Trunk(
            peer,
            service,
            chains,
            self._forwarding,
            self._entropy,
            self._host,
            self.counters,
            now,
            proof=proof,
        )
        self.counters.count("trunks_opened")

    # Ends.

    def _forget_call(self, peer: bytes) -> None:
        for call in [call for call in self._calls.values() if call.peer == peer]:
            del self._calls[call.answer_id]
            self._forwarding.forbid(call.answer_id)

    def _end(self, peer: bytes) -> None:
        trunk = self._trunks.pop(peer, None)
        if trunk is not None:
            trunk.end()
            self.counters.count("trunks_ended")

    def _trunk_of(self, number: int) -> Trunk | None:
        return next((trunk for trunk in self._trunks.values() if number in trunk.numbers), None)

    def _strays(self, trunk: Trunk, upcall: Elsewhere) -> bool:
        """False when a cell that is not of a slot's epoch is one step further, from where it should be."""
        slot = trunk.numbers[upcall.line]
        if upcall.source != slot.address:
            # A reflector does not roam: one that moved opens its trunks anew.
            self.counters.count("trunk_other_address")
            return True
        if upcall.following and not trunk.follows(slot):
            self.counters.count("trunk_ahead")
            return True
        return False
