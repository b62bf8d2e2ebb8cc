"""Sealed SIP: the one body that every outer MESSAGE carries, ring, answer, note or dummy.

Layout, always: 1120 bytes that carry shared secrets (an ML-KEM-768 ciphertext and an X25519 key), then
AES-128-GCM ciphertext with its tag; `SEALED_SIZE` in all.  The real SIP travels inside, as RFC 3261 section
23.4 tunnels it.

- A ring is HPKE (RFC 9180) to the callee's prekey.  It carries the INVITE, the caller's fresh hybrid key,
  where the answer goes, and a MAC under pairwise secret, static agreement and the agreement of the caller's
  identity with the callee's prekey (so that whoever stole the callee's identity key still cannot pose as
  others).
- An answer encapsulates to the caller's fresh key, adds a fresh X25519 key, and is keyed by everything the
  two share.
- A note (CANCEL, BYE, or nothing at all: a dummy) is HPKE to the prekey, with a MAC like a ring's.

A receiver tries `OutgoingRing.open_answer` of the rings it has out, then `open_message`.  ML-KEM and HPKE
draw their randomness inside the library, from the operating system.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import Clock, Entropy, MisuseError, PeerError
from relay.forward_publish.key_schedule import MAC_SIZE, AnswerSecret, CallKeys, Peer, authentication_key, mac
from relay.forward_publish.prekeys import (
    ENCAPSULATION_SIZE,
    HPKE_TAG_SIZE,
    KEM_CIPHERTEXT_SIZE,
    HybridKey,
    HybridPublicKey,
    Prekey,
)
from relay.forward_publish.replay import ReplayCache
from relay.identity import Identity
from relay.identity.identity import curve25519_public
from relay.wire import decode, encode, pad, unpad

SEALED_SIZE = 4096
"""Bytes of the body of every outer MESSAGE."""

MOST_SIP = 1500
"""Bytes of SIP that one sealed body holds."""

_PADDED_SIZE = SEALED_SIZE - ENCAPSULATION_SIZE - HPKE_TAG_SIZE
_INFO = b"bayonne sealed SIP, version 1"
_ANSWER_DOMAIN = b"bayonne sealed answer, version 1"
_NONCE = bytes(12)  # every answer has a key of its own
_SECRET_SIZE = 32
_MOST_ANSWERS = 8


class _Kind(IntEnum):
    RING = 1
    NOTE = 2


class _Inner(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    kind: int
    sent_at: int
    secret: bytes
    sip: bytes
    fresh_key: bytes
    reply_onion: str
    reply_token: str


class _Answer(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    sip: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Where an answer is to go: a contact point (onion name) and the token that the caller bound there."""

    onion: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(slots=True)
class OutgoingRing:
    """The caller's half of a ring that is out; lives in memory until it is answered or given up."""

    _me: Identity = field(repr=False)
    _peer: Peer = field(repr=False)
    _body: bytes = field(repr=False)
    _fresh: HybridKey = field(repr=False)
    _shared: tuple[bytes, ...] = field(repr=False)
    _answers: set[bytes] = field(default_factory=set, repr=False)

    def open_answer(self, body: bytes) -> tuple[bytes, CallKeys] | None:
        """The SIP response and the call's keys; None where `body` is no answer to this ring.

        Each answer (180, 200, a refusal) has keys of its own.  Raises `PeerError` on a replayed answer, or
        one that the callee itself made wrongly.
        """
        if len(body) != SEALED_SIZE:
            raise PeerError("wrong size")
        opening, sealed = body[:ENCAPSULATION_SIZE], body[ENCAPSULATION_SIZE:]
        fresh_x25519 = opening[KEM_CIPHERTEXT_SIZE:]
        try:
            kem_secret = self._fresh.kem.decapsulate(opening[:KEM_CIPHERTEXT_SIZE])
            public = X25519PublicKey.from_public_bytes(fresh_x25519)
            agreement = self._fresh.x25519.exchange(public)
            to_static = self._fresh.x25519.exchange(curve25519_public(self._peer.public_key))
        except ValueError:
            return None
        before = _transcript(self._me.public_key, self._peer.public_key, self._body, opening)
        root = AnswerSecret.derive((*self._shared, kem_secret, agreement, to_static), before)
        try:
            padded = AESGCM(root.answer_key()).decrypt(_NONCE, sealed, opening)
        except InvalidTag:
            return None
        digest = hashlib.sha256(body).digest()
        if digest in self._answers:
            raise PeerError("replayed")
        if len(self._answers) >= _MOST_ANSWERS:
            raise PeerError("too many")
        self._answers.add(digest)
        answer = decode(unpad(padded), _Answer, limit=_PADDED_SIZE)
        whole = _transcript(self._me.public_key, self._peer.public_key, self._body, body)
        return answer.sip, root.call_keys(whole, caller=True)


