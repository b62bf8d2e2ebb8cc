"""Tickets: what opens a line.  Fetched ahead over the reflector's onion service, single use, ten minutes at
most.

The agent picks the secret and seals it to the descriptor's hybrid key (HPKE, RFC 9180, MLKEM768-X25519), so
that a line recorded today stays closed to a quantum computer later.  The ticket's number, which the reflector
sees in the first cell of a line, is derived from the secret; nothing in it says who asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.core import Counters, Entropy, MisuseError, PeerError, RefusedByPolicy
from relay.media_reflector.descriptor import Descriptor
from relay.wire import decode, encode, pad, unpad

TICKET_ID_SIZE = 16
SECRET_SIZE = 32
LIFETIME = 600.0
"""Seconds that an unused ticket lives."""

SHORTEST_LIFETIME = 180.0
"""A ticket that would run out sooner is refused: it could not outlive a long ring and a start delay, and a
reflector that hands out odd lifetimes could know its callers again by when they ask for the next."""

REQUEST_SIZE = 1280
ANSWER_SIZE = 2048
"""Every request and every answer has these sizes, whatever was asked and whatever the answer."""

_KEM_SEED_SIZE = 64
KEM_PRIVATE_SIZE = _KEM_SEED_SIZE + 32
_MLKEM_PUBLIC_SIZE = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"bayonne reflector ticket 1\0"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to open one line.  `expires` is in the clock of whoever holds it."""

    secret: bytes
    expires: float

    @property
    def id(self) -> bytes:
        """The number that names the ticket in the clear."""
        return HKDFExpand(SHA256(), TICKET_ID_SIZE, b"bayonne ticket number").derive(self.secret)


class RequestKind(IntEnum):
    DESCRIPTOR = 1
    TICKET = 2


class Request(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What is asked of a reflector over its onion service; `sealed_secret` is empty when asking for its
    descriptor."""

    kind: int
    sealed_secret: bytes


class Answer(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """`accepted` with a signed descriptor in `data`, or with the seconds that the ticket lives."""

    accepted: bool
    data: bytes
    lifetime: int


def descriptor_request() -> bytes:
    """The padded request for the signed descriptor."""
    return pad(encode(Request(RequestKind.DESCRIPTOR, b"")), REQUEST_SIZE)


def ticket_request(descriptor: Descriptor, entropy: Entropy) -> tuple[bytes, bytes]:
    """(the padded request, the secret that it carries)."""
    secret = entropy.token(SECRET_SIZE)
    sealed = _SUITE.encrypt(secret, _kem_public_key(descriptor.kem_key), _INFO + descriptor.identity)
    return pad(encode(Request(RequestKind.TICKET, sealed)), REQUEST_SIZE), secret


def parse_answer(data: bytes) -> Answer:
    """Raises `PeerError` when it is none, `RefusedByPolicy` when the reflector said no."""
    if len(data) != ANSWER_SIZE:
        raise PeerError("wrong size")
    answer = decode(unpad(data), Answer, limit=ANSWER_SIZE)
    if not answer.accepted:
        raise RefusedByPolicy("the reflector gives out no more tickets just now; try again in a minute")
    return answer


def ticket_lifetime(answer: Answer) -> int:
    """Seconds that the ticket lives which `answer` grants.  Raises `PeerError` where they are out of bounds."""
    if not SHORTEST_LIFETIME <= answer.lifetime <= LIFETIME:
        raise PeerError("bad ticket lifetime")
    return answer.lifetime


def generate_kem_key(entropy: Entropy) -> bytes:
    """A fresh private key as 96 bytes: ML-KEM seed (FIPS 203), X25519; any bytes are one."""
    return entropy.token(KEM_PRIVATE_SIZE)


def load_kem_key(data: bytes) -> tuple[MLKEM768X25519PrivateKey, bytes]:
    """(private key, 1216 bytes of public key for the descriptor)."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(data[:_KEM_SEED_SIZE])
    x25519 = X25519PrivateKey.from_private_bytes(data[_KEM_SEED_SIZE:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def _kem_public_key(data: bytes) -> MLKEM768X25519PublicKey:
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC_SIZE]),
            X25519PublicKey.from_public_bytes(data[_MLKEM_PUBLIC_SIZE:]),
        )
    except ValueError:
        raise PeerError("bad descriptor key") from None


class TicketOffice:
    """Issues tickets and forgets them: used, or ten minutes old.

    At most `capacity` are outstanding; beyond that requests are refused until some were used or ran out.
    """

    def __init__(self, kem_private_key: MLKEM768X25519PrivateKey, identity: bytes, capacity: int) -> None:
        self.counters = Counters(("issued", "used", "expired", "refused", "garbage", "descriptor"))
        self._key = kem_private_key
        self._info = _INFO + identity
        self._capacity = capacity
        self._tickets: dict[bytes, Ticket] = {}
        """In order of issue, which is the order of expiry."""

    def __len__(self) -> int:
        return len(self._tickets)

    def answer(self, request: bytes, signed_descriptor: Callable[[], bytes], now: float) -> bytes:
        """The padded answer to a padded request.  `now` is monotonic.  Raises `PeerError` on garbage."""
        try:
            return pad(encode(self._answer(request, signed_descriptor, now)), ANSWER_SIZE)
        except PeerError:
            self.counters.count("garbage")
            raise

    def _answer(self, request: bytes, signed_descriptor: Callable[[], bytes], now: float) -> Answer:
        if len(request) != REQUEST_SIZE:
            raise PeerError("wrong size")
        asked = decode(unpad(request), Request, limit=REQUEST_SIZE)
        if asked.kind == RequestKind.DESCRIPTOR:
            self.counters.count("descriptor")
            return Answer(True, signed_descriptor(), 0)
        if asked.kind != RequestKind.TICKET:
            raise PeerError("unknown request")
        try:
            self.issue(asked.sealed_secret, now)
        except RefusedByPolicy:
            return Answer(False, b"", 0)
        return Answer(True, b"", int(LIFETIME))

    def issue(self, sealed_secret: bytes, now: float) -> Ticket:
        """Take a sealed secret.  Raises `PeerError` (not ours, or used twice) and `RefusedByPolicy` (too
        many)."""
        self.expire(now)
        if len(self._tickets) >= self._capacity:
            self.counters.count("refused")
            raise RefusedByPolicy("too many unused tickets")
        try:
            secret = _SUITE.decrypt(sealed_secret, self._key, self._info)
        except (InvalidTag, ValueError):
            raise PeerError("not sealed to this key") from None
        if len(secret) != SECRET_SIZE:
            raise PeerError("wrong size")
        ticket = Ticket(secret, now + LIFETIME)
        ticket_id = ticket.id
        if ticket_id in self._tickets:
            raise PeerError("ticket asked for twice")
        self._tickets[ticket_id] = ticket
        self.counters.count("issued")
        return ticket

    def find(self, ticket_id: bytes, now: float) -> Ticket | None:
        """The unused ticket of that number, still valid."""
        ticket = self._tickets.get(ticket_id)
        return ticket if ticket is not None and now < ticket.expires else None

    def use(self, ticket_id: bytes) -> None:
        """Forget a ticket for good."""
        if self._tickets.pop(ticket_id, None) is None:
            raise MisuseError("a ticket that is not there was used")
        self.counters.count("used")

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._tickets:
            oldest = next(iter(self._tickets))
            if now < self._tickets[oldest].expires:
                break
            del self._tickets[oldest]
            self.counters.count("expired")
