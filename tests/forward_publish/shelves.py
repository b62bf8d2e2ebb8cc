"""Entries that are cheap to make, and a store in memory."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from relay.core import SeededEntropy
from relay.forward_publish import (
    PREKEY_SIZE,
    ContactRecord,
    Entry,
    Listing,
    ReachableAt,
    RecordStatus,
    RecordUse,
    StoredListing,
    StoredRecord,
    coarse_revision,
    current_period,
    latest_expiry,
    seal_listing,
    seal_record,
)
from relay.forward_publish.office import Outcome
from relay.identity import Identity

NOW = 1_800_000_000.0
PERIOD_NOW = current_period(NOW)
ENTROPY = SeededEntropy("shelves")
OWNER = Identity.generate(ENTROPY)
SECRET = ENTROPY.token(32)
HERE = ReachableAt(ENTROPY.token(35), ENTROPY.token(32))


def record_of(**changes: Any) -> ContactRecord:
    record = ContactRecord(
        RecordUse.PAIRWISE,
        RecordStatus.OPEN,
        (HERE,),
        bytes(PREKEY_SIZE),
        coarse_revision(NOW),
        latest_expiry(PERIOD_NOW),
        ("voice",),
    )
    return msgspec.structs.replace(record, **changes)


def stored_record(secret: bytes = SECRET, *, now: float = NOW, step: int = 0, **changes: Any) -> StoredRecord:
    """A record of `OWNER`, made at Unix time `now`."""
    period = current_period(now)
    numbers = {"revision": coarse_revision(now, step), "expires": latest_expiry(period)}
    return seal_record(record_of(**{**numbers, **changes}), OWNER, secret, period, ENTROPY)


def some_records(count: int) -> list[StoredRecord]:
    """In the order of their keys."""
    records = [stored_record(hashlib.sha256(b"%d" % number).digest()) for number in range(count)]
    return sorted(records, key=lambda record: record.key)


def listing_of(owner: Identity = OWNER, **changes: Any) -> Listing:
    listing = Listing(
        owner.public_key,
        "Alice of the Tower",
        "Harbour Press",
        ("source", "ships"),
        ("en", "pt-BR"),
        coarse_revision(NOW),
        latest_expiry(PERIOD_NOW),
        PERIOD_NOW,
    )
    return msgspec.structs.replace(listing, **changes)


def stored_listing(owner: Identity = OWNER, **changes: Any) -> StoredListing:
    return seal_listing(listing_of(owner, **changes), owner)


class MemoryStore:
    """A `Store`; `rows` by kind and key."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.rows: dict[tuple[int, bytes], Entry] = {(entry.kind, entry.key): entry for entry in entries}
        self.read = 0
        """Rows that were passed over or given out."""

    async def put(self, entry: Entry) -> int:
        known = self.rows.get((entry.kind, entry.key))
        if known is not None and (known.revision, known.body) >= (entry.revision, entry.body):
            return Outcome.SAME if known.body == entry.body else Outcome.OLDER
        self.rows[entry.kind, entry.key] = entry
        return Outcome.STORED

    async def select(
        self, kind: int, first: bytes, last: bytes, *, offset: int = 0, limit: int
    ) -> Sequence[Entry]:
        keys = self.keys(kind)
        begin = bisect_left(keys, first)
        found = [key for key in keys[begin : begin + offset + limit] if key <= last]
        self.read += len(found)
        return [self.rows[kind, key] for key in found[offset:]]

    async def around(
        self, kind: int, lower: tuple[bytes, bytes], upper: tuple[bytes, bytes], *, limit: int
    ) -> Sequence[Entry]:
        below = [key for key in self.keys(kind) if lower[0] <= key <= lower[1]][-limit:]
        above = [key for key in self.keys(kind) if upper[0] <= key <= upper[1]][:limit]
        self.read += len(below) + len(above)
        return [self.rows[kind, key] for key in below + above]

    async def select_keys(self, kind: int, short_keys: Sequence[bytes]) -> Sequence[Entry]:
        return [self.rows[kind, key] for key in self.keys(kind) if key[:16] in short_keys]

    async def summaries(
        self, kind: int, first: bytes, last: bytes, *, offset: int = 0, limit: int
    ) -> Sequence[tuple[bytes, int, bytes]]:
        rows = await self.select(kind, first, last, offset=offset, limit=limit)
        return [(row.key, row.revision, hashlib.sha256(row.body).digest()[:8]) for row in rows]

    async def revision(self, kind: int, key: bytes) -> int | None:
        known = self.rows.get((kind, key))
        return None if known is None else known.revision

    async def count(self, kind: int) -> int:
        return len(self.keys(kind))

    def counts(self, kind: int) -> npt.NDArray[np.int32]:
        counts = np.zeros(1 << 14, dtype=np.int32)
        for key in self.keys(kind):
            counts[int.from_bytes(key[:2]) >> 2] += 1
        return counts

    def digests(self, kind: int) -> Sequence[tuple[bytes, int]]:
        counts = self.counts(kind).reshape(4096, -1).sum(axis=1).tolist()
        return [(hashlib.sha256(b"%d" % child).digest()[:16], count) for child, count in enumerate(counts)]

    async def expire(self, before: float) -> int:
        old = [place for place, row in self.rows.items() if row.expires < before]
        for place in old:
            del self.rows[place]
        return len(old)

    def keys(self, kind: int) -> list[bytes]:
        return sorted(key for known, key in self.rows if known == kind)
