"""Every step of the tables, up and down, on both databases, and a database of the first release."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from relay.contact_cache import Outcome, Row, SqlEntryStore
from relay.contact_cache.database import PAGE_SIZE, Database, open_database
from relay.contact_cache.migrations import EMPTY, NEWEST, migrate
from relay.contact_cache.tables import metadata
from relay.core import ConfigurationError

STEPS = ("v1", "v2", "v3")
TABLES = {EMPTY: set[str](), "v1": {"contact_records"}, "v2": {"entries"}, "v3": {"entries", "brought"}}

# As the first release made it.
FIRST_RELEASE = """
CREATE TABLE contact_records (key BLOB NOT NULL, period BIGINT NOT NULL, revision BIGINT NOT NULL,
    expires BIGINT NOT NULL, sealed BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (key)) WITHOUT ROWID;
CREATE INDEX contact_records_expires ON contact_records (expires);
"""


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


async def go(database: Database, target: str) -> set[str]:
    def work(connection: Connection) -> set[str]:
        migrate(connection, target)
        return tables(connection)

    return await database.write(work)


async def test_every_step_goes_up_and_down(database_url: str) -> None:
    database = await open_database(database_url)
    try:
        assert await go(database, EMPTY) == set()
        for step in STEPS:
            assert await go(database, step) == TABLES[step]
            assert await go(database, "-1") == TABLES[(EMPTY, *STEPS)[STEPS.index(step)]]
            assert await go(database, step) == TABLES[step]
        for step in reversed((EMPTY, *STEPS[:-1])):
            assert await go(database, "-1") == TABLES[step]
        assert await go(database, NEWEST) == TABLES[STEPS[-1]]
    finally:
        await database.close()


async def test_the_steps_lead_to_the_tables_that_are_used(database_url: str) -> None:
    def difference(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    database = await open_database(database_url)
    try:
        assert await database.read(difference) == []
    finally:
        await database.close()


async def test_a_step_that_fails_leaves_everything_as_it_was(database_url: str) -> None:
    def work(connection: Connection) -> None:
        migrate(connection, EMPTY)
        assert tables(connection) == set()
        raise KeyError

    database = await open_database(database_url)
    try:
        with pytest.raises(KeyError):
            await database.write(work)
        assert await database.read(tables) == {"entries", "brought"}
    finally:
        await database.close()


async def test_a_database_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.executescript(FIRST_RELEASE)
        old.execute("INSERT INTO contact_records VALUES (x'00', 1, 1, 1, x'6f6c64206f6c64206f6c64', x'00')")
        old.commit()
    store = await SqlEntryStore.open(f"sqlite:///{path}")
    try:
        assert await store.put(Row(1, bytes(32), 1, 100, bytes(2040))) is Outcome.STORED
    finally:
        await store.close()
    with closing(sqlite3.connect(path)) as new:
        assert new.execute("PRAGMA page_size").fetchone() == (PAGE_SIZE,)
        assert new.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert new.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    assert b"old old" not in path.read_bytes()


async def test_opening_again_changes_nothing(database_url: str) -> None:
    for _ in range(2):
        store = await SqlEntryStore.open(database_url)
        assert await store.put(Row(1, bytes(32), 1, 100, bytes(2040))) in (Outcome.STORED, Outcome.SAME)
        await store.close()


async def test_programs_that_start_at_once_do_not_disturb_one_another(database_url: str) -> None:
    stores = await asyncio.gather(*(SqlEntryStore.open(database_url) for _ in range(3)))
    for store in stores:
        await store.close()


async def test_tables_of_a_newer_version_are_left_alone(database_url: str) -> None:
    database = await open_database(database_url)
    await database.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = 'v99'"))
    )
    await database.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        await SqlEntryStore.open(database_url)
