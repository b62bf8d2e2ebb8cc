"""Contact points' record ports in memory: honest ones, and those that lie to be told more of a key.

Each notes what it has shown, and which requests name more bits of a key than that bears out.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from relay.agent import directory as subject
from relay.core import PeerError
from relay.forward_publish import (
    LEAST_IN_BUCKET,
    MOST_PAGES,
    MOST_PREFIX_BITS,
    StoredRecord,
    is_wide,
    prefix_of,
)
from relay.forward_publish.answers import PutAnswer, PutResult, page_size, slots_answer
from relay.forward_publish.depths import Counts
from relay.forward_publish.entries import key_range
from relay.forward_publish.requests import Fetch, Middle, Put, parse_request
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
    """What a contact point answers; `forged` are the keys whose signatures it spoils.

    One that `boasts` says of every bucket that its halves hold 64 entries.
    """

    def __init__(self, records: Sequence[StoredRecord] = (), *, boasts: bool = False) -> None:
        self.records: dict[bytes, StoredRecord] = {}
        self.asked: list[Fetch | Middle] = []
        self.circuits: list[str] = []
        self.put: list[Put] = []
        self.results: list[PutAnswer] = []
        self.boasts = boasts
        self.forged: set[bytes] = set()
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.unborne: list[Fetch | Middle] = []
        """Requests under whose prefix it had not shown 64 different entries, signed and in time, before."""
        self._shown: dict[bytes, StoredRecord] = {}
        self.stock(records)

    def stock(self, records: Sequence[StoredRecord]) -> None:
        self.records = {one.key: one for one in sorted(records, key=lambda one: one.key)}
        self._counts = _counted(self.records)

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
        assert isinstance(asked, Fetch | Middle)
        if not self._bears_out(asked):
            self.unborne.append(asked)
        self.asked.append(asked)
        return self.spoil(self._page(asked) if isinstance(asked, Fetch) else self._middle(asked))

    def _page(self, asked: Fetch) -> bytes:
        here, most = self.under(asked.bits, asked.prefix), page_size(asked.kind)
        slots = [self._slot(record) for record in here[asked.page * most :][:most]]
        wide = self._wide(asked.bits, asked.prefix)
        return slots_answer(asked, slots, pages=max(1, -(-len(here) // most)), wide=wide)

    def _middle(self, asked: Middle) -> bytes:
        bits, lower = asked.bits + 1, 2 * asked.prefix
        around = self.under(bits, lower)[-LEAST_IN_BUCKET:] + self.under(bits, lower + 1)[:LEAST_IN_BUCKET]
        wide = self._wide(bits, lower) + 2 * self._wide(bits, lower + 1)
        return slots_answer(asked, [self._slot(record) for record in around], wide=wide)

    def _wide(self, bits: int, prefix: int) -> bool:
        return self.boasts or is_wide(self._counts, bits, prefix)

    def _slot(self, record: StoredRecord) -> bytes:
        if record.key in self.forged:
            record = msgspec.structs.replace(record, signature=bytes(64))
        self._shown.setdefault(record.key, record)
        return record.to_bytes()

    def _bears_out(self, asked: Fetch | Middle) -> bool:
        first, last = key_range(asked.bits, asked.prefix)
        good = 0
        for key, record in self._shown.items():
            if first <= key <= last and good < LEAST_IN_BUCKET:
                good += _is_good(record)
        return not asked.bits or good == LEAST_IN_BUCKET


class Clustered(Point):
    """Of the whole store it shows entries that cost nothing: unsigned, and side by side as if of millions."""

    def __init__(self, like: StoredRecord) -> None:
        middle = 2**255
        keys = [number.to_bytes(32) for number in range(middle - LEAST_IN_BUCKET, middle + LEAST_IN_BUCKET)]
        super().__init__([msgspec.structs.replace(like, key=key) for key in keys], boasts=True)
        self.forged = set(keys)


class OneSide(Point):
    """Around every middle it shows as many signed entries as there may be, all of them of one half."""

    def _middle(self, asked: Middle) -> bytes:
        here = self.under(asked.bits + 1, 2 * asked.prefix)[: 2 * LEAST_IN_BUCKET]
        return slots_answer(asked, [self._slot(record) for record in here], wide=3)


class Twice(Point):
    """Around every middle it shows 32 signed entries of either half, and then shows them again."""

    def _middle(self, asked: Middle) -> bytes:
        bits, lower, few = asked.bits + 1, 2 * asked.prefix, LEAST_IN_BUCKET // 2
        slots = [self._slot(record) for half in (0, 1) for record in 2 * self.under(bits, lower + half)[:few]]
        return slots_answer(asked, slots, wide=3)


class Marking(Point):
    """Says what it has to a single circuit, and to all others that no bucket has halves worth asking for."""

    marked = ""

    async def exchange(
        self, dialer: OnionDialer, onion: str, port: int, request: bytes, **named: object
    ) -> bytes:
        """The first circuit is the one."""
        self.marked = self.marked or str(named["isolation"])
        self._boastful = named["isolation"] == self.marked
        return await super().exchange(dialer, onion, port, request, **named)

    def _wide(self, bits: int, prefix: int) -> bool:
        return self._boastful and super()._wide(bits, prefix)


class Costly(Point):
    """Says of every bucket, also of one that it bore out, that it has as many pages as anybody fetches."""

    def _page(self, asked: Fetch) -> bytes:
        slots = [
            self._slot(record) for record in self.under(asked.bits, asked.prefix)[: page_size(asked.kind)]
        ]
        return slots_answer(asked, slots if not asked.page else (), pages=MOST_PAGES, wide=1)


class Vast(Point):
    """So many entries, spread by chance, none of them signed: for who takes every signature for good."""

    def __init__(self, like: StoredRecord, beginnings: npt.NDArray[np.uint64]) -> None:
        """`beginnings` are the first 64 bits of the keys."""
        super().__init__()
        self._like = like
        self.beginnings = np.sort(beginnings)
        places = self.beginnings >> np.uint64(64 - MOST_PREFIX_BITS)
        self._counts = np.bincount(places, minlength=1 << MOST_PREFIX_BITS).astype(np.int32)

    @classmethod
    def of(cls, like: StoredRecord, entries: int, seed: int = 1) -> "Vast":
        return cls(like, some_beginnings(entries, seed))

    def key(self, number: int) -> bytes:
        return int(self.beginnings[number]).to_bytes(8) + bytes(24)

    def _page(self, asked: Fetch) -> bytes:
        here, most = self._places(asked.bits, asked.prefix), page_size(asked.kind)
        slots = self._slots(here[asked.page * most :][:most])
        wide = self._wide(asked.bits, asked.prefix)
        return slots_answer(asked, slots, pages=max(1, -(-len(here) // most)), wide=wide)

    def _middle(self, asked: Middle) -> bytes:
        bits, lower = asked.bits + 1, 2 * asked.prefix
        below, above = self._places(bits, lower), self._places(bits, lower + 1)
        slots = self._slots(below[-LEAST_IN_BUCKET:]) + self._slots(above[:LEAST_IN_BUCKET])
        wide = self._wide(bits, lower) + 2 * self._wide(bits, lower + 1)
        return slots_answer(asked, slots, wide=wide)

    def _places(self, bits: int, prefix: int) -> range:
        first, last = (np.uint64(int.from_bytes(key[:8])) for key in key_range(bits, prefix))
        end = np.searchsorted(self.beginnings, last, side="right")
        return range(int(np.searchsorted(self.beginnings, first)), int(end))

    def _slots(self, places: range) -> list[bytes]:
        return [msgspec.structs.replace(self._like, key=self.key(number)).to_bytes() for number in places]

    def _bears_out(self, asked: Fetch | Middle) -> bool:
        return True


def some_beginnings(entries: int, seed: int = 1) -> npt.NDArray[np.uint64]:
    """The first 64 bits of so many keys."""
    return np.random.default_rng(seed).integers(0, 2**64, entries, dtype=np.uint64)


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


def _counted(keys: Iterable[bytes]) -> Counts:
    places = [prefix_of(key, MOST_PREFIX_BITS) for key in keys]
    return np.bincount(places, minlength=1 << MOST_PREFIX_BITS).astype(np.int32)
