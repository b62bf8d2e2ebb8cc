"""Contact points' record ports in memory: honest ones, and those that lie to be told more of a key.

Each notes what it has shown, and which requests name more bits of a key than that bears out.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from relay.agent import directory as subject
from relay.core import PeerError
from relay.forward_publish import LEAST_IN_BUCKET, MOST_PREFIX_BITS, StoredRecord
from relay.forward_publish.answers import PutAnswer, PutResult, page_size, slots_answer
from relay.forward_publish.depths import depth_of
from relay.forward_publish.entries import key_range
from relay.forward_publish.requests import Fetch, Put, parse_request
from relay.wire import OnionDialer

ONION = "a" * 56
WALL = 1_800_000_000.0


class NoDialer:
    """For directories whose exchanges do not get that far."""

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise AssertionError


class Point:
    """What a contact point answers; `depth` is what it says, `forged` the keys whose signatures it spoils."""

    def __init__(self, records: Sequence[StoredRecord] = (), depth: int = 0) -> None:
        self.records: dict[bytes, StoredRecord] = {}
        self.asked: list[Fetch] = []
        self.circuits: list[str] = []
        self.put: list[Put] = []
        self.results: list[PutAnswer] = []
        self.depth = depth
        self.forged: set[bytes] = set()
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.unborne: list[Fetch] = []
        """Requests under whose prefix it had not shown 64 different entries, signed and in time, before."""
        self._shown: dict[bytes, StoredRecord] = {}
        self.stock(records)

    def stock(self, records: Sequence[StoredRecord]) -> None:
        self.records = {one.key: one for one in sorted(records, key=lambda one: one.key)}

    def under(self, bits: int, prefix: int) -> list[StoredRecord]:
        """What it has under a prefix, or says it has."""
        first, last = key_range(bits, prefix)
        return [record for key, record in self.records.items() if first <= key <= last]

    async def exchange(
        self, dialer: OnionDialer, onion: str, port: int, request: bytes, **named: object
    ) -> bytes:
        """In place of `relay.wire.exchange`."""
        assert (onion, port) == (ONION, subject.RECORD_PORT)
        await asyncio.sleep(0)
        self.circuits.append(str(named["isolation"]))
        asked = parse_request(request)
        if isinstance(asked, Put):
            self.put.append(asked)
            answer = self.results.pop(0) if self.results else PutAnswer(PutResult.ACCEPTED)
            return self.spoil(answer.to_bytes())
        assert isinstance(asked, Fetch)
        if not self._bears_out(asked):
            self.unborne.append(asked)
        self.asked.append(asked)
        return self.spoil(self._page(asked))

    def _page(self, asked: Fetch) -> bytes:
        here, most = self.under(asked.bits, asked.prefix), page_size(asked.kind)
        slots = [self._slot(record) for record in here[asked.page * most :][:most]]
        return slots_answer(asked, slots, pages=max(1, -(-len(here) // most)), depth=self.depth)

    def _slot(self, record: StoredRecord) -> bytes:
        if record.key in self.forged:
            record = msgspec.structs.replace(record, signature=bytes(64))
        self._shown.setdefault(record.key, record)
        return record.to_bytes()

    def _bears_out(self, asked: Fetch) -> bool:
        first, last = key_range(asked.bits, asked.prefix)
        good = 0
        for key, record in self._shown.items():
            if first <= key <= last and good < LEAST_IN_BUCKET:
                good += _is_good(record)
        return not asked.bits or good == LEAST_IN_BUCKET


class Clustered(Point):
    """Of the whole store it shows entries that cost nothing: unsigned, and side by side as if of millions."""

    def under(self, bits: int, prefix: int) -> list[StoredRecord]:
        if bits:
            return super().under(bits, prefix)
        like = next(iter(self.records.values()))
        return [msgspec.structs.replace(like, key=number.to_bytes(32)) for number in range(128)]

    def _page(self, asked: Fetch) -> bytes:
        slots = [self._slot(record) for record in self.under(asked.bits, asked.prefix)]
        pages = 1 if asked.bits else 8000
        return slots_answer(asked, slots[: page_size(asked.kind)], pages=pages, depth=MOST_PREFIX_BITS)

    def _slot(self, record: StoredRecord) -> bytes:
        return super()._slot(msgspec.structs.replace(record, signature=bytes(64)))


class OnePage(Point):
    """It shows the same signed entries on every page, all of them of one part of the keys."""

    def _page(self, asked: Fetch) -> bytes:
        slots = [self._slot(record) for record in self.under(asked.bits, asked.prefix)]
        return slots_answer(asked, slots[: page_size(asked.kind)], pages=8000, depth=MOST_PREFIX_BITS)


class Vast(Point):
    """So many entries, spread by chance, none of them signed: for who takes every signature for good."""

    def __init__(self, like: StoredRecord, entries: int) -> None:
        super().__init__()
        self._like = like
        self.beginnings = np.sort(np.random.default_rng(1).integers(0, 2**64, entries, dtype=np.uint64))
        """The first 64 bits of the keys."""
        counts = np.bincount(
            self.beginnings >> np.uint64(64 - MOST_PREFIX_BITS), minlength=1 << MOST_PREFIX_BITS
        )
        self.depth = depth_of(counts.astype(np.int32))

    def key(self, number: int) -> bytes:
        return int(self.beginnings[number]).to_bytes(8) + bytes(24)

    def _page(self, asked: Fetch) -> bytes:
        ends = [np.uint64(int.from_bytes(key[:8])) for key in key_range(asked.bits, asked.prefix)]
        first = int(np.searchsorted(self.beginnings, ends[0]))
        end = int(np.searchsorted(self.beginnings, ends[1], side="right"))
        most = page_size(asked.kind)
        here = range(first + asked.page * most, min(end, first + (asked.page + 1) * most))
        slots = [msgspec.structs.replace(self._like, key=self.key(number)).to_bytes() for number in here]
        return slots_answer(asked, slots, pages=max(1, -(-(end - first) // most)), depth=self.depth)

    def _bears_out(self, asked: Fetch) -> bool:
        return True


def told(point: Point) -> int:
    """The most bits of a key that were named to a contact point."""
    return max(asked.bits for asked in point.asked)


def _is_good(record: StoredRecord) -> bool:
    try:
        record.verify()
        record.check_time(WALL)
    except PeerError:
        return False
    return True
