"""What is answered on a contact point's record port: 256 KiB, or 64 bytes to a `Put`, whatever was found.

A heading says again what was asked and how much there is; behind it are slots as they lie in the store, or what the
other questions get, filled up with zeros.  Nothing is encoded again: a bucket of 128 records is one joining of bytes.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from relay.core import PeerError
from relay.forward_publish.entries import LEAST_IN_BUCKET, EntryKind
from relay.forward_publish.requests import (
    MOST_PAGE,
    SHORT_KEY_SIZE,
    Digests,
    Fetch,
    Middle,
    Peers,
    RequestKind,
    Summary,
    Want,
)
from relay.forward_publish.work import MOST_BITS
from relay.wire import decode, encode, pad, unpad

ANSWER_SIZE = 256 * 1024
PUT_ANSWER_SIZE = 64
HEADING_SIZE = 1024
CHILDREN = 4096
"""Prefixes of 12 bits, of which `Digests` tells."""

MOST_PEERS = 64
"""Contact points that one answer names."""

_ROOM = ANSWER_SIZE - HEADING_SIZE
_ZEROS = memoryview(bytes(_ROOM))
_CHILD = struct.Struct(">16sI")
_SUMMARY = struct.Struct(">16sQ8s")
_ONION_SIZE = 35

PAGE_OF_SUMMARIES = _ROOM // _SUMMARY.size
"""8,160 entries."""

_MOST_WIDE = {RequestKind.FETCH: 1, RequestKind.MIDDLE: 3}

SummaryRow = tuple[bytes, int, bytes]
"""First 16 bytes of a key, revision, first 8 bytes of the slot's SHA-256."""


def page_size(kind: EntryKind) -> int:
    """Slots of one answer: 128 records, 512 listings or 64 descriptors; all fill it exactly."""
    return _ROOM // kind.slot_size


class PutResult(IntEnum):
    """What became of an entry that was put; `MORE_WORK` says how many bits, the others come to nothing more."""

    ACCEPTED = 0
    """It is kept, or was already."""
    OLDER = 1
    """Something newer is there."""
    FULL = 2
    """There is no room, or the store keeps nothing just now: try another contact point, and this one later."""
    MORE_WORK = 3


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """`bits`: how much work is wanted; 0 but for `MORE_WORK`."""

    result: PutResult
    bits: int = 0

    def to_bytes(self) -> bytes:
        return pad(encode(_PutWire(self.result, self.bits)), PUT_ANSWER_SIZE)

    @classmethod
    def parse(cls, data: bytes) -> "PutAnswer":
        """Raises `PeerError`, also where more work is wanted than `MOST_BITS`."""
        if len(data) != PUT_ANSWER_SIZE:
            raise PeerError("wrong size")
        wire = decode(unpad(data), _PutWire, limit=PUT_ANSWER_SIZE)
        wants = wire.result is PutResult.MORE_WORK
        if not (0 < wire.bits <= MOST_BITS if wants else wire.bits == 0):
            raise PeerError("malformed")
        return cls(wire.result, wire.bits)