@dataclass(frozen=True, slots=True)
class OpenedRing:
    """A ring from `peer`, authentic: the INVITE in `sip`, and where its answers go.

    `sent_at` is the Unix time at which the peer says that it sent it, under the same MAC; at most
    `TIME_WINDOW` from ours.
    """

    peer: Peer = field(repr=False)
    sip: bytes = field(repr=False)
    sent_at: int = field(repr=False)
    reply: Reply = field(repr=False)
    _body: bytes = field(repr=False)
    _fresh: HybridPublicKey = field(repr=False)
    _shared: tuple[bytes, ...] = field(repr=False)

    def seal_answer(self, me: Identity, sip: bytes, entropy: Entropy) -> tuple[bytes, CallKeys]:
        """A body for `reply`, and the keys of the call if this answer is the one that counts."""
        if len(sip) > MOST_SIP:
            raise MisuseError("the SIP message does not fit a sealed body")
        x25519 = X25519PrivateKey.from_private_bytes(entropy.token(32))
        kem_secret, kem_ciphertext = self._fresh.kem.encapsulate()
        try:
            agreement = x25519.exchange(self._fresh.x25519)
        except ValueError:
            raise PeerError("bad hybrid key") from None
        to_static = me.agree(self._fresh.x25519)
        opening = kem_ciphertext + x25519.public_key().public_bytes_raw()
        before = _transcript(self.peer.public_key, me.public_key, self._body, opening)
        root = AnswerSecret.derive((*self._shared, kem_secret, agreement, to_static), before)
        padded = pad(encode(_Answer(sip)), _PADDED_SIZE)
        body = opening + AESGCM(root.answer_key()).encrypt(_NONCE, padded, opening)
        whole = _transcript(self.peer.public_key, me.public_key, self._body, body)
        return body, root.call_keys(whole, caller=False)


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note from `peer`, authentic: a SIP request of a dialog that its Call-ID names, or nothing.

    `sent_at` as in `OpenedRing`.
    """

    peer: Peer = field(repr=False)
    sip: bytes = field(repr=False)
    sent_at: int = field(repr=False)

    @property
    def dummy(self) -> bool:
        """True where the note says nothing: it came so that other messages are not alone."""
        return not self.sip


def seal_ring(
    me: Identity, peer: Peer, prekey: bytes, sip: bytes, reply: Reply, clock: Clock, entropy: Entropy
) -> tuple[bytes, OutgoingRing]:
    """An INVITE sealed to `prekey` of the callee, and what the caller keeps to open the answer.

    Raises `PeerError` where the callee's keys are of no use.
    """
    fresh = HybridKey.generate(entropy)
    secret = entropy.token(_SECRET_SIZE)
    inner = _Inner(_Kind.RING, int(clock.wall()), secret, sip, fresh.public, reply.onion, reply.token)
    static, to_prekey = me.diffie_hellman(peer.public_key), me.agree(prekey[-32:])
    body = _seal(me, peer, prekey, inner, (static, to_prekey))
    return body, OutgoingRing(me, peer, body, fresh, (peer.secret, secret, static, to_prekey))


def seal_note(me: Identity, peer: Peer, prekey: bytes, sip: bytes, clock: Clock, entropy: Entropy) -> bytes:
    """A SIP request outside a ring (CANCEL, BYE), or with empty `sip` a dummy.

    Raises `PeerError` as `seal_ring`.
    """
    inner = _Inner(_Kind.NOTE, int(clock.wall()), entropy.token(_SECRET_SIZE), sip, b"", "", "")
    agreements = me.diffie_hellman(peer.public_key), me.agree(prekey[-32:])
    return _seal(me, peer, prekey, inner, agreements)


def open_message(
    body: bytes, me: Identity, peer: Peer, prekeys: Sequence[Prekey], replays: ReplayCache, now: float
) -> OpenedRing | OpenedNote:
    """Open what came for the token that belongs to `peer`; `now` is Unix time.

    Raises `PeerError`: not sealed to any of `prekeys`, not from `peer`, replayed, outside the time window,
    malformed.
    """
    if len(body) != SEALED_SIZE:
        raise PeerError("wrong size")
    for prekey in prekeys:
        padded = prekey.key.open(body, _INFO)
        if padded is not None:
            break
    else:
        raise PeerError("not sealed to a prekey")
    try:
        to_prekey = prekey.key.x25519.exchange(curve25519_public(peer.public_key))
    except ValueError:
        raise PeerError("bad identity key") from None
    static = me.diffie_hellman(peer.public_key)
    plain = unpad(padded)
    key = authentication_key(
        peer, (static, to_prekey), _context(peer.public_key, me.public_key, prekey.public)
    )
    if not hmac.compare_digest(plain[:MAC_SIZE], mac(key, plain[MAC_SIZE:])):
        raise PeerError("not authentic")
    inner = decode(plain[MAC_SIZE:], _Inner, limit=_PADDED_SIZE)
    replays.check(peer.public_key, plain[:MAC_SIZE], inner.sent_at, now)
    if len(inner.secret) != _SECRET_SIZE:
        raise PeerError("malformed")
    if inner.kind == _Kind.NOTE:
        return OpenedNote(peer, inner.sip, inner.sent_at)
    if inner.kind != _Kind.RING:
        raise PeerError("unknown kind")
    fresh = HybridPublicKey.parse(inner.fresh_key)
    reply = Reply(inner.reply_onion, inner.reply_token)
    shared = (peer.secret, inner.secret, static, to_prekey)
    return OpenedRing(peer, inner.sip, inner.sent_at, reply, body, fresh, shared)


def _seal(me: Identity, peer: Peer, prekey: bytes, inner: _Inner, agreements: tuple[bytes, bytes]) -> bytes:
    if len(inner.sip) > MOST_SIP:
        raise MisuseError("the SIP message does not fit a sealed body")
    key = authentication_key(peer, agreements, _context(me.public_key, peer.public_key, prekey))
    content = encode(inner)
    padded = pad(mac(key, content) + content, _PADDED_SIZE)
    return HybridPublicKey.parse(prekey).seal(padded, _INFO)


def _context(sender: bytes, recipient: bytes, prekey: bytes) -> bytes:
    """Binds a MAC to its direction and its prekey; all parts have one length."""
    return _INFO + sender + recipient + prekey


def _transcript(caller: bytes, callee: bytes, ring: bytes, answer: bytes) -> bytes:
    """Hash of a call's two messages, the second as far as it is known; all other parts have one length."""
    return hashlib.sha256(_ANSWER_DOMAIN + caller + callee + ring + answer).digest()
