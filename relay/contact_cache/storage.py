"""Records in SQL, through SQLAlchemy's asyncio face: SQLite on one machine, the same statements elsewhere.

SQLite runs with a write-ahead log and `synchronous=FULL`: what was acknowledged is on the disk.  Deleted
content is overwritten (`secure_delete`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import delete, event, func, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from relay.contact_cache.tables import contact_records as _TABLE
from relay.contact_cache.tables import metadata
from relay.core import ConfigurationError, TransportUnavailable

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA busy_timeout=5000",
)


_THREAD_END = 0.05
"""Seconds in which the thread of a failed connection tells this loop that it ended."""


class Record(Protocol):
    """What is stored of a record; `relay.forward_publish.StoredRecord` is one."""

    @property
    def key(self) -> bytes: ...
    @property
    def period(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def expires(self) -> int: ...
    @property
    def sealed(self) -> bytes: ...
    @property
    def signature(self) -> bytes: ...


R = TypeVar("R", bound=Record)


class SqlRecordStore(Generic[R]):
    """A `RecordStore` (see `relay.forward_publish`) of records that `make` builds from a row's six fields."""

    def __init__(self, engine: AsyncEngine, make: Callable[..., R]) -> None:
        self._engine = engine
        self._make = make

    @classmethod
    async def open(cls, url: str, make: Callable[..., R]) -> "SqlRecordStore[R]":
        """Connect and make the tables where they are missing.  Raises `ConfigurationError`."""
        try:
            sqlite = make_url(url).get_backend_name() == "sqlite"
            engine = create_async_engine(url)
            if sqlite:
                event.listen(engine.sync_engine, "connect", _set_pragmas)
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(metadata.create_all)
            except BaseException:
                await engine.dispose()
                await asyncio.sleep(_THREAD_END)
                raise
        except (ArgumentError, ModuleNotFoundError):
            raise ConfigurationError("database: not a database URL that this installation can use") from None
        except (SQLAlchemyError, OSError):
            raise ConfigurationError(
                "database: cannot be opened; check the URL and who may write there"
            ) from None
        return cls(engine, make)

    async def close(self) -> None:
        await self._engine.dispose()

    async def put(self, record: R) -> bool:
        """Keep `record` unless a newer one is there: then False.  True means that it is on the disk."""
        values = {name: getattr(record, name) for name in _TABLE.columns.keys()}  # noqa: SIM118
        newer = update(_TABLE).where(_TABLE.c.key == record.key, _TABLE.c.revision < record.revision)
        try:
            async with self._transaction() as connection:
                if not (await connection.execute(newer.values(values))).rowcount:
                    await connection.execute(insert(_TABLE).values(values))
                return True
        except IntegrityError:
            # The key is there with this revision or a higher one; the very same record again is no failure.
            return list(await self.select(record.key, record.key, 1)) == [record]

    async def select(self, first: bytes, last: bytes, limit: int) -> Sequence[R]:
        """At most `limit` records whose keys lie from `first` to `last`, both included."""
        found = select(_TABLE).where(_TABLE.c.key.between(first, last)).order_by(_TABLE.c.key).limit(limit)
        async with self._transaction() as connection:
            return [self._make(**row) for row in (await connection.execute(found)).mappings()]

    async def count(self) -> int:
        async with self._transaction() as connection:
            return (await connection.execute(select(func.count()).select_from(_TABLE))).scalar_one()

    async def expire(self, before: float) -> int:
        """Forget all that expired before that Unix time; how many."""
        async with self._transaction() as connection:
            return (await connection.execute(delete(_TABLE).where(_TABLE.c.expires < int(before)))).rowcount

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """All methods raise `TransportUnavailable` where the database fails."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError:
            raise TransportUnavailable("the record store does not answer; look at its disk") from None


def _set_pragmas(connection: Any, _entry: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
