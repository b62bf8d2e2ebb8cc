"""Which secrets make which keys of a call: HKDF-SHA256 (RFC 5869) over all of them and the transcript.

A call key is out of reach for anybody who lacks one of: the pairwise secret, the fresh ML-KEM secret, the
fresh X25519 secret, the secret in the ring, the static agreement.  Nothing here is a signature: each of the
two could have made every byte alone, so that neither can prove to a third party that the other called.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from relay.core import MisuseError

KEY_SIZE = 32
MAC_SIZE = 32
JOIN_CODE_SIZE = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """What is needed of a contact: its identity key and the secret that the two share."""

    public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != 32 or len(self.secret) != 32:
            raise MisuseError("a peer is an identity key and a pairwise secret of 32 bytes each")


@dataclass(frozen=True, slots=True)
class CallKeys:
    """The end-to-end keys of one call, one for each direction, and a hash over everything that made them.

    The caller's `send` is the callee's `receive`.  `transcript` is the same for both only
    if both saw the same messages.
    """

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)
    transcript: bytes = field(repr=False)
    again: bytes = field(repr=False)
    """What both ends know and nobody else: where reflectors fail, lines meet again under codes made of it."""

    def join_code(self, reflector: bytes) -> bytes:
        """See the function of this name."""
        return join_code(self.again, reflector)

    def auxsecret(self) -> bytes:
        """What ties the ZRTP of two agents to this call (RFC 6189 section 4.3).

        Secret, and made of both of its messages: two calls that somebody in the middle joins have different ones.
        """
        return HKDFExpand(SHA256(), KEY_SIZE, b"bayonne call ZRTP auxsecret\x00").derive(self.again)


def join_code(again: bytes, reflector: bytes) -> bytes:
    """The code under which the two lines meet at the reflector of this identity, without a word about it.

    `again` is that of `CallKeys`: whoever has nothing else can find the lines of a call, and open no cell of it.
    """
    label = b"bayonne call meets again\x00"
    return HKDFExpand(SHA256(), JOIN_CODE_SIZE, label + reflector).derive(again)


def authentication_key(peer: Peer, agreements: tuple[bytes, ...], context: bytes) -> bytes:
    """The key of a message's MAC, from what only the two can compute."""
    return HKDF(
        SHA256(), KEY_SIZE, hashlib.sha256(context).digest(), b"bayonne message authentication"
    ).derive(peer.secret + b"".join(agreements))


def mac(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104)."""
    return hmac.digest(key, content, "sha256")


@dataclass(frozen=True, slots=True)
class AnswerSecret:
    """What both sides hold once the answer's encapsulation is known: the root of the call's keys."""

    _root: bytes = field(repr=False)

    @classmethod
    def derive(cls, shared: tuple[bytes, ...], transcript: bytes) -> "AnswerSecret":
        """From all shared secrets, each of 32 bytes, and a hash of what was sent so far."""
        if any(len(secret) != 32 for secret in shared):
            raise MisuseError("every shared secret has 32 bytes")
        return cls(HKDF.extract(SHA256(), transcript, b"".join(shared)))

    def _expand(self, label: bytes, size: int, context: bytes = b"") -> bytes:
        return HKDFExpand(SHA256(), size, b"bayonne call " + label + b"\x00" + context).derive(self._root)

    def answer_key(self) -> bytes:
        """AES-128-GCM key for the one answer that follows."""
        return self._expand(b"answer", 16)

    def call_keys(self, transcript: bytes, *, caller: bool) -> CallKeys:
        """The call's keys, bound to `transcript`: the hash of ring and answer, whole."""
        to_callee = self._expand(b"caller to callee", KEY_SIZE, transcript)
        to_caller = self._expand(b"callee to caller", KEY_SIZE, transcript)
        again = self._expand(b"meets again", KEY_SIZE, transcript)
        if caller:
            return CallKeys(to_callee, to_caller, transcript, again)
        return CallKeys(to_caller, to_callee, transcript, again)
