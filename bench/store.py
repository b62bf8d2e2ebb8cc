"""What a contact point's store does when it is full: `python -m bench.store --records 1000000 [--url URL]`.

`[--seconds 10] [--out store-out]`.  Fills an empty store with random records, in random order, through the calls that
a contact point makes; then publishes as fast as it can, fetches buckets at rest, beside publications at the rate of the
target and beside as many as it takes, and opens the store again.  Without `--url` it is SQLite, in a temporary
directory beneath `--out` that is removed afterwards.  The figures go to summary.json; exits with 1 where a target is
missed.
"""

import argparse
import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine, insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.report import Row, at_least, at_most, reported
from relay.contact_cache import Row as Entry
from relay.contact_cache import SqlEntryStore
from relay.contact_cache.digests import entry_digest
from relay.contact_cache.statements import Version, row_of
from relay.contact_cache.tables import entries
from relay.core import ConfigurationError, SystemClock, TransportUnavailable
from relay.lab.demo.results import commit, machine

RECORDS = 1_000_000
LEAST_PUBLISHED = 500.0
MOST_MILLISECONDS = 20.0
MOST_BYTES = 6 * 2**30
BODY = 2040
BUCKET = 128
"""Records, about: prefixes are as long as make it so."""
MOST_BITS = 14
PUBLISHERS = 128
_BLOCK = 4096
_FEW = 256
"""Records that are made at a time while others are measured: making more would hold everybody up."""
_KIND = 1
_EXPIRES = 2**40


@dataclass(slots=True)
class Figures:
    """Everything measured; times in ms unless said otherwise."""

    filled: float = 0.0
    """Records per second."""
    published: float = 0.0
    """Per second, at full speed."""
    waits: list[float] = field(default_factory=list)
    """Of each publication at full speed."""
    fetches: dict[str, list[float]] = field(default_factory=dict)
    bucket: float = 0.0
    reopened: float = 0.0
    """Seconds."""
    bytes: int = 0


class Records:
    """Random records, and some of the keys that are in the store already."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = np.random.default_rng(seed)
        self.known: list[bytes] = []
        self._fresh: list[Entry] = []
        self._revision = 1

    def block(self, count: int) -> list[Entry]:
        keys, bodies = self._chance.bytes(32 * count), self._chance.bytes(BODY * count)
        return [
            Entry(_KIND, keys[32 * n : 32 * n + 32], 1, _EXPIRES, bodies[BODY * n : BODY * n + BODY])
            for n in range(count)
        ]

    def publication(self) -> Entry:
        """Every other one replaces a record that is there, as most of a contact point's publications do."""
        if not self._fresh:
            self._fresh = self.block(_FEW)
        fresh = self._fresh.pop()
        if len(self._fresh) % 2 or not self.known:
            return fresh
        self._revision += 1
        key = self.known[int(self._chance.integers(len(self.known)))]
        return Entry(_KIND, key, self._revision, _EXPIRES, fresh.body)

    def bucket(self, bits: int) -> tuple[bytes, bytes]:
        """The ends of a random bucket."""
        prefix = int(self._chance.integers(1 << bits)) << (16 - bits)
        return prefix.to_bytes(2) + bytes(30), (prefix | (0xFFFF >> bits)).to_bytes(2) + b"\xff" * 30


def fill(url: str, records: Records, count: int) -> float:
    """Put records into empty tables in one transaction; records per second.

    In random order and so into pages as full as they are after months of publications, but with nothing between them
    made durable: what the store does for each publication is measured afterwards.
    """
    engine = create_engine(url)
    began = said = time.monotonic()
    done = 0
    with engine.connect() as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-6000000", "cache_spill=OFF"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        while done < count:
            block = records.block(min(_BLOCK, count - done))
            versions = [Version(one.revision, entry_digest(one.key, one.revision, one.body)) for one in block]
            connection.execute(insert(entries), [row_of(*pair) for pair in zip(block, versions, strict=True)])
            records.known += [entry.key for entry in block[::8]]
            done += len(block)
            if time.monotonic() - said > 2:
                said = time.monotonic()
                say(f"filling: {done:,} of {count:,} records, {done / (said - began):,.0f}/s")
        say("writing them out")
        connection.commit()
    engine.dispose()
    return count / (time.monotonic() - began)


async def put(store: SqlEntryStore, records: Records, count: int) -> float:
    """The same through the store itself, in whole batches."""
    began = said = time.monotonic()
    done = 0
    while done < count:
        block = records.block(min(_BLOCK, count - done))
        await store.put_many(block)
        records.known += [entry.key for entry in block[::8]]
        done += len(block)
        if time.monotonic() - said > 2:
            said = time.monotonic()
            say(f"filling: {done:,} of {count:,} records, {done / (said - began):,.0f}/s")
    return count / (time.monotonic() - began)


async def publish(
    store: SqlEntryStore, records: Records, seconds: float, rate: float = math.inf
) -> list[float]:
    """Publish from many callers at once; the milliseconds that each publication took."""
    waits: list[float] = []
    began = time.monotonic()

    async def caller(number: int) -> None:
        turn = number
        while time.monotonic() < began + seconds:
            await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()) if rate < math.inf else 0)
            asked = time.monotonic()
            await store.put(records.publication())
            waits.append(1000 * (time.monotonic() - asked))
            turn += PUBLISHERS

    await asyncio.gather(*(caller(number) for number in range(PUBLISHERS)))
    return waits


