"""What is inside sealed bodies, as a dishonest contact can write it: under right keys and a right MAC."""

from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import ManualClock, PeerError, SeededEntropy
from relay.forward_publish import (
    SEALED_SIZE,
    HybridKey,
    HybridPublicKey,
    OpenedRing,
    Peer,
    Prekey,
    ReplayCache,
    Reply,
    introduction,
    open_introduction,
    open_message,
    seal_ring,
    sealed,
)
from relay.forward_publish.key_schedule import AnswerSecret, authentication_key, mac
from relay.identity import Identity
from relay.wire import encode, pad
from tests.forward_publish import shelves
from tests.fuzz.codec import Codec, Shape, same

_NOW = int(shelves.NOW)
_ENTROPY = SeededEntropy("fuzz")
_ALICE, _BOB = Identity.generate(_ENTROPY), Identity.generate(_ENTROPY)
_SECRET = _ENTROPY.token(32)
_TO_ALICE, _TO_BOB = Peer(_ALICE.public_key, _SECRET), Peer(_BOB.public_key, _SECRET)
_PREKEY = Prekey.generate(_ENTROPY, _NOW)
_SEALING = HybridPublicKey.parse(_PREKEY.public)
_AGREEMENTS = _ALICE.diffie_hellman(_BOB.public_key), _ALICE.agree(_PREKEY.public[-32:])
_PARTIES = _ALICE.public_key, _BOB.public_key, _PREKEY.public
_MESSAGE_KEY = authentication_key(_TO_BOB, _AGREEMENTS, sealed._context(*_PARTIES))
_INTRODUCTION_KEY = authentication_key(_TO_BOB, _AGREEMENTS, introduction._context(*_PARTIES))
_ROOM = sealed._PADDED_SIZE - 4 - 32


def _open(body: bytes) -> object:
    return open_message(body, _BOB, _TO_ALICE, [_PREKEY], ReplayCache(), _NOW)


def _body(content: bytes, key: bytes, info: bytes) -> bytes:
    content = content[:_ROOM]
    return _SEALING.seal(pad(mac(key, content) + content, sealed._PADDED_SIZE), info)


def _message(data: bytes) -> None:
    """A ring or a note of Alice's, whatever she put in; Bob answers a ring."""
    opened = _open(_body(data, _MESSAGE_KEY, sealed._INFO))
    if isinstance(opened, OpenedRing):
        same(len(opened.seal_answer(_BOB, b"SIP", _ENTROPY)[0]), SEALED_SIZE)


def _introduction(data: bytes) -> None:
    """Of Alice's; who says another identity than hers has no right MAC."""
    body = _body(data, _INTRODUCTION_KEY, introduction._INFO)
    opened = open_introduction(body, _BOB, _SECRET, [_PREKEY], ReplayCache(), _NOW)
    same(opened.identity, _ALICE.public_key)


_RING_BODY, _RING = seal_ring(
    _ALICE, _TO_BOB, _PREKEY.public, b"INVITE", Reply("a" * 56, "b" * 52), ManualClock(), _ENTROPY
)


class _Callee:
    """What Bob needs to seal any content as an answer to one ring: he may seal it twice, and under one key."""

    def __init__(self) -> None:
        ring = _open(_RING_BODY)
        assert isinstance(ring, OpenedRing)
        mine = X25519PrivateKey.from_private_bytes(_ENTROPY.token(32))
        kem_secret, ciphertext = ring._fresh.kem.encapsulate()
        shared = kem_secret, mine.exchange(ring._fresh.x25519), _BOB.agree(ring._fresh.x25519)
        self._opening = ciphertext + mine.public_key().public_bytes_raw()
        before = sealed._transcript(*_PARTIES[:2], _RING_BODY, self._opening)
        self._key = AnswerSecret.derive((*ring._shared, *shared), before).answer_key()

    def answer(self, data: bytes) -> None:
        padded = pad(data[: sealed._PADDED_SIZE - 4], sealed._PADDED_SIZE)
        body = self._opening + AESGCM(self._key).encrypt(sealed._NONCE, padded, self._opening)
        _RING._answers.clear()
        if _RING.open_answer(body) is None:
            raise AssertionError("a right answer was not opened")


def _anything(data: bytes) -> None:
    """A body that nobody sealed, at every door."""
    body = data.ljust(SEALED_SIZE, b"\0")[:SEALED_SIZE]
    same(_RING.open_answer(body), None)
    doors: tuple[Callable[[], object], ...] = (
        lambda: _open(body),
        lambda: open_introduction(body, _BOB, _SECRET, [_PREKEY], ReplayCache(), _NOW),
    )
    for door in doors:
        try:
            door()
        except PeerError:
            continue
        raise AssertionError("opened by chance")


def _messages() -> Iterable[bytes]:
    fresh = HybridKey.generate(_ENTROPY).public
    yield encode(sealed._Inner(1, _NOW, bytes(32), b"INVITE", fresh, "a" * 56, "b" * 52))
    yield encode(sealed._Inner(2, _NOW, bytes(32), b"BYE", b"", "", ""))


def _introductions() -> Iterable[bytes]:
    said = "Alice", (shelves.HERE,), HybridKey.generate(_ENTROPY).public
    yield encode(introduction._Content(_ALICE.public_key, _NOW, bytes(32), *said))


CODECS = (
    Codec("sealed-body", _anything, lambda: [bytes(SEALED_SIZE), _RING_BODY[:1200]], longest=SEALED_SIZE),
    Codec("sealed-message", _message, _messages, shape=Shape.PACKED),
    Codec(
        "sealed-answer",
        _Callee().answer,
        lambda: [encode(sealed._Answer(b"SIP/2.0 200 OK"))],
        shape=Shape.PACKED,
    ),
    Codec("sealed-introduction", _introduction, _introductions, shape=Shape.PACKED),
)
