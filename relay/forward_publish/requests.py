"""What is asked on a contact point's record port; all requests have one size.

`Put` leaves an entry.  `Fetch` asks for a bucket: a prefix of few bits, never a key; `Middle` for what lies around the
middle of one, which shows at once what both of its halves hold.  `Digests`, `Summary` and `Want` are how contact points
pull from one another, and `Peers` how they hear of one another.  `relay.forward_publish.answers`
has the other half.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

import msgspec

from relay.core import PeerError
from relay.forward_publish.entries import MOST_PREFIX_BITS, Entry, EntryKind, check_prefix
from relay.forward_publish.work import WORK_SIZE
from relay.wire import decode, encode, is_onion, pad, unpad

REQUEST_SIZE = 4352
SHORT_KEY_SIZE = 16
"""Bytes of a key by which contact points name it to one another: nobody finds two keys that begin alike."""

MOST_WANTED = 64
MOST_PAGE = 2**16


class RequestKind(IntEnum):
    """What a request wants."""

    PUT = 1
    FETCH = 2
    DIGESTS = 3
    SUMMARY = 4
    WANT = 5
    PEERS = 6
    MIDDLE = 7


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """All requests; what one of them has no use for is zero or empty."""

    request: RequestKind
    kind: int = 0
    bits: int = 0
    prefix: int = 0
    page: int = 0
    body: bytes = b""
    work: bytes = b""
    keys: tuple[bytes, ...] = ()
    onion: str = ""

    def to_bytes(self) -> bytes:
        return pad(encode(self), REQUEST_SIZE)


@dataclass(frozen=True, slots=True)
class Put:
    """Keep this slot; `work` is what `relay.forward_publish.work` found for it."""

    request: ClassVar = RequestKind.PUT
    kind: EntryKind
    body: bytes = field(repr=False)
    work: bytes = field(repr=False)

    @classmethod
    def of(cls, entry: Entry, work: bytes) -> "Put":
        return cls(EntryKind(entry.kind), entry.body, work)

    def to_bytes(self) -> bytes:
        return _Wire(self.request, self.kind, body=self.body, work=self.work).to_bytes()


@dataclass(frozen=True, slots=True)
class _PageOfPrefix:
    """One page of what lies under a prefix."""

    request: ClassVar[RequestKind]
    kind: EntryKind
    bits: int = 0
    prefix: int = field(default=0, repr=False)
    page: int = 0

    def to_bytes(self) -> bytes:
        return _Wire(self.request, self.kind, self.bits, self.prefix, self.page).to_bytes()


@dataclass(frozen=True, slots=True)
class Fetch(_PageOfPrefix):
    """One page of the entries under a prefix, in the order of their keys."""

    request: ClassVar = RequestKind.FETCH


@dataclass(frozen=True, slots=True)
class Middle:
    """Of the records under a prefix of at most 13 bits the last 64 of its lower half and the first 64 of its upper
    one, in the order of their keys."""

    request: ClassVar = RequestKind.MIDDLE
    kind: ClassVar = EntryKind.RECORD
    bits: int = 0
    prefix: int = field(default=0, repr=False)

    def to_bytes(self) -> bytes:
        return _Wire(self.request, self.kind, self.bits, self.prefix).to_bytes()


@dataclass(frozen=True, slots=True)
class Digests:
    """Digest and count of each of the 4,096 prefixes of 12 bits."""

    request: ClassVar = RequestKind.DIGESTS
    kind: EntryKind

    def to_bytes(self) -> bytes:
        return _Wire(self.request, self.kind).to_bytes()


@dataclass(frozen=True, slots=True)
class Summary(_PageOfPrefix):
    """One page of what tells the entries under a prefix apart, without their slots."""

    request: ClassVar = RequestKind.SUMMARY


@dataclass(frozen=True, slots=True)
class Want:
    """The entries whose keys begin so: 1 to `MOST_WANTED` different beginnings of `SHORT_KEY_SIZE` bytes."""

    request: ClassVar = RequestKind.WANT
    kind: EntryKind
    keys: Sequence[bytes] = field(repr=False)

    def to_bytes(self) -> bytes:
        return _Wire(self.request, self.kind, keys=tuple(self.keys)).to_bytes()


@dataclass(frozen=True, slots=True)
class Peers:
    """Which other contact points do you know?  `onion` is the asker's own name, or empty."""

    request: ClassVar = RequestKind.PEERS
    onion: str = field(default="", repr=False)

    def to_bytes(self) -> bytes:
        return _Wire(self.request, onion=self.onion).to_bytes()


Request = Put | Fetch | Middle | Digests | Summary | Want | Peers


def parse_request(data: bytes) -> Request:
    """Read a request; the slot of a `Put` is not looked into.

    Raises `PeerError` ("oversized", "truncated", "bad padding", "malformed", "non-canonical", "wrong kind",
    "bad prefix").
    """
    if len(data) != REQUEST_SIZE:
        raise PeerError("oversized" if len(data) > REQUEST_SIZE else "truncated")
    wire = decode(unpad(data), _Wire, limit=REQUEST_SIZE)
    request = _read(wire)
    if request.to_bytes() != data:
        # A field that this request has no use for was not empty.
        raise PeerError("non-canonical")
    return request


def _read(wire: _Wire) -> Request:
    if wire.request is RequestKind.PEERS:
        if wire.onion and not is_onion(wire.onion):
            raise PeerError("malformed")
        return Peers(wire.onion)
    kind = _kind(wire.kind)
    match wire.request:
        case RequestKind.PUT:
            if len(wire.work) != WORK_SIZE:
                raise PeerError("malformed")
            return Put(kind, wire.body, wire.work)
        case RequestKind.DIGESTS:
            return Digests(kind)
        case RequestKind.WANT:
            short = all(len(key) == SHORT_KEY_SIZE for key in wire.keys)
            if not (short and 0 < len(wire.keys) == len(set(wire.keys)) <= MOST_WANTED):
                raise PeerError("malformed")
            return Want(kind, wire.keys)
        case RequestKind.FETCH | RequestKind.SUMMARY:
            check_prefix(wire.bits, wire.prefix)
            if not 0 <= wire.page < MOST_PAGE:
                raise PeerError("malformed")
            asked = Fetch if wire.request is RequestKind.FETCH else Summary
            return asked(kind, wire.bits, wire.prefix, wire.page)
        case RequestKind.MIDDLE:
            check_prefix(wire.bits, wire.prefix)
            if wire.bits == MOST_PREFIX_BITS:
                raise PeerError("bad prefix")
            return Middle(wire.bits, wire.prefix)


def _kind(number: int) -> EntryKind:
    try:
        return EntryKind(number)
    except ValueError:
        raise PeerError("wrong kind") from None
