"""Hello (RFC 6189 section 5.2), and its hash in SDP, a=zrtp-hash (section 8.1)."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.core import PeerError
from relay.zrtp.errors import malformed
from relay.zrtp.hash_chain import IMAGE_SIZE, HashChain
from relay.zrtp.messages import FRAME_SIZE, MAC_SIZE, VERSION, ZID_SIZE, MessageType, build
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, Offer, SasType

CLIENT = b"Bayonne voice   "
"""The same for everybody and every release: it stands in the clear of the media path."""
_KINDS = (HashType, CipherType, AuthTagType, KeyAgreementType, SasType)
_MOST_LISTED = 7
_VERSION_AT = FRAME_SIZE
_CLIENT_AT = _VERSION_AT + 4
_H3_AT = _CLIENT_AT + 16
_ZID_AT = _H3_AT + IMAGE_SIZE
_FLAGS_AT = _ZID_AT + ZID_SIZE
_LISTS_AT = _FLAGS_AT + 4
_SIGNATURES, _MITM, _PASSIVE = 1 << 30, 1 << 29, 1 << 28
_ATTRIBUTE = re.compile(r"([!-~]{1,16}) ([0-9A-Fa-f]{64})")
_SIGNIFICANT = 3
"""Characters of a version that count: "1.10", "1.11" and "1.1a" are one (section 4.1.1)."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the peer said of itself.  `message` is all of it, as it goes into hashes."""

    version: bytes
    client: bytes
    h3: bytes
    zid: bytes
    offer: Offer
    """Completed: what is mandatory is always in it."""
    message: bytes
    signatures: bool = False
    mitm: bool = False
    """A PBX that says so itself (section 7.3)."""
    passive: bool = False

    @classmethod
    def read(cls, message: bytes) -> "Hello":
        """From a whole message that is known to be a Hello.  Raises `ZrtpError`."""
        if len(message) < _LISTS_AT + MAC_SIZE:
            raise malformed("truncated", "5.2")
        flags = int.from_bytes(message[_FLAGS_AT:_LISTS_AT])
        counts = [flags >> shift & 0xF for shift in (16, 12, 8, 4, 0)]
        if max(counts) > _MOST_LISTED or len(message) != _LISTS_AT + 4 * sum(counts) + MAC_SIZE:
            raise malformed("wrong number of algorithms", "5.2")
        lists = []
        start = _LISTS_AT
        for count in counts:
            lists.append([message[start + 4 * n : start + 4 * n + 4] for n in range(count)])
            start += 4 * count
        return cls(
            message[_VERSION_AT:_CLIENT_AT],
            message[_CLIENT_AT:_H3_AT],
            message[_H3_AT:_ZID_AT],
            message[_ZID_AT:_FLAGS_AT],
            _offer(lists).completed(),
            message,
            bool(flags & _SIGNATURES),
            bool(flags & _MITM),
            bool(flags & _PASSIVE),
        )

    @property
    def older(self) -> bool:
        """A version that is lower than ours, which calls for an Error (section 4.1.1)."""
        return self.version[:_SIGNIFICANT] < VERSION[:_SIGNIFICANT]


def is_newer_hello(message: bytes) -> bool:
    """Whether a Hello is of a higher version than ours, to be ignored (section 4.1.1), whatever is in it.

    Who speaks several versions says the highest first, and ours once it has heard our Hello.  A hash that was signalled
    for our version says nothing about a higher one.
    """
    version = message[_VERSION_AT:_CLIENT_AT]
    return version[:_SIGNIFICANT] > VERSION[:_SIGNIFICANT]


def _offer(lists: Sequence[Sequence[bytes]]) -> Offer:
    """What of it we know, without repetitions."""
    hashes, ciphers, tags, agreements, sas = (
        tuple(dict.fromkeys(known[block] for block in listed if block in known))
        for listed, known in zip(lists, _KNOWN, strict=True)
    )
    return Offer(hashes, ciphers, tags, agreements, sas)  # type: ignore[arg-type]


_KNOWN = tuple({block.value.encode(): block for block in kind} for kind in _KINDS)


def build_hello(
    zid: bytes, offer: Offer, chain: HashChain, *, passive: bool = False, mitm: bool = False
) -> bytes:
    """Our Hello; `offer` has at most seven of a kind."""
    lists = (offer.hashes, offer.ciphers, offer.auth_tags, offer.key_agreements, offer.sas_types)
    flags = (_PASSIVE if passive else 0) | (_MITM if mitm else 0)
    for listed, shift in zip(lists, (16, 12, 8, 4, 0), strict=True):
        flags |= len(listed) << shift
    blocks = "".join(block for listed in lists for block in listed).encode()
    body = VERSION + CLIENT + chain[3] + zid + flags.to_bytes(4) + blocks
    return chain.sign(build(MessageType.HELLO, body + bytes(MAC_SIZE))[:-MAC_SIZE], 2)


def hello_hash(message: bytes) -> str:
    """The value of a=zrtp-hash for a Hello: version, space, 64 hexadecimal digits (section 8)."""
    version = message[_VERSION_AT:_CLIENT_AT].decode("ascii")
    return f"{version} {hashlib.sha256(message).hexdigest()}"


def read_hello_hash(value: str) -> str | None:
    """A peer's a=zrtp-hash in one spelling; None where it is for a version that we do not speak.

    Raises `PeerError` ("malformed") where it is none.
    """
    if (match := _ATTRIBUTE.fullmatch(value.strip())) is None:
        raise PeerError("malformed", "RFC 6189 section 8")
    version, digits = match.groups()
    if version[:_SIGNIFICANT].encode() != VERSION[:_SIGNIFICANT]:
        return None
    return digits.lower()


class HelloHashes:
    """What signalling said of a peer's Hello (section 8.1): `values` of a=zrtp-hash, of which those count that are for
    our version.  Raises `PeerError` ("malformed") where one is none."""

    __slots__ = ("_digits",)

    def __init__(self, values: Sequence[str] = ()) -> None:
        found = (read_hello_hash(value) for value in values)
        self._digits = [digits for digits in found if digits is not None]

    def __bool__(self) -> bool:
        """Whether it said anything."""
        return bool(self._digits)

    def fit(self, message: bytes) -> bool:
        """Whether this Hello, all of it, is one that was signalled."""
        digits = hashlib.sha256(message).hexdigest()
        return any(hmac.compare_digest(digits, one) for one in self._digits)
