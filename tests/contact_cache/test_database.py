"""What is said to the drivers: URLs, what SQLite promises, a full disk, a server that goes and comes back."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection, text

from relay.contact_cache import Outcome, Row, SqlEntryStore
from relay.contact_cache.database import PAGE_SIZE, open_database
from relay.core import ConfigurationError, TransportUnavailable

SMALL_DISK = 8 << 20


def entry(number: int, revision: int = 1) -> Row:
    return Row(1, number.to_bytes(4) * 8, revision, 100, bytes([revision]) * 2040)


async def test_a_database_that_cannot_be_used_is_a_plain_sentence(tmp_path: Path) -> None:
    for url in (
        "nonsense",
        "",
        "oracle+nothing://x",
        "mysql://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        f"sqlite:///{tmp_path}/none/r.db",
        f"postgresql://nobody:secret@/none?host={tmp_path}",
    ):
        with pytest.raises(ConfigurationError, match=r"^database: ") as raised:
            await SqlEntryStore.open(url)
        assert "secret" not in str(raised.value)


async def test_a_file_that_is_no_database_is_a_plain_sentence(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    path.write_bytes(b"no database at all " * 1000)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        await SqlEntryStore.open(f"sqlite:///{path}")


async def test_an_operator_may_name_the_driver(tmp_path: Path) -> None:
    await (await open_database(f"sqlite+aiosqlite:///{tmp_path / 'r.db'}")).close()
    assert (tmp_path / "r.db").exists()


async def test_what_sqlite_acknowledges_is_on_the_disk_and_what_it_forgets_is_gone(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'r.db'}")

    def pragmas(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "secure_delete", "page_size")
        return {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names}

    try:
        expected = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "page_size": PAGE_SIZE}
        assert await database.write(pragmas) == expected
        assert await database.read(pragmas) == expected
    finally:
        await database.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 8 MiB; who may not mount one has none, and takes a database that may not grow instead."""
    place = Path(tempfile.mkdtemp(prefix="bvr-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(place)]
    mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place, ignore_errors=True)


async def fill_up(store: SqlEntryStore) -> int:
    """How many were kept before the disk was full."""
    for number in range(10_000):
        try:
            await store.put(entry(number))
        except TransportUnavailable:
            return number
    raise AssertionError("the disk is never full")


async def test_a_full_disk_is_a_plain_sentence_and_reads_go_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small_disk.is_mount():  # noqa: ASYNC240
        limit = f"PRAGMA max_page_count={SMALL_DISK // PAGE_SIZE}"
        monkeypatch.setattr(
            "relay.contact_cache.database._PRAGMAS",
            (f"PRAGMA page_size={PAGE_SIZE}", limit, "PRAGMA journal_mode=WAL"),
        )
    url = f"sqlite:///{small_disk / 'r.db'}"
    store = await SqlEntryStore.open(url)
    try:
        kept = await fill_up(store)
        assert kept > 50
        for _ in range(3):
            with pytest.raises(TransportUnavailable, match="disk is full"):
                await store.put_many([entry(number) for number in range(20_000, 20_250)])
            rows = await store.select(1, bytes(32), b"\xff" * 32, limit=10_000)
            assert rows == [entry(number) for number in range(kept)]
            assert await store.count(1) == kept
        assert len(await store.select_keys(1, [entry(number).key[:16] for number in range(20)])) == 20
    finally:
        await store.close()
    store = await SqlEntryStore.open(url)
    try:
        assert await store.select(1, bytes(32), b"\xff" * 32, limit=10_000) == rows
        assert await store.count(1) == kept
    finally:
        await store.close()


async def test_a_server_that_was_started_anew_is_used_again(postgres_url: str, postgres_server: Path) -> None:
    store = await SqlEntryStore.open(postgres_url)
    try:
        assert await store.put(entry(1)) is Outcome.STORED
        assert len(await store.select(1, bytes(32), b"\xff" * 32, limit=10)) == 1
        admin = await asyncpg.connect(host=str(postgres_server), user="relay", database="postgres")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'"
        )
        await admin.close()
        assert len(await store.select(1, bytes(32), b"\xff" * 32, limit=10)) == 1
        assert await store.put(entry(2)) is Outcome.STORED
    finally:
        await store.close()


async def test_a_database_that_went_is_unavailable(postgres_url: str, postgres_server: Path) -> None:
    store = await SqlEntryStore.open(postgres_url)
    try:
        admin = await asyncpg.connect(host=str(postgres_server), user="relay", database="postgres")
        name = postgres_url.partition("?")[0].rpartition("/")[2]
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        with pytest.raises(TransportUnavailable):
            await store.put(entry(1))
        with pytest.raises(TransportUnavailable):
            await store.select(1, bytes(32), b"\xff" * 32, limit=10)
    finally:
        await store.close()
