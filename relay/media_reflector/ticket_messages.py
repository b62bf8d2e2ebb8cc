"""What is asked of a reflector over its onion service, and what it answers: one size each, whatever is said.

Secrets travel under the descriptor's hybrid key (HPKE, RFC 9180, MLKEM768-X25519), so that a line recorded today stays
closed to a quantum computer later.  What only another reflector may ask carries that reflector's Ed25519 signature.
"""

from enum import IntEnum

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from relay.core import Entropy, PeerError, RefusedByPolicy
from relay.media_reflector.descriptor import Descriptor
from relay.media_reflector.tickets import LIFETIME, SECRET_SIZE, SHORTEST_LIFETIME
from relay.wire import decode, encode, pad, unpad

REQUEST_SIZE = 1536
ANSWER_SIZE = 3072
"""Every request and every answer has these sizes, whatever was asked and whatever the answer."""

SOONEST_MOMENT = 30
LATEST_MOMENT = 120
"""Bounds of the seconds after which a refused asker may come again; drawn at random between them."""

_KEM_SEED_SIZE = 64
KEM_PRIVATE_SIZE = _KEM_SEED_SIZE + 32
_MLKEM_PUBLIC_SIZE = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class RequestKind(IntEnum):
    """What a request is for."""

    DESCRIPTOR = 1
    TICKET = 2
    BACKUP_KEY = 3
    """A reflector: accept tickets that I make under this key."""
    TRUNK_TICKET = 4
    """A reflector: a ticket for a trunk."""


_INFO = {
    RequestKind.TICKET: b"bayonne reflector ticket 1\0",
    RequestKind.BACKUP_KEY: b"bayonne reflector backup key 1\0",
    RequestKind.TRUNK_TICKET: b"bayonne reflector trunk ticket 1\0",
}
"""What a secret is sealed and signed for, so that none passes for another."""


