"""Many callers, one transaction; and what is left when the writer is killed without warning, ten times over."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from relay.contact_cache import Outcome, Row, SqlEntryStore
from relay.contact_cache.database import Database, open_database
from relay.contact_cache.statements import Change
from relay.contact_cache.writing import MOST_IN_BATCH, MOST_WAITING, Writer
from relay.core import SeededEntropy, TransportUnavailable

T = TypeVar("T")
KILLS = 10
PLACES = 64


def entry(number: int, revision: int = 1) -> Row:
    return Row(1, number.to_bytes(4) * 8, revision, 100, bytes(2040))


class Watched:
    """A database that counts its transactions, and fails those it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = 0
        self.failing: Exception | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.transactions += 1
        if self.failing is not None:
            raise self.failing
        return await self._database.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)

    async def close(self) -> None:
        await self._database.close()


async def watched(tmp_path: Path) -> tuple[Watched, Writer, list[Change]]:
    database = Watched(await open_database(f"sqlite:///{tmp_path / 'r.db'}"))
    seen: list[Change] = []

    def take(changes: Iterable[Change]) -> None:
        seen.extend(changes)

    return database, Writer(database, take), seen


async def test_callers_who_come_together_share_a_transaction(tmp_path: Path) -> None:
    database, writer, seen = await watched(tmp_path)
    try:
        outcomes = await asyncio.gather(*(writer.put([entry(number)]) for number in range(1000)))
        assert outcomes == [[Outcome.STORED]] * 1000
        assert database.transactions <= 1000 // MOST_IN_BATCH + 2
        assert len(seen) == 1000
    finally:
        await writer.close()
        await database.close()


async def test_a_transaction_that_fails_is_told_to_all_its_callers_and_changes_nothing(
    tmp_path: Path,
) -> None:
    database, writer, seen = await watched(tmp_path)
    try:
        database.failing = TransportUnavailable("no")
        outcomes = await asyncio.gather(
            *(writer.put([entry(number)]) for number in range(20)), writer.sweep(1000), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == ["no"] * 21
        assert len({id(outcome) for outcome in outcomes}) == 21
        assert not seen
        database.failing = None
        assert await writer.put([entry(1)]) == [Outcome.STORED]
        # A bug must not end the writer either, with callers that wait for ever.
        database.failing = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await writer.put([entry(2)])
        database.failing = None
        assert await writer.put([entry(2)]) == [Outcome.STORED]
    finally:
        await writer.close()
        await database.close()


async def test_who_watches_hears_of_failures_and_of_what_was_really_written(tmp_path: Path) -> None:
    heard: list[str] = []
    database = Watched(await open_database(f"sqlite:///{tmp_path / 'r.db'}"))
    writer = Writer(database, lambda _changes: None, heard.append)
    try:
        await writer.put([entry(1)])
        assert heard == [""]
        # What a full disk manages as well proves nothing.
        await writer.put([entry(1)])
        assert await writer.sweep(50) == 0
        assert heard == [""]
        database.failing = TransportUnavailable("no")
        for write in (lambda: writer.put([entry(2)]), lambda: writer.sweep(1000)):
            with pytest.raises(TransportUnavailable):
                await write()
        assert heard == ["", "no", "no"]
        database.failing = None
        assert await writer.sweep(1000) == 1
        assert heard[3:] == [""]
    finally:
        await writer.close()
        await database.close()


async def test_a_caller_who_gives_up_disturbs_nobody(tmp_path: Path) -> None:
    database, writer, _ = await watched(tmp_path)
    try:
        calls = [asyncio.create_task(writer.put([entry(number)])) for number in range(30)]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [outcome for outcome in outcomes if outcome == [Outcome.STORED]] == [[Outcome.STORED]] * 20
    finally:
        await writer.close()
        await database.close()


async def test_closing_finishes_what_waits_and_refuses_what_comes_later(tmp_path: Path) -> None:
    database, writer, _ = await watched(tmp_path)
    calls = [asyncio.create_task(writer.put([entry(number)])) for number in range(MOST_WAITING + 200)]
    await asyncio.sleep(0)
    await writer.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)
    assert all(outcome == [Outcome.STORED] for outcome in outcomes[:MOST_WAITING])
    assert all(
        outcome == [Outcome.STORED] or isinstance(outcome, TransportUnavailable) for outcome in outcomes
    )
    with pytest.raises(TransportUnavailable, match="closed"):
        await writer.put([entry(1)])
    await writer.close()
    await database.close()


_PUBLISHER = f"""
import asyncio, sys
from relay.contact_cache import Row, SqlEntryStore

async def publish(store, place, revision):
    while True:
        revision += 1
        key = place.to_bytes(4) * 8
        await store.put(Row(1, key, revision, 100, revision.to_bytes(8) * 255))
        print(place, revision, flush=True)

async def main():
    store = await SqlEntryStore.open(sys.argv[1])
    await asyncio.gather(*(publish(store, place, int(sys.argv[2])) for place in range({PLACES})))

asyncio.run(main())
"""


def _publish_until_killed(url: str, first: int, lines: int) -> dict[int, int]:
    """The highest revision of each place that a publishing process acknowledged before it was killed."""
    publisher = subprocess.Popen(
        [sys.executable, "-c", _PUBLISHER, url, str(first)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert publisher.stdout is not None
    try:
        told = [publisher.stdout.readline() for _ in range(lines)]
    finally:
        publisher.send_signal(signal.SIGKILL)
        told += publisher.stdout.read().splitlines(keepends=True)
        publisher.wait()
        publisher.stdout.close()
    acknowledged: dict[int, int] = {}
    for line in told:
        # The last line may have been cut by the kill.
        if line.endswith(b"\n"):
            place, revision = map(int, line.split())
            acknowledged[place] = max(revision, acknowledged.get(place, 0))
    return acknowledged


@pytest.mark.timeout(400)
async def test_no_acknowledged_entry_is_lost_when_the_writer_is_killed(database_url: str) -> None:
    entropy = SeededEntropy("kills")
    newest: dict[int, int] = {}
    for kill in range(KILLS):
        # A number that is no multiple of the callers: the kill comes in the midst of a batch's answers.
        acknowledged = _publish_until_killed(database_url, kill * 100_000, 3 * PLACES + entropy.below(PLACES))
        assert len(acknowledged) == PLACES
        newest |= acknowledged
        store = await SqlEntryStore.open(database_url)
        try:
            found = {
                int.from_bytes(row.key[:4]): row
                for row in await store.select(1, bytes(32), b"\xff" * 32, limit=1000)
            }
            assert await store.count(1) == len(found) == PLACES
        finally:
            await store.close()
        for place, revision in newest.items():
            assert found[place].revision >= revision
            assert found[place].body == found[place].revision.to_bytes(8) * 255