class _PutWire(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    result: PutResult
    bits: int


class Heading(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Which question this answers, and with how many things; `pages` and `wide` are 0 where they say nothing.

    `wide` is what the contact point says of buckets whose two halves hold 64 entries each: for a `Fetch` 1 where the
    bucket is one; for a `Middle` 1 where its lower half is one, and 2 more where its upper half is.
    """

    request: RequestKind
    kind: int
    bits: int
    prefix: int
    page: int
    count: int
    pages: int = 0
    wide: int = 0


Asked = Fetch | Middle | Digests | Summary | Want | Peers


def slots_answer(
    asked: Fetch | Middle | Want, slots: Sequence[bytes], *, pages: int = 0, wide: int = 0
) -> bytes:
    """Of at most a page of slots."""
    return _answer(asked, slots, len(slots), pages, wide)


def digests_answer(asked: Digests, children: Sequence[tuple[bytes, int]]) -> bytes:
    """Of digest and count of each of the `CHILDREN`."""
    return _answer(asked, [_CHILD.pack(*child) for child in children], len(children))


def summary_answer(asked: Summary, rows: Sequence[SummaryRow], *, pages: int) -> bytes:
    """Of at most `PAGE_OF_SUMMARIES` rows; keys in them may be whole."""
    packed = [_SUMMARY.pack(key[:SHORT_KEY_SIZE], revision, hashed) for key, revision, hashed in rows]
    return _answer(asked, packed, len(rows), pages)


def peers_answer(asked: Peers, onions: Sequence[str]) -> bytes:
    """Of at most `MOST_PEERS` names; further ones are left out."""
    named = onions[:MOST_PEERS]
    return _answer(asked, [base64.b32decode(onion.upper()) for onion in named], len(named))


def parse_slots(data: bytes, asked: Fetch | Middle | Want) -> tuple[Heading, list[bytes]]:
    """Heading and slots; nothing in them is checked yet.  Raises `PeerError`, as all of these do."""
    size = asked.kind.slot_size
    match asked:
        case Fetch():
            most = page_size(asked.kind)
        case Middle():
            most = 2 * LEAST_IN_BUCKET
        case Want():
            most = len(asked.keys)
    heading = _heading(data, asked, size, most)
    return heading, [
        data[at : at + size] for at in range(HEADING_SIZE, HEADING_SIZE + heading.count * size, size)
    ]


def parse_digests(data: bytes, asked: Digests) -> list[tuple[bytes, int]]:
    """Digest and count of each of the `CHILDREN`."""
    heading = _heading(data, asked, _CHILD.size, CHILDREN)
    if heading.count != CHILDREN:
        raise PeerError("malformed")
    return list(_CHILD.iter_unpack(memoryview(data)[HEADING_SIZE : HEADING_SIZE + CHILDREN * _CHILD.size]))


def parse_summary(data: bytes, asked: Summary) -> list[SummaryRow]:
    """What is on this page, in the order in which it came."""
    heading = _heading(data, asked, _SUMMARY.size, PAGE_OF_SUMMARIES)
    end = HEADING_SIZE + heading.count * _SUMMARY.size
    return list(_SUMMARY.iter_unpack(memoryview(data)[HEADING_SIZE:end]))


def parse_peers(data: bytes, asked: Peers) -> list[str]:
    """Onion names, 56 characters each."""
    heading = _heading(data, asked, _ONION_SIZE, MOST_PEERS)
    ends = range(HEADING_SIZE, HEADING_SIZE + heading.count * _ONION_SIZE, _ONION_SIZE)
    return [base64.b32encode(data[at : at + _ONION_SIZE]).decode().lower() for at in ends]


def _answer(asked: Asked, parts: Sequence[bytes], count: int, pages: int = 0, wide: int = 0) -> bytes:
    heading = pad(encode(Heading(*_said(asked), count, pages, int(wide))), HEADING_SIZE)
    filled = sum(map(len, parts))
    return b"".join((heading, *parts, _ZEROS[filled:]))


def _said(asked: Asked) -> tuple[RequestKind, int, int, int, int]:
    match asked:
        case Fetch() | Summary():
            return asked.request, asked.kind, asked.bits, asked.prefix, asked.page
        case Middle():
            return asked.request, asked.kind, asked.bits, asked.prefix, 0
        case Digests() | Want():
            return asked.request, asked.kind, 0, 0, 0
        case Peers():
            return asked.request, 0, 0, 0, 0


def _heading(data: bytes, asked: Asked, size: int, most: int) -> Heading:
    """The heading of an answer with at most `most` things of `size` bytes and nothing behind them."""
    if len(data) != ANSWER_SIZE:
        raise PeerError("wrong size")
    heading = decode(unpad(data[:HEADING_SIZE]), Heading, limit=HEADING_SIZE)
    said = heading.request, heading.kind, heading.bits, heading.prefix, heading.page
    if said != _said(asked):
        raise PeerError("answer to another question")
    paged = isinstance(asked, Fetch | Summary)
    pages_fit = 0 < heading.pages <= MOST_PAGE if paged else heading.pages == 0
    wide_fits = 0 <= heading.wide <= _MOST_WIDE.get(asked.request, 0)
    if not (0 <= heading.count <= most and pages_fit and wide_fits):
        raise PeerError("malformed")
    filled = heading.count * size
    if data[HEADING_SIZE + filled :] != bytes(_ROOM - filled):
        raise PeerError("bad padding")
    return heading
