"""Two ways into one database through SQLAlchemy: one connection that writes, a few that read.

Work is an ordinary function of a connection, the same for both databases.  SQLite runs it whole in a thread: a driver
that crosses to its thread for every statement takes ten times as long for a bucket.  PostgreSQL runs it over asyncpg.

SQLite has a write-ahead log, so that readers never wait for the writer; the store of entries has `synchronous=FULL`
too: what was acknowledged is on the disk.  Deleted content is overwritten (`secure_delete`).
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import asyncpg
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from relay.contact_cache.migrations import migrate
from relay.core import ConfigurationError, TransportUnavailable

PAGE_SIZE = 16384
"""Bytes.  A row without a number must fit a quarter of a page to lie in it whole: records do, 4080 bytes do not."""

_PRAGMAS = (
    "PRAGMA busy_timeout=5000",
    # Only for a database that has no table yet; others keep their size until they are written anew.
    f"PRAGMA page_size={PAGE_SIZE}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA secure_delete=ON",
)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a database is for: how its tables are made at opening, what is set, and the sentences of errors."""

    prepare: Callable[[Connection], object]
    pragmas: tuple[str, ...]
    """For SQLite."""
    unusable_url: str
    cannot_open: str
    silent: str
    full: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """For PostgreSQL, of each connection."""


ENTRIES = Purpose(
    prepare=migrate,
    pragmas=(
        "PRAGMA synchronous=FULL",
        "PRAGMA cache_size=-65536",
        # Pages.  64 MiB of log: the longer it is, the more changes of one page go to their place as one.
        "PRAGMA wal_autocheckpoint=4096",
        "PRAGMA journal_size_limit=67108864",
    ),
    unusable_url="database: not a database URL that this installation can use",
    cannot_open="database: cannot be opened; check the URL and who may write there",
    silent="the record store does not answer; look at its disk, or at the database's server",
    full="the record store's disk is full: it keeps nothing new until there is room, and goes on answering",
)
"""The store of a contact point."""

_READERS = 1
"""Connections."""
_DISK_FULL = "53100"
"""SQLSTATE disk_full."""

_FAILURES = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What drivers raise; asyncpg's own come through bare where a connection cannot be made."""

T = TypeVar("T")

_LOCKED_TRIES = 100
_LOCKED_PAUSE = 0.05
"""Seconds."""


class Database(Protocol):
    """An open database whose tables are up to date.  Both methods raise `TransportUnavailable`."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction that is durable when this returns; nothing of it was kept where this raises."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do `work` on a connection that sees what was committed."""
        ...

    async def close(self) -> None: ...


async def open_database(url: str, purpose: Purpose = ENTRIES) -> Database:
    """Connect and make or migrate the tables.  Raises `ConfigurationError`, whose message never repeats the URL."""
    try:
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite" if parsed.database not in (None, "", ":memory:"):
                return await _Sqlite.open(parsed, purpose)
            case "postgresql":
                return await _Postgres.open(parsed, purpose)
        raise ArgumentError
    except (ArgumentError, ModuleNotFoundError):
        raise ConfigurationError(purpose.unusable_url) from None
    except CommandError:
        raise ConfigurationError(
            "database: its tables are those of a newer version; install that, or name another database"
        ) from None
    except _FAILURES:
        raise ConfigurationError(purpose.cannot_open) from None


class _Sqlite:
    """Threads of its own, so that whatever else the program does in threads never stands before a lookup."""

    def __init__(self, url: URL, purpose: Purpose) -> None:
        self._purpose = purpose
        self._writing = _engine(url, purpose, "BEGIN IMMEDIATE", 1)
        self._reading = _engine(url, purpose, "BEGIN", _READERS)
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(_READERS, "store-reader")

    @classmethod
    async def open(cls, url: URL, purpose: Purpose) -> "_Sqlite":
        database = cls(url.set(drivername="sqlite"), purpose)
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(database._writer, _do, database._writing, purpose.prepare)
            await loop.run_in_executor(database._writer, _resize_pages, database._writing)
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Callable[[Connection], T]) -> T:
        with translated(self._purpose):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._writer, _do, self._writing, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        with translated(self._purpose):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, _do, self._reading, work)

    async def close(self) -> None:
        for engine, threads in ((self._reading, self._readers), (self._writing, self._writer)):
            await asyncio.to_thread(threads.shutdown)
            engine.dispose()


class _Postgres:
    """A connection may have ended since it was used last, as when the server was started anew: so it is asked first."""

    def __init__(self, url: URL, purpose: Purpose) -> None:
        self._purpose = purpose
        self._writing = _async_engine(url, purpose, 1)
        self._reading = _async_engine(url, purpose, _READERS)

    @classmethod
    async def open(cls, url: URL, purpose: Purpose) -> "_Postgres":
        database = cls(url.set(drivername="postgresql+asyncpg"), purpose)
        try:
            async with database._writing.begin() as connection:
                await connection.run_sync(purpose.prepare)
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Callable[[Connection], T]) -> T:
        with translated(self._purpose):
            async with self._writing.begin() as connection:
                return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        with translated(self._purpose):
            async with self._reading.begin() as connection:
                return await connection.run_sync(work)

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()


def _async_engine(url: URL, purpose: Purpose, connections: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"server_settings": dict(purpose.settings)},
    )


def _engine(url: URL, purpose: Purpose, begin: str, connections: int) -> Engine:
    # No message of an engine may hold what is searched for, or a key.
    engine = create_engine(url, pool_size=connections, max_overflow=0, hide_parameters=True)

    def prepare(connection: Any, _entry: object) -> None:
        # The driver would begin transactions by itself, and too late: table definitions would be outside of them.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *purpose.pragmas):
            _patiently(partial(cursor.execute, pragma))
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _patiently(act: Callable[[], object]) -> None:
    """Changing the journal's mode does not wait for a lock by itself, as everything else does: another program may be
    about to make the same database."""
    for _ in range(_LOCKED_TRIES):
        try:
            act()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        threading.Event().wait(_LOCKED_PAUSE)
    act()


def _do(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _resize_pages(engine: Engine) -> None:
    """Write a database of the first release anew, whose pages are too small for a row; its table just went."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA page_size").fetchone() != (PAGE_SIZE,):
            # Pages keep their size as long as there is a write-ahead log.
            for statement in (
                "PRAGMA journal_mode=DELETE",
                f"PRAGMA page_size={PAGE_SIZE}",
                "VACUUM",
                "PRAGMA journal_mode=WAL",
            ):
                cursor.execute(statement)
        cursor.close()
    except sqlite3.Error as error:
        raise OSError from error
    finally:
        connection.close()


@contextmanager
def translated(purpose: Purpose) -> Iterator[None]:
    """What drivers raise, as `TransportUnavailable`."""
    try:
        yield
    except _FAILURES as error:
        raise TransportUnavailable(_sentence(error, purpose)) from None


def _sentence(error: BaseException, purpose: Purpose) -> str:
    """What an operator reads; drivers' own messages hold statements and keys."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == _DISK_FULL:
        return purpose.full
    return purpose.silent