async def fetch(store: SqlEntryStore, records: Records, seconds: float, bits: int) -> list[tuple[float, int]]:
    """Fetch random buckets one after the other; milliseconds and records of each."""
    found: list[tuple[float, int]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        first, last = records.bucket(bits)
        asked = time.monotonic()
        rows = await store.select(_KIND, first, last, limit=8 * BUCKET)
        found.append((1000 * (time.monotonic() - asked), len(rows)))
    return found


async def measure(url: str, count: int, seconds: float, size: Callable[[], Awaitable[int]]) -> Figures:
    figures = Figures()
    records = Records()
    bits = max(0, min(MOST_BITS, round(math.log2(count / BUCKET)))) if count > BUCKET else 0
    store = await SqlEntryStore.open(url)
    try:
        if url.startswith("sqlite"):
            await store.close()
            figures.filled = fill(url, records, count)
            store = await SqlEntryStore.open(url)
        else:
            figures.filled = await put(store, records, count)
        say("publishing at full speed")
        began = time.monotonic()
        figures.waits = await publish(store, records, seconds)
        figures.published = len(figures.waits) / (time.monotonic() - began)
        for beside, rate in (
            ("at rest", 0.0),
            (f"beside {LEAST_PUBLISHED:g} publications/s", LEAST_PUBLISHED),
            ("beside publications at full speed", math.inf),
        ):
            say(f"fetching buckets {beside}")
            publishing = asyncio.create_task(publish(store, records, seconds if rate else 0.0, rate))
            found = await fetch(store, records, seconds, bits)
            await publishing
            figures.fetches[beside] = [one for one, _ in found]
            figures.bucket = float(np.mean([rows for _, rows in found]))
    finally:
        await store.close()
    say("opening it again")
    began = time.monotonic()
    store = await SqlEntryStore.open(url)
    figures.reopened = time.monotonic() - began
    await store.close()
    figures.bytes = await size()
    return figures


def rows_of(figures: Figures, count: int, database: str) -> Iterator[Row]:
    """Figures and targets."""
    there = f"{count:,} live records of {BODY} bytes, {database}"
    yield at_least(
        "publications, durable",
        LEAST_PUBLISHED,
        figures.published,
        f"{there}; {PUBLISHERS} callers of put(), half of the records new, half replacing one",
        digits=0,
        unit="/s",
    )
    yield reported("publication, p50, ms", percentile(figures.waits, 50), "the same publications")
    yield reported("publication, p99, ms", percentile(figures.waits, 99), "the same publications")
    for beside, times in figures.fetches.items():
        how = f"{there}; {len(times):,} random buckets of {figures.bucket:.0f} records, one after the other"
        yield reported(f"bucket {beside}, p50, ms", percentile(times, 50), how)
        p99 = percentile(times, 99)
        if "full speed" in beside:
            yield reported(f"bucket {beside}, p99, ms", p99, f"{how}; both in one Python process")
        else:
            yield at_most(f"bucket {beside}, p99", MOST_MILLISECONDS, p99, how, unit=" ms")
    yield at_most(
        "disk", MOST_BYTES / 2**30, figures.bytes / 2**30, f"{there}, with indexes and logs", unit=" GiB"
    )
    yield reported(
        "filling, records/s", figures.filled, "in random order; SQLite in one transaction", digits=0
    )
    yield reported("opening, s", figures.reopened, "counts and digests of all records built anew", digits=1)


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else math.nan


@asynccontextmanager
async def database(url: str | None, out: Path) -> AsyncIterator[tuple[str, Callable[[], Awaitable[int]]]]:
    """The URL, and what tells how many bytes lie behind it."""
    if url is not None:
        yield url, lambda: _postgres_size(url)
        return
    place = Path(tempfile.mkdtemp(prefix="store-", dir=out))

    async def size() -> int:
        return sum(os.stat(place / name).st_size for name in os.listdir(place))

    try:
        yield f"sqlite:///{place / 'records.db'}", size
    finally:
        shutil.rmtree(place)


async def _postgres_size(url: str) -> int:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT pg_database_size(current_database())"))
        size = int(found.scalar_one())
    await engine.dispose()
    return size


async def run(options: argparse.Namespace) -> list[Row]:
    async with database(options.url, options.out) as (url, size):
        figures = await measure(url, options.records, options.seconds, size)
    return list(rows_of(figures, options.records, url.split(":", 1)[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description="fill a store of records and measure it")
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--url", help="an empty PostgreSQL database, as the configuration names it")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--out", type=Path, default=Path("store-out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        rows = asyncio.run(run(options))
    except (ConfigurationError, TransportUnavailable) as error:
        print(f"store: {error}", file=sys.stderr)
        return 2
    summary = {
        "commit": commit(),
        "date": datetime.fromtimestamp(SystemClock().wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for row in rows:
        verdict = "" if row.holds is None else "ok" if row.holds else "MISSED"
        print(f"{row.measure}: {row.value} {f'({row.target})' if row.target else ''} {verdict}")
    return 0 if all(row.holds is not False for row in rows) else 1


def say(what: str) -> None:
    print(f"{what} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
