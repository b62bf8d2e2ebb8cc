"""How a trunk opens: a handshake with a trunk ticket, then the proof that the answer arrived where it was sent.

The end that has the ticket says its first message again until it is answered; the other one answers each, once, at the
address that it came from, and opens slot 0 for nobody until that address has proved itself in a cell.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.first_message import first_core
from relay.media_reflector.forwarding.face import SLOTS, Address, Forwarding
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender, cell_timestamp
from relay.media_reflector.opening import MAX_ANSWERED, OPENING_EXPIRY
from relay.media_reflector.tickets import Ticket
from relay.media_reflector.trunk_handshake import SlotChains, TrunkInitiator, TrunkResponder
from relay.media_reflector.trunk_slots import add_slot, begin_slot
from relay.rtp.cell import RTP_HEADER_SIZE

FIRST_EVERY = 0.3
"""Seconds between two first messages."""


class TrunkCall:
    """Our attempt to open a trunk to the reflector of identity `peer`, at `address`."""

    def __init__(
        self,
        peer: bytes,
        initiator: TrunkInitiator,
        address: Address,
        forwarding: Forwarding,
        entropy: Entropy,
        now: float,
    ) -> None:
        self.peer = peer
        self.answer_id = initiator.answer_id
        self.deadline = now + OPENING_EXPIRY
        self._initiator = initiator
        self._address = address
        self._forwarding = forwarding
        self._entropy = entropy
        self._sender = CellSender(entropy.below(1 << 32), entropy)
        self._place = entropy.below(SLOTS)
        self._due = now

    def watch(self, now: float) -> None:
        """Say the first message, again and again."""
        if now >= self._due:
            self._due = now + FIRST_EVERY
            cell = self._sender.handshake(self._initiator.first())
            self._forwarding.send(self._place, cell, self._address)

    def answered(
        self, datagram: bytes, source: Address, now: float
    ) -> tuple[Line, SlotChains, Control] | None:
        """(slot 0, the chains of all slots, the proof to say); None when this is no answer to it, or cannot be used.

        Only that reflector could make the answer, from what was sent to its address; so cells may go there at once.
        """
        if source != self._address:
            return None
        result = self._initiator.answered(datagram[RTP_HEADER_SIZE:])
        if result is None:
            return None
        slots, secret = result
        chains = SlotChains(secret, slots + 1)
        service = add_slot(self._forwarding, chains.next(), self._place, now, begun_here=True)
        if service is None:
            return None
        sender = CellSender(service.chain.current.up.ssrc, self._entropy)
        begin_slot(self._forwarding, service, sender, source)
        return service, chains, Control.prove_answer(cell_timestamp(datagram))


@dataclass(slots=True)
class TrunkAnswer:
    """A trunk that another reflector wants to open here, and that was answered."""

    peer: bytes
    ticket_id: bytes
    core: bytes
    """What it repeats of its first message."""
    message: bytes
    service: Line
    chains: SlotChains
    deadline: float
    answered: dict[Address, CellSender] = field(default_factory=dict)
    """As `relay.media_reflector.opening.Opening.answered`."""

    def say_again(self, source: Address, forwarding: Forwarding, entropy: Entropy) -> bool:
        """One answer for one message; False when too many addresses had one."""
        if source not in self.answered:
            if len(self.answered) >= MAX_ANSWERED:
                return False
            self.answered[source] = CellSender(self.service.chain.current.down.ssrc, entropy)
        cell = self.answered[source].handshake(self.message)
        return forwarding.send(self.service.slot, cell, source)

    def proved(self, control: Control | None, source: Address, forwarding: Forwarding) -> bool:
        """Whether what came from `source` says back the timestamp of an answer that went there.  Then cells leave on
        slot 0."""
        sender = self.answered.get(source)
        if sender is None or control is None or control.operation is not Operation.PROVE:
            return False
        if not sender.sent(control.timestamp):
            return False
        begin_slot(forwarding, self.service, sender, source)
        return True


def answer_trunk(
    message: bytes,
    ticket: Ticket,
    static: X25519PrivateKey,
    remote_static: bytes,
    slots: int,
    forwarding: Forwarding,
    entropy: Entropy,
    now: float,
) -> TrunkAnswer | None:
    """Take a first message; `slots` is how many we would have at most.  None when slot 0's SSRC is taken.

    Raises `PeerError` when the message is not that of the ticket's holder, with its descriptor's key.
    """
    responder = TrunkResponder(message, ticket, static, remote_static)
    agreed = min(slots, responder.wanted)
    answer, secret = responder.answer(agreed, entropy)
    chains = SlotChains(secret, agreed + 1)
    service = add_slot(forwarding, chains.next(), entropy.below(SLOTS), now, begun_here=False)
    if service is None:
        return None
    return TrunkAnswer(
        ticket.peer, ticket.id, first_core(message), answer, service, chains, now + OPENING_EXPIRY
    )
