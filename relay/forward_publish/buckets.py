"""Asking a contact point for records: by prefix, never by key, in requests and answers of one size.

A request is `REQUEST_SIZE` bytes whether it puts or fetches.  A fetch names 0 to `MOST_PREFIX_BITS` bits,
as few as the contact point can do with; the answer is `ANSWER_SIZE` bytes with up to 64 records, whether or
not the wanted one is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from relay.core import MisuseError, PeerError
from relay.forward_publish.records import RECORD_SIZE, StoredRecord
from relay.wire import decode, encode, pad, unpad

MOST_RECORDS = 64
"""Records of one answer."""

ANSWER_SIZE = 256 * 1024
REQUEST_SIZE = 4352
PUT_ANSWER_SIZE = 64
MOST_PREFIX_BITS = 14
"""More would single out a record among fewer than the 16,384th part of them."""

_HEADING_SIZE = ANSWER_SIZE - MOST_RECORDS * RECORD_SIZE
_EMPTY_SLOT = pad(b"", RECORD_SIZE)
_KEY_BITS = 256


class RequestKind(IntEnum):
    """What a request wants."""

    PUT = 1
    FETCH = 2


class _Request(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    kind: int
    prefix_bits: int
    prefix: int
    record: bytes


class _Heading(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    prefix_bits: int
    complete: bool


class _PutAnswer(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    accepted: bool


def prefix_of(key: bytes, bits: int) -> int:
    """The first `bits` bits of a record's key."""
    if not 0 <= bits <= MOST_PREFIX_BITS:
        raise MisuseError("a prefix of 0 to 14 bits")
    return int.from_bytes(key) >> (_KEY_BITS - bits)


def key_range(prefix_bits: int, prefix: int) -> tuple[bytes, bytes]:
    """The first and the last key of a bucket."""
    low = prefix << (_KEY_BITS - prefix_bits)
    return low.to_bytes(32), (low + (1 << (_KEY_BITS - prefix_bits)) - 1).to_bytes(32)


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """One request; `record` is there exactly when it puts."""

    kind: RequestKind
    prefix_bits: int = 0
    prefix: int = 0
    record: StoredRecord | None = None

    def to_bytes(self) -> bytes:
        record = self.record.to_bytes() if self.record is not None else b""
        return pad(encode(_Request(self.kind, self.prefix_bits, self.prefix, record)), REQUEST_SIZE)

    @classmethod
    def parse(cls, data: bytes) -> "RecordRequest":
        """Read a request; a record in it has a good signature.  Raises `PeerError`."""
        if len(data) != REQUEST_SIZE:
            raise PeerError("wrong size")
        fields = decode(unpad(data), _Request, limit=REQUEST_SIZE)
        bits, prefix = fields.prefix_bits, fields.prefix
        if fields.kind == RequestKind.PUT and (bits, prefix) == (0, 0):
            return cls(RequestKind.PUT, record=StoredRecord.parse(fields.record))
        if fields.kind == RequestKind.FETCH and not fields.record:
            if 0 <= bits <= MOST_PREFIX_BITS and 0 <= prefix < 1 << bits:
                return cls(RequestKind.FETCH, bits, prefix)
            raise PeerError("bad prefix")
        raise PeerError("malformed")


@dataclass(frozen=True, slots=True)
class Bucket:
    """An answer to a fetch.

    `complete` says that every record of the prefix is in it; where not, `prefix_bits` is the length to ask
    with.
    """

    records: tuple[StoredRecord, ...]
    prefix_bits: int
    complete: bool

    @classmethod
    def of(cls, found: Sequence[StoredRecord], prefix_bits: int) -> "Bucket":
        """An answer of what a store found for the prefix, asked for one record more than fit."""
        if len(found) <= MOST_RECORDS:
            return cls(tuple(found), prefix_bits, True)
        return cls(tuple(found[:MOST_RECORDS]), min(prefix_bits + 1, MOST_PREFIX_BITS), False)

    def to_bytes(self) -> bytes:
        heading = pad(encode(_Heading(self.prefix_bits, self.complete)), _HEADING_SIZE)
        slots = [record.to_bytes() for record in self.records]
        return heading + b"".join(slots) + _EMPTY_SLOT * (MOST_RECORDS - len(slots))

    @classmethod
    def parse(cls, data: bytes) -> "Bucket":
        """Read an answer; forged records in it are left out.  Raises `PeerError` on a wrong form.

        A contact point that calls a bucket incomplete without filling it wants to learn more of the key:
        refused.
        """
        if len(data) != ANSWER_SIZE:
            raise PeerError("wrong size")
        heading = decode(unpad(data[:_HEADING_SIZE]), _Heading, limit=_HEADING_SIZE)
        slots = [data[at : at + RECORD_SIZE] for at in range(_HEADING_SIZE, ANSWER_SIZE, RECORD_SIZE)]
        filled = [slot for slot in slots if slot != _EMPTY_SLOT]
        if not 0 <= heading.prefix_bits <= MOST_PREFIX_BITS or not (
            heading.complete or len(filled) == MOST_RECORDS
        ):
            raise PeerError("malformed")
        records = []
        for slot in filled:
            try:
                records.append(StoredRecord.parse(slot))
            except PeerError as error:
                if error.reason != "forged":
                    raise
        return cls(tuple(records), heading.prefix_bits, heading.complete)


def put_answer(accepted: bool) -> bytes:
    """The answer to a put; not accepted: an older record, or a full store."""
    return pad(encode(_PutAnswer(accepted)), PUT_ANSWER_SIZE)


def parse_put_answer(data: bytes) -> bool:
    """Raises `PeerError`."""
    if len(data) != PUT_ANSWER_SIZE:
        raise PeerError("wrong size")
    return decode(unpad(data), _PutAnswer, limit=PUT_ANSWER_SIZE).accepted
