"""New keys within a call: an exchange of fresh hybrid keys every few minutes, in the cells, end to end.

Whoever takes the memory of an agent in the middle of a call reads nothing of the epochs before, for their keys are gone
and do not follow from those that are there; and nothing of the epochs after, once both agents have exchanged fresh keys
again, unless the thief is in the middle of that exchange too.

    one of the two                                the other
    OFFER  epoch, hybrid key       ------------>  encapsulates, expects the next epoch
    goes on under the next epoch   <------------  ANSWER  epoch, encapsulation and X25519 key
    first body of the next epoch   ------------>  goes on under the next epoch

Next key of a direction = HKDF-SHA256(its key now | ML-KEM secret | X25519 secret), salted with a hash of both messages.
They travel inside bodies of the epoch before, and are authentic by that; each is repeated until it bears fruit, since a
piece of it may get lost.  Sans-IO; time is counted in cells, one a tick.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Counters, Entropy, PeerError, wipe
from relay.forward_publish.key_schedule import KEY_SIZE
from relay.forward_publish.prekeys import (
    ENCAPSULATION_SIZE,
    KEM_CIPHERTEXT_SIZE,
    PREKEY_SIZE,
    HybridKey,
    HybridPublicKey,
)

EPOCH_CELLS = (15_000, 30_000)
"""An epoch lasts so many cells at the least and at the most: 5 to 10 minutes, at random."""
REPEAT_CELLS = 150
"""Cells after which a message that bore no fruit is said again: 3 s; beside voice, to say it takes half a second."""

_OFFER = 1
_ANSWER = 2
_HEAD = 5
_LABEL = b"bayonne call epoch, version 1\x00"


@dataclass(frozen=True, slots=True)
class Say:
    """A message for the peer, in the cells."""

    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Expect:
    """The peer may go on under this key."""

    key: bytearray = field(repr=False)


@dataclass(frozen=True, slots=True)
class GoOn:
    """Seal under this key from now on."""

    key: bytearray = field(repr=False)


Step = Say | Expect | GoOn


@dataclass(slots=True)
class _Pending:
    """What the next epoch is made of, while there is one in the making."""

    message: bytes
    """The offer, where it is ours, else the answer to theirs."""
    fresh: HybridKey | None = None
    send: bytearray | None = None
    receive: bytearray | None = None


class CallEpochs:
    """One side of it.  Give it every message of the peer's, and `tick` with every cell; carry out its `steps`.

    Who offers is who has the smaller sending key of the call's first epoch: both see that, and it says nothing of who
    called.  Counters: `epochs`, `refused` messages.  What the peer sends never raises.
    """

    def __init__(self, send: bytes, receive: bytes, entropy: Entropy) -> None:
        self.epoch = 0
        self.counters = Counters(("epochs", "refused"))
        self._send, self._receive = bytearray(send), bytearray(receive)
        self._offers = send < receive
        self._entropy = entropy
        self._steps: list[Step] = []
        self._pending: _Pending | None = None
        self._cells = 0
        self._due = self._drawn()

    def steps(self) -> Sequence[Step]:
        """What is to be done now, in order; each once."""
        drained, self._steps = self._steps, []
        return drained

    def tick(self) -> None:
        """Another cell leaves."""
        self._cells += 1
        if self._cells >= self._due and (self._offers or self._pending is not None):
            self._due = self._cells + REPEAT_CELLS
            self._say()

    def receive(self, message: bytes) -> None:
        """Take a message of the peer's, authentic as every content is.  What is of no use is counted."""
        try:
            self._read(message)
        except PeerError:
            self.counters.count("refused")

    def turned(self) -> None:
        """A body of the peer's came that is of the next epoch: it has the keys, and the ones before are over."""
        pending = self._pending
        if pending is None or pending.send is None or pending.receive is None:
            return
        if not self._offers:
            self._steps.append(GoOn(bytearray(pending.send)))
        for old in (self._send, self._receive):
            wipe(old)
        self._send, self._receive = pending.send, pending.receive
        self._pending = None
        self.epoch += 1
        self.counters.count("epochs")
        self._due = self._drawn()

    def forget(self) -> None:
        """The call is over."""
        pending, self._pending = self._pending, None
        made = (pending.send, pending.receive) if pending is not None else ()
        for key in (self._send, self._receive, *made):
            if key is not None:
                wipe(key)

    # -- the exchange --------------------------------------------------------------------------------------------

    def _say(self) -> None:
        """Our offer, or our answer, for the first time or again."""
        if self._pending is None:
            fresh = HybridKey.generate(self._entropy)
            self._pending = _Pending(_head(_OFFER, self.epoch + 1) + fresh.public, fresh)
        if not self._offers or self._pending.fresh is not None:
            self._steps.append(Say(self._pending.message))

    def _read(self, message: bytes) -> None:
        kind, body = message[:1], message[_HEAD:]
        if int.from_bytes(message[1:_HEAD]) != self.epoch + 1:
            raise PeerError("another epoch")
        if kind == bytes([_OFFER]) and not self._offers and len(body) == PREKEY_SIZE:
            self._answer(message, body)
        elif kind == bytes([_ANSWER]) and self._offers and len(body) == ENCAPSULATION_SIZE:
            self._take(message, body)
        else:
            raise PeerError("malformed")

    def _answer(self, offer: bytes, body: bytes) -> None:
        if self._pending is not None:
            # The same again, which our answer has crossed.  There is no second offer for one epoch.
            raise PeerError("answered already")
        theirs = HybridPublicKey.parse(body)
        ours = X25519PrivateKey.from_private_bytes(self._entropy.token(32))
        kem_secret, ciphertext = theirs.kem.encapsulate()
        agreement = _agree(ours, theirs.x25519)
        answer = _head(_ANSWER, self.epoch + 1) + ciphertext + ours.public_key().public_bytes_raw()
        self._pending = _Pending(answer)
        self._derive(self._pending, offer, answer, kem_secret + agreement)
        self._due = self._cells + REPEAT_CELLS
        self._say()

    def _take(self, answer: bytes, body: bytes) -> None:
        pending = self._pending
        if pending is None or pending.fresh is None:
            # The answer to an offer that was repeated, again.
            raise PeerError("not asked for")
        try:
            kem_secret = pending.fresh.kem.decapsulate(body[:KEM_CIPHERTEXT_SIZE])
            theirs = X25519PublicKey.from_public_bytes(body[KEM_CIPHERTEXT_SIZE:])
        except ValueError:
            raise PeerError("bad key") from None
        agreement = _agree(pending.fresh.x25519, theirs)
        self._derive(pending, pending.message, answer, kem_secret + agreement)
        pending.fresh = None
        assert pending.send is not None
        self._steps.append(GoOn(bytearray(pending.send)))

    def _derive(self, pending: _Pending, offer: bytes, answer: bytes, shared: bytes) -> None:
        transcript = hashlib.sha256(offer + answer).digest()
        pending.send = _next_key(self._send, shared, transcript)
        pending.receive = _next_key(self._receive, shared, transcript)
        self._steps.append(Expect(bytearray(pending.receive)))

    def _drawn(self) -> int:
        least, most = EPOCH_CELLS
        return self._cells + int(self._entropy.uniform(least, most))


def _next_key(key: bytearray, shared: bytes, transcript: bytes) -> bytearray:
    material = key + shared
    derived = bytearray(KEY_SIZE)
    HKDF(SHA256(), KEY_SIZE, transcript, _LABEL).derive_into(material, derived)
    wipe(material)
    return derived


def _agree(ours: X25519PrivateKey, theirs: X25519PublicKey) -> bytes:
    """Raises `PeerError` where the peer contributes nothing (RFC 7748 section 6.1)."""
    try:
        return ours.exchange(theirs)
    except ValueError:
        raise PeerError("bad key") from None


def _head(kind: int, epoch: int) -> bytes:
    return bytes([kind]) + epoch.to_bytes(_HEAD - 1)
