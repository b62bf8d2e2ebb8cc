"""Records in SQLite: order by revision, prefixes, expiry, and what a crash leaves."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.contact_cache import SqlRecordStore
from relay.core import ConfigurationError, SeededEntropy, TransportUnavailable
from relay.forward_publish import StoredRecord
from relay.forward_publish.buckets import key_range, prefix_of

Store = SqlRecordStore[StoredRecord]


def record(key: bytes, revision: int = 1, expires: int = 100) -> StoredRecord:
    return StoredRecord(key, 3, revision, expires, b"sealed" * 600, b"s" * 64)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await SqlRecordStore.open(f"sqlite+aiosqlite:///{tmp_path / 'r.db'}", StoredRecord)
    yield opened
    await opened.close()


async def everything(store: Store) -> list[StoredRecord]:
    return list(await store.select(bytes(32), b"\xff" * 32, 1000))


async def test_the_highest_revision_wins(store: Store) -> None:
    key = bytes(32)
    assert await store.put(record(key, 2))
    assert await store.put(record(key, 2))
    assert not await store.put(record(key, 1))
    assert not await store.put(record(key, 2, expires=101))
    assert await everything(store) == [record(key, 2)]
    assert await store.put(record(key, 3, expires=2**53 - 1))
    assert await everything(store) == [record(key, 3, expires=2**53 - 1)]
    assert await store.count() == 1


async def test_many_writers_of_one_key_leave_the_highest(store: Store) -> None:
    key = b"k" * 32
    results = await asyncio.gather(*(store.put(record(key, revision)) for revision in range(30)))
    assert results[29]
    assert await everything(store) == [record(key, 29)]


async def test_buckets_are_ranges(store: Store) -> None:
    entropy = SeededEntropy("keys")
    keys = [entropy.token(32) for _ in range(60)] + [bytes(32), b"\xff" * 32]
    for key in keys:
        assert await store.put(record(key))
    for bits in (0, 1, 3, 14):
        for key in keys[-4:]:
            prefix = prefix_of(key, bits)
            found = {each.key for each in await store.select(*key_range(bits, prefix), 1000)}
            assert found == {other for other in keys if prefix_of(other, bits) == prefix}
    assert len(await store.select(*key_range(0, 0), 5)) == 5


async def test_expiry(store: Store) -> None:
    await store.put(record(b"a" * 32, expires=99))
    await store.put(record(b"b" * 32, expires=100))
    assert await store.expire(100.5) == 1
    assert [each.key for each in await everything(store)] == [b"b" * 32]


async def test_the_file_does_not_say_in_which_order_records_came(store: Store, tmp_path: Path) -> None:
    entropy = SeededEntropy("order")
    keys = [entropy.token(32) for _ in range(20)]
    for key in keys:
        await store.put(record(key))
    with closing(sqlite3.connect(tmp_path / "r.db")) as other:
        found = [row[0] for row in other.execute("SELECT key FROM contact_records NOT INDEXED")]
        with pytest.raises(sqlite3.OperationalError, match="rowid"):
            other.execute("SELECT rowid FROM contact_records")
    assert found == sorted(keys)
    assert found != keys


async def test_a_database_that_cannot_be_used_is_a_plain_sentence(tmp_path: Path) -> None:
    for url in ("nonsense", "oracle+nothing://x", f"sqlite+aiosqlite:///{tmp_path}/none/r.db"):
        with pytest.raises(ConfigurationError, match="database"):
            await SqlRecordStore.open(url, StoredRecord)


async def test_a_failing_database_is_unavailable(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "r.db")) as other:
        other.execute("DROP TABLE contact_records")
    with pytest.raises(TransportUnavailable):
        await store.count()


_WRITER = """
import asyncio, sys
from relay.contact_cache import SqlRecordStore
from relay.forward_publish import StoredRecord

async def main():
    store = await SqlRecordStore.open(sys.argv[1], StoredRecord)
    number = 0
    while True:
        number += 1
        key = (number % 5).to_bytes(32)
        assert await store.put(StoredRecord(key, 3, number, 100, b"sealed" * 600, b"s" * 64))
        print(number, flush=True)

asyncio.run(main())
"""


def _write_until_killed(url: str) -> list[int]:
    """The numbers that a writing process acknowledged before it was killed without warning."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    try:
        acknowledged = [int(writer.stdout.readline()) for _ in range(40)]
    finally:
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        writer.stdout.close()
    return acknowledged + [int(number) for number in rest if number.endswith(b"\n")]


async def test_no_acknowledged_record_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'r.db'}"
    acknowledged = _write_until_killed(url)
    store = await SqlRecordStore.open(url, StoredRecord)
    try:
        found = {each.key: each.revision for each in await everything(store)}
    finally:
        await store.close()
    for key in range(5):
        newest = max(number for number in acknowledged if number % 5 == key)
        assert found[key.to_bytes(32)] >= newest
