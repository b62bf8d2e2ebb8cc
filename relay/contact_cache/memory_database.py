"""A database that is nowhere but in memory, and can be had and put back whole: for who seals what touches the disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from relay.contact_cache.database import Purpose, translated

T = TypeVar("T")


class MemoryDatabase:
    """A `relay.contact_cache.database.Database` in one thread: who reads waits for who writes."""

    def __init__(self, purpose: Purpose) -> None:
        """For `open`, which alone makes one."""
        self._purpose = purpose
        self._engine = _engine(purpose)
        self._thread = ThreadPoolExecutor(1, "memory-store")

    @classmethod
    async def open(cls, purpose: Purpose, image: bytes | None = None) -> "MemoryDatabase":
        """As it was when `image` was made; empty without one, or where that is of no use."""
        database = cls(purpose)
        try:
            if image and not await database._aside(lambda: _load(database._engine, image, purpose)):
                await database.close()
                database = cls(purpose)
            await database.write(purpose.prepare)
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Callable[[Connection], T]) -> T:
        with translated(self._purpose):
            return await self._aside(lambda: _do(self._engine, work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.write(work)

    async def image(self) -> bytes:
        """All of it, to be opened again."""
        return await self._aside(lambda: _raw(self._engine).serialize())

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _engine(purpose: Purpose) -> Engine:
    # No message of an engine may hold what is searched for, or a key.
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True
    )

    def prepare(connection: sqlite3.Connection, _entry: object) -> None:
        connection.isolation_level = None
        for pragma in purpose.pragmas:
            connection.execute(pragma)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _do(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _raw(engine: Engine) -> sqlite3.Connection:
    connection = engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


def _load(engine: Engine, image: bytes, purpose: Purpose) -> bool:
    """Whether that was an image; one of another program, or an earlier version's file, is none."""
    try:
        _raw(engine).deserialize(image)
        _do(engine, purpose.prepare)
    except (sqlite3.Error, SQLAlchemyError, OverflowError):
        return False
    return True
