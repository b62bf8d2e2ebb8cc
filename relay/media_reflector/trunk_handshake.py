"""The handshake that opens a trunk between two reflectors: Noise KKpsk0 in cells that look like a line's.

The first message is laid out as a line's (first_message.py).  The answer's 148 bytes begin with a number that both
derive from the ticket's secret, so that the initiator's data plane lets it through: answer number (16), masked
ephemeral key (32), encrypted payload (84) and its tag (16).  What comes out is one secret, and from it one chain of
epochs for each of the trunk's slots: a slot is a line like any other, with SSRCs that are derived.
"""

import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Entropy, MisuseError, PeerError
from relay.media_reflector.epochs import EpochChain, expand
from relay.media_reflector.first_message import (
    COOKIE_SIZE,
    FIRST_PAYLOAD_SIZE,
    MESSAGE_SIZE,
    FirstMessage,
    first_is_authentic,
    mask,
    noise_part,
)
from relay.media_reflector.forwarding.face import TICKET_ID_SIZE
from relay.media_reflector.noise import KEY_SIZE, KK, TAG_SIZE, Initiator, Responder, read_public_key
from relay.media_reflector.tickets import Ticket

VERSION = 1
MAX_SLOTS = 4096
"""Slots of one trunk, at most."""

_ANSWER_PAYLOAD_SIZE = MESSAGE_SIZE - TICKET_ID_SIZE - KEY_SIZE - TAG_SIZE
_COUNT_SIZE = 2
_PROLOGUE = b"bayonne trunk 1\0"
_ANSWER_NUMBER = b"bayonne trunk answer id"
_SLOT = b"bayonne trunk slot "


def answer_number(ticket: Ticket) -> bytes:
    """What the answer to a first message with this ticket begins with."""
    return expand(ticket.secret, _ANSWER_NUMBER)[:TICKET_ID_SIZE]


class SlotChains:
    """One chain of epochs for each slot of a trunk; "up" is from whoever opened the trunk.

    Each is derived when its slot is opened: all at once, thousands would hold up every line of the reflector.  With the
    last one the secret is forgotten.
    """

    __slots__ = ("_count", "_next", "_secret")

    def __init__(self, secret: bytes, count: int) -> None:
        self._secret = secret
        self._count = count
        self._next = 0

    def __len__(self) -> int:
        """Those that were derived among them."""
        return self._count

    def next(self) -> EpochChain:
        """The chain of the next slot.  Raises `MisuseError` after the last."""
        if self._next >= self._count:
            raise MisuseError("a trunk has no more slots")
        chain = EpochChain(expand(self._secret, _SLOT + self._next.to_bytes(_COUNT_SIZE)))
        self._next += 1
        if self._next == self._count:
            self._secret = b""
        return chain


def _payload(slots: int, size: int) -> bytes:
    return (bytes((VERSION,)) + slots.to_bytes(_COUNT_SIZE)).ljust(size, b"\0")


def _read_slots(payload: bytes) -> int:
    if payload[0] != VERSION:
        raise PeerError("unknown trunk version")
    slots = int.from_bytes(payload[1 : 1 + _COUNT_SIZE])
    if not 0 < slots <= MAX_SLOTS:
        raise PeerError("bad number of trunk slots")
    return slots


def _secret(noise: Initiator | Responder) -> bytes:
    one, other = noise.split()
    return hmac.digest(noise.handshake_hash, one + other, "sha256")


class TrunkInitiator:
    """The side that fetched a trunk ticket.  `answer_id` is the number to permit while it waits for the answer."""

    __slots__ = ("_first", "_noise", "_slots", "_ticket", "answer_id")

    def __init__(
        self,
        ticket: Ticket,
        static: X25519PrivateKey,
        remote_static: bytes,
        slots: int,
        entropy: Entropy,
    ) -> None:
        """`slots` is how many we want.  Raises `PeerError` when `remote_static` is no key."""
        if not 0 < slots <= MAX_SLOTS:
            raise MisuseError("a trunk has 1 to 4096 slots")
        self.answer_id = answer_number(ticket)
        self._ticket = ticket
        self._slots = slots
        start = KK.start(_PROLOGUE, static.public_key().public_bytes_raw(), remote_static)
        self._noise = Initiator(KK, start, ticket.secret, static, read_public_key(remote_static))
        message = self._noise.write(_payload(slots, FIRST_PAYLOAD_SIZE), entropy.token(KEY_SIZE))
        self._first = FirstMessage(ticket, message, entropy.token(COOKIE_SIZE))

    def first(self) -> bytes:
        """The message to repeat until it is answered."""
        return self._first.message

    def answered(self, message: bytes) -> tuple[int, bytes] | None:
        """(the number of slots that both hold, the trunk's secret), or None when this is not the answer."""
        if len(message) != MESSAGE_SIZE or message[:TICKET_ID_SIZE] != self.answer_id:
            return None
        try:
            # Reading garbage would spend the state, so a copy is tried.
            noise = self._noise.copy()
            slots = _read_slots(noise.read(mask(self._ticket.secret, b"answer", message[TICKET_ID_SIZE:])))
        except PeerError:
            return None
        return (slots, _secret(noise)) if slots <= self._slots else None


class TrunkResponder:
    """The side that gave out the ticket and knows the other one's static key from its descriptor."""

    __slots__ = ("_noise", "_ticket", "wanted")

    def __init__(
        self, message: bytes, ticket: Ticket, static: X25519PrivateKey, remote_static: bytes
    ) -> None:
        """Reads a first message; `wanted` is how many slots the other side wants.

        Raises `PeerError`, before any Diffie-Hellman where the mac is wrong.
        """
        if not first_is_authentic(message, ticket):
            raise PeerError("wrong handshake mac")
        start = KK.start(_PROLOGUE, remote_static, static.public_key().public_bytes_raw())
        self._noise = Responder(KK, start, ticket.secret, static, read_public_key(remote_static))
        self._ticket = ticket
        self.wanted = _read_slots(self._noise.read(noise_part(message, ticket.secret)))

    def answer(self, slots: int, entropy: Entropy) -> tuple[bytes, bytes]:
        """(the answer's 148 bytes, the trunk's secret); `slots` is how many there will be, at most `wanted`.  Once.

        Raises `PeerError` when the other side's keys are of low order.
        """
        if not 0 < slots <= self.wanted:
            raise MisuseError("a trunk has at most as many slots as were asked for")
        answer = self._noise.write(_payload(slots, _ANSWER_PAYLOAD_SIZE), entropy.token(KEY_SIZE))
        message = answer_number(self._ticket) + mask(self._ticket.secret, b"answer", answer)
        return message, _secret(self._noise)
