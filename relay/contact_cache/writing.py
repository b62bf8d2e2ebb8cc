"""One writer for all: what waits goes into one transaction, and each caller hears when that is on the disk.

A disk takes a few hundred durable transactions a second, whatever is in them; so many callers share each.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from relay.contact_cache.database import Database
from relay.contact_cache.entry import Entry, Outcome
from relay.contact_cache.statements import Change, forget, store
from relay.core import TransportUnavailable

T = TypeVar("T")

MOST_IN_BATCH = 256
"""Entries in one transaction: more would make the first of them wait long, and gain little."""
LINGER = 0.02
"""Seconds that the first of a batch waits for company: transactions cost far more than what is in them, and nobody
who comes through Tor notices."""
MOST_WAITING = 1024
"""Callers; who comes then waits until there is room."""


@dataclass(slots=True)
class _Put:
    entries: Sequence[Entry]
    done: "asyncio.Future[list[Outcome]]"


Work = Callable[[Connection], tuple[T, Sequence[Change]]]
"""Something to do in a transaction of its own: what its caller is told, and what that changed."""


@dataclass(slots=True)
class _Alone:
    work: Work[Any]
    done: "asyncio.Future[Any]"


@dataclass(slots=True)
class _Batch:
    puts: list[_Put] = field(default_factory=list)
    size: int = 0
    alone: _Alone | None = None
    last: bool = False


Heard = Callable[[str], None]
"""Hears "" when something was written for good, and a sentence that names nobody when the database did not take it.
Where there was nothing to write it hears nothing: that a full disk manages, too."""


class Writer:
    """Takes entries, sweeps and other work in turn.

    `changed` hears of changes that are durable, before their callers do.
    """

    def __init__(
        self, database: Database, changed: Callable[[Iterable[Change]], None], heard: Heard | None = None
    ) -> None:
        self._database = database
        self._changed = changed
        self._heard = heard
        self._waiting: asyncio.Queue[_Put | _Alone | None] = asyncio.Queue(MOST_WAITING)
        self._closed = False
        self.turn = asyncio.Lock()
        """Held while the database and what `changed` hears differ."""
        self._task = asyncio.create_task(self._run())

    async def put(self, entries: Sequence[Entry]) -> list[Outcome]:
        """At most a batch.  Raises `TransportUnavailable`: then nothing of it is kept."""
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        await self._enter(_Put(entries, done))
        return await done

    async def sweep(self, before: int) -> int:
        """Forget at most a batch of what expires before that Unix second; how many.  Raises as `put` does."""

        def work(connection: Connection) -> tuple[int, Sequence[Change]]:
            changes = forget(connection, before, MOST_IN_BATCH)
            return len(changes), changes

        return await self.alone(work)

    async def alone(self, work: Work[T]) -> T:
        """Do `work` in its turn, in a transaction of its own; what it tells.  Raises as `put` does.

        While it is done, what `changed` hears and the database are in step.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self._enter(_Alone(work, done))
        return await done

    async def close(self) -> None:
        """Finish what waits, take nothing more."""
        if not self._closed:
            self._closed = True
            await self._waiting.put(None)
        await self._task

    async def _enter(self, job: _Put | _Alone) -> None:
        if self._closed:
            raise TransportUnavailable("the record store is closed")
        await self._waiting.put(job)
        if self._task.done():
            # It was closed while this waited for room; nobody will take it.
            raise TransportUnavailable("the record store is closed")

    async def _run(self) -> None:
        while True:
            batch = await self._gather()
            async with self.turn:
                if batch.puts:
                    await self._put(batch.puts)
                if batch.alone is not None:
                    await self._do(batch.alone)
            if batch.last:
                return self._refuse_the_rest()

    async def _gather(self) -> _Batch:
        """What waits, up to a batch or to the first work that is done alone; where nothing waits, what comes next."""
        batch = _Batch()
        job = await self._waiting.get()
        if isinstance(job, _Put) and len(job.entries) < MOST_IN_BATCH:
            await asyncio.sleep(LINGER)
        while isinstance(job, _Put):
            batch.puts.append(job)
            batch.size += len(job.entries)
            if batch.size >= MOST_IN_BATCH or self._waiting.empty():
                return batch
            job = self._waiting.get_nowait()
        batch.alone = job
        batch.last = job is None
        return batch

    async def _put(self, puts: list[_Put]) -> None:
        entries = [entry for put in puts for entry in put.entries]
        try:
            outcomes, changes = await self._database.write(lambda connection: store(connection, entries))
        except Exception as error:
            return self._fail(puts, error)
        self._written(changes)
        start = 0
        for put in puts:
            mine = outcomes[start : start + len(put.entries)]
            start += len(put.entries)
            # A caller that was cancelled meanwhile waits for nothing.
            if not put.done.done():
                put.done.set_result(mine)

    async def _do(self, job: _Alone) -> None:
        try:
            told, changes = await self._database.write(job.work)
        except Exception as error:
            return self._fail([job], error)
        self._written(changes)
        if not job.done.done():
            job.done.set_result(told)

    def _written(self, changes: Sequence[Change]) -> None:
        self._changed(changes)
        if changes and self._heard is not None:
            self._heard("")

    def _fail(self, jobs: Sequence[_Put | _Alone], error: Exception) -> None:
        if isinstance(error, TransportUnavailable) and self._heard is not None:
            self._heard(str(error))
        _fail(jobs, error)

    def _refuse_the_rest(self) -> None:
        while not self._waiting.empty():
            job = self._waiting.get_nowait()
            if job is not None:
                _fail([job], TransportUnavailable("the record store is closed"))


def _fail(jobs: Sequence[_Put | _Alone], error: Exception) -> None:
    """Each caller gets an error of its own: one object raised in many tasks would gather all their tracebacks."""
    for job in jobs:
        if not job.done.done():
            own = TransportUnavailable(str(error)) if isinstance(error, TransportUnavailable) else error
            job.done.set_exception(own)
