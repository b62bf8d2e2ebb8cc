"""A contact point is killed without warning while people publish, ten times: what it acknowledged is found again."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from relay.core import PeerError, SeededEntropy, SystemClock
from relay.forward_publish import (
    ANSWER_SIZE,
    EntryKind,
    Fetch,
    Put,
    PutAnswer,
    PutResult,
    StoredRecord,
    do_work,
    parse_slots,
)
from relay.wire import frame, read_frame
from tests.node.fake_tor import until
from tests.node.test_contact_point import any_record
from tests.scenarios.contact_point_process import WORK_BITS

KILLS = 10
PUBLISHERS = 16
ACKNOWLEDGED = 40
"""Before each kill, at least."""


class Host:
    """Starts the contact point and kills it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pid = 0
        self._port = 0

    async def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"start\n")
        self._pid, self._port = map(int, await self._line())

    async def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert await self._line() == [b"ended"]

    async def _line(self) -> list[bytes]:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).split()

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def held(self) -> set[bytes]:
        """Every record, as anybody may fetch them."""
        bodies: set[bytes] = set()
        async with self.stream() as (reader, writer):
            page = pages = 0
            while page == 0 or page < pages:
                fetch = Fetch(EntryKind.RECORD, page=page)
                writer.write(frame(fetch.to_bytes()))
                heading, slots = parse_slots(await read_frame(reader, ANSWER_SIZE), fetch)
                bodies.update(slots)
                page, pages = page + 1, heading.pages
        return bodies


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.scenarios.contact_point_process",
        str(tmp_path / "state"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    yield Host(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def publish(host: Host, records: Iterator[StoredRecord], acknowledged: list[bytes]) -> None:
    """One after the other, until the contact point is gone."""
    with contextlib.suppress(PeerError, OSError):
        async with host.stream() as (reader, writer):
            for record in records:
                writer.write(frame(Put.of(record, do_work(record, WORK_BITS)).to_bytes()))
                answer = PutAnswer.parse(await read_frame(reader, ANSWER_SIZE))
                assert answer.result is PutResult.ACCEPTED
                acknowledged.append(record.body)


def reached(acknowledged: list[bytes], enough: int) -> bool:
    return len(acknowledged) >= enough


@pytest.mark.timeout(120)
async def test_no_acknowledged_record_is_lost_when_a_contact_point_is_killed(host: Host) -> None:
    entropy = SeededEntropy("kills of a contact point")
    now = SystemClock().wall()
    records = iter([any_record(now) for _ in range(KILLS * (ACKNOWLEDGED + 3 * PUBLISHERS))])
    acknowledged: list[bytes] = []
    await host.start()
    for _ in range(KILLS):
        # A number that is no multiple of the publishers: the kill comes in the midst of a batch's answers.
        enough = len(acknowledged) + ACKNOWLEDGED + entropy.below(PUBLISHERS)
        async with asyncio.TaskGroup() as publishers:
            for _ in range(PUBLISHERS):
                publishers.create_task(publish(host, records, acknowledged))
            await until(partial(reached, acknowledged, enough))
            await host.kill()
        await host.start()
        assert set(acknowledged) <= await host.held()
    await host.kill()
    assert len(acknowledged) >= KILLS * ACKNOWLEDGED