class ComeAgainLater(RefusedByPolicy):
    """The reflector gives out nothing just now, for a reason that it keeps to itself; `seconds` says when to ask
    again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"the reflector gives out no tickets just now; come again in about {seconds} seconds"
        )
        self.seconds = seconds


class Request(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """`sealed` is empty when asking for the descriptor; `peer` (an identity) and `signature` are empty unless a
    reflector asks."""

    kind: int
    sealed: bytes
    peer: bytes
    signature: bytes


class Answer(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """`accepted` with a signed descriptor in `data`, or with the seconds that the ticket or the key lives; else the
    seconds after which to come again."""

    accepted: bool
    data: bytes
    seconds: int


def descriptor_request() -> bytes:
    """The padded request for the signed descriptor."""
    return pad(encode(Request(RequestKind.DESCRIPTOR, b"", b"", b"")), REQUEST_SIZE)


def ticket_request(descriptor: Descriptor, entropy: Entropy) -> tuple[bytes, bytes]:
    """(the padded request, the secret that it carries).  Raises `PeerError` on a bad key in `descriptor`."""
    secret = entropy.token(SECRET_SIZE)
    sealed = _seal(RequestKind.TICKET, secret, descriptor)
    return pad(encode(Request(RequestKind.TICKET, sealed, b"", b"")), REQUEST_SIZE), secret


def peer_request(
    kind: RequestKind, secret: bytes, descriptor: Descriptor, identity_key: Ed25519PrivateKey
) -> bytes:
    """The padded request of one reflector to another; `identity_key` is the asker's, `descriptor` the other's.

    Raises `PeerError` on a bad key in `descriptor`.
    """
    sealed = _seal(kind, secret, descriptor)
    signature = identity_key.sign(_signed(kind, descriptor.identity, sealed))
    identity = identity_key.public_key().public_bytes_raw()
    return pad(encode(Request(kind, sealed, identity, signature)), REQUEST_SIZE)


def read_request(data: bytes) -> Request:
    """Raises `PeerError`.  Nothing in the request is verified yet, but its kind is a known one."""
    if len(data) != REQUEST_SIZE:
        raise PeerError("wrong size")
    request = decode(unpad(data), Request, limit=REQUEST_SIZE)
    if not RequestKind.DESCRIPTOR <= request.kind <= RequestKind.TRUNK_TICKET:
        raise PeerError("unknown request")
    return request


def verify_peer(request: Request, identity: bytes) -> None:
    """Raises `PeerError` unless the peer that a request names signed it for the reflector of `identity`."""
    try:
        Ed25519PublicKey.from_public_bytes(request.peer).verify(
            request.signature, _signed(RequestKind(request.kind), identity, request.sealed)
        )
    except (InvalidSignature, ValueError):
        raise PeerError("bad request signature") from None


def open_secret(request: Request, key: MLKEM768X25519PrivateKey, identity: bytes) -> bytes:
    """The 32 bytes in a request to the reflector of `identity`.  Raises `PeerError`."""
    return unseal(RequestKind(request.kind), request.sealed, key, identity)


def unseal(kind: RequestKind, sealed: bytes, key: MLKEM768X25519PrivateKey, identity: bytes) -> bytes:
    """The 32 bytes that were sealed for one purpose to the reflector of `identity`.  Raises `PeerError`."""
    try:
        secret = _SUITE.decrypt(sealed, key, _INFO[kind] + identity)
    except (InvalidTag, ValueError):
        raise PeerError("not sealed to this key") from None
    if len(secret) != SECRET_SIZE:
        raise PeerError("wrong size")
    return secret


def write_answer(answer: Answer) -> bytes:
    """The padded answer."""
    return pad(encode(answer), ANSWER_SIZE)


def parse_answer(data: bytes) -> Answer:
    """Raises `PeerError` when it is none, `ComeAgainLater` when the reflector said so."""
    if len(data) != ANSWER_SIZE:
        raise PeerError("wrong size")
    answer = decode(unpad(data), Answer, limit=ANSWER_SIZE)
    if not answer.accepted:
        # A moment far away, or one to know an asker again by, is no moment.
        if not SOONEST_MOMENT <= answer.seconds <= LATEST_MOMENT:
            raise PeerError("bad moment to come again")
        raise ComeAgainLater(answer.seconds)
    return answer


def ticket_lifetime(answer: Answer) -> int:
    """Seconds that the ticket lives which `answer` grants.  Raises `PeerError` where they are out of bounds."""
    if not SHORTEST_LIFETIME <= answer.seconds <= LIFETIME:
        raise PeerError("bad ticket lifetime")
    return answer.seconds


def generate_kem_key(entropy: Entropy) -> bytes:
    """A fresh private key as 96 bytes: ML-KEM seed (FIPS 203), X25519; any bytes are one."""
    return entropy.token(KEM_PRIVATE_SIZE)


def load_kem_key(data: bytes) -> tuple[MLKEM768X25519PrivateKey, bytes]:
    """(private key, 1216 bytes of public key for the descriptor)."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(data[:_KEM_SEED_SIZE])
    x25519 = X25519PrivateKey.from_private_bytes(data[_KEM_SEED_SIZE:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def _seal(kind: RequestKind, secret: bytes, descriptor: Descriptor) -> bytes:
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(descriptor.kem_key[:_MLKEM_PUBLIC_SIZE]),
            X25519PublicKey.from_public_bytes(descriptor.kem_key[_MLKEM_PUBLIC_SIZE:]),
        )
        return _SUITE.encrypt(secret, key, _INFO[kind] + descriptor.identity)
    except ValueError:
        raise PeerError("bad descriptor key") from None


def _signed(kind: RequestKind, identity: bytes, sealed: bytes) -> bytes:
    """What an asking reflector signs: the purpose, whom it asks, and the sealed secret."""
    return _INFO[kind] + identity + sealed
