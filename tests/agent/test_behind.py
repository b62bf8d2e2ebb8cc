"""Writing beside the loop: no cell is late for it, nothing is lost by it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, get_ident

import pytest

from relay.agent.behind import AtOnce, Behind
from relay.agent.events import Value
from relay.agent.kept import NotKept, PlainFiles, Watched
from relay.agent.voice_security import End
from relay.agent.voice_trust import Doubt
from relay.agent.zid_cache import FOREVER, ZidCache
from relay.core import BayonneError, ManualClock, SystemEntropy
from relay.zrtp import AlarmKind, Retained, Strength
from tests.agent.voice_calls import DeskBench, FakeCall

TURNS = 10
"""Times that the loop comes round before the disk of these tests is done with a write."""
PATIENCE = 30.0
"""Seconds after which that disk is done all the same, because the loop waits for it."""
HERS = b"hers, of 12."
KEPT = Retained(b"1" * 32, Strength(256, 128, 128))


class SlowFiles(PlainFiles):
    """As on a disk that others use too, or that is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.full = False
        self.writers: set[int] = set()
        self.read_by: set[int] = set()
        self.round = Event()
        self.patience = 0.0
        self.held_up: list[str] = []

    def read(self, name: str) -> bytes | None:
        self.read_by.add(get_ident())
        return super().read(name)

    def write(self, name: str, content: bytes) -> None:
        self.writers.add(get_ident())
        self.round.clear()
        if not self.round.wait(self.patience):
            self.held_up.append(name)
        if self.full:
            raise NotKept("no space")
        super().write(name, content)

    @contextmanager
    def watched(self, patience: float = PATIENCE) -> Iterator[list[str]]:
        """The writes that the loop waited for: it could not come round `TURNS` times while one was under way."""

        async def turn() -> None:
            while True:
                for _ in range(TURNS):
                    await asyncio.sleep(0.002)
                self.round.set()

        self.patience, self.held_up = patience, []
        task = asyncio.get_running_loop().create_task(turn())
        try:
            yield self.held_up
        finally:
            task.cancel()
            self.patience = 0.0


@pytest.fixture
def files(tmp_path: Path) -> SlowFiles:
    return SlowFiles(tmp_path)


def fresh(files: SlowFiles) -> ZidCache:
    """As the next process finds it."""
    return ZidCache(files, ManualClock(), SystemEntropy())


async def test_keys_of_a_call_are_there_at_once_and_on_disk_soon_and_stop_no_cell(files: SlowFiles) -> None:
    behind = Behind()
    zids = ZidCache(files, ManualClock(), SystemEntropy(), behind)
    with files.watched() as held_up:
        own = zids.own("bob")
        zids.keep(own, HERS, KEPT, FOREVER)
        zids.meet("bob", End.AGENT, HERS)
        assert zids.look_up(own, HERS) == KEPT
        assert zids.peer("bob", End.AGENT) == HERS
        assert fresh(files).peer("bob", End.AGENT) == b"", "not written yet"
        await behind.done()
    assert not held_up
    assert get_ident() not in files.writers
    assert fresh(files).look_up(own, HERS) == KEPT
    assert fresh(files).peer("bob", End.AGENT) == HERS


async def test_the_control_writes_at_once_and_holds_the_loop_up(files: SlowFiles) -> None:
    zids = ZidCache(files, ManualClock(), SystemEntropy(), AtOnce())
    with files.watched(0.3) as held_up:
        zids.own("bob")
    assert held_up


async def test_what_a_command_wrote_meanwhile_stays(files: SlowFiles) -> None:
    behind = Behind()
    zids = ZidCache(files, ManualClock(), SystemEntropy(), behind)
    zids.own("bob")
    await behind.done()
    own = zids.own("bob")
    zids.keep(own, HERS, KEPT, FOREVER)
    beside = ZidCache(PlainFiles(files.path), ManualClock(), SystemEntropy())
    hers = beside.own("carol")
    assert zids.look_up(own, HERS) == KEPT, "though the file was written again before this was in it"
    await behind.done()
    assert zids.own("carol") == hers
    assert zids.look_up(own, HERS) == KEPT
    assert fresh(files).own("carol") == hers
    assert fresh(files).look_up(own, HERS) == KEPT


async def test_no_file_is_read_again_because_of_what_a_call_itself_wrote(files: SlowFiles) -> None:
    behind = Behind()
    zids = ZidCache(files, ManualClock(), SystemEntropy(), behind)
    own = zids.own("bob")
    await behind.done()
    files.read_by.clear()
    zids.keep(own, HERS, KEPT, FOREVER)
    while behind.busy:
        assert zids.look_up(own, HERS) == KEPT
        await asyncio.sleep(0.01)
    assert zids.look_up(own, HERS) == KEPT
    assert get_ident() not in files.read_by
    ZidCache(PlainFiles(files.path), ManualClock(), SystemEntropy()).forget_contact("bob")
    assert zids.look_up(own, HERS) is None
    assert get_ident() in files.read_by


async def test_what_found_no_room_is_written_with_the_next_change(files: SlowFiles) -> None:
    behind = Behind()
    zids = ZidCache(files, ManualClock(), SystemEntropy(), behind)
    files.full = True
    own = zids.own("bob")
    zids.keep(own, HERS, KEPT, FOREVER)
    await behind.done()
    assert zids.look_up(own, HERS) == KEPT
    files.full = False
    zids.meet("bob", End.AGENT, HERS)
    await behind.done()
    assert fresh(files).look_up(own, HERS) == KEPT
    assert zids._pending == []


async def test_a_comparison_stops_no_cell_and_is_kept_when_it_is_said_to_be(tmp_path: Path) -> None:
    files = SlowFiles(tmp_path)
    bench = DeskBench(tmp_path, files=files, later=(behind := Behind()))
    files.writers.clear()
    with files.watched() as held_up:
        call = FakeCall()
        bench.alarm(call, AlarmKind.CACHE_MISMATCH)
        bench.secured(call=call)
        await behind.done()
        assert [one.doubt for one in bench.bob.trust.doubts] == [Doubt.CACHE_MISMATCH]
        words = await bench.desk.words({"name": "bob"}, lambda stage: None)
        await bench.desk.compared(
            {"name": "bob", "characters": words["characters"], "same": "yes"}, lambda stage: None
        )
        assert bench.bob.trust.verified
        await behind.done()
    assert not held_up
    assert get_ident() not in files.writers


async def test_works_follow_one_another_and_none_stops_the_others() -> None:
    behind = Behind()
    found: list[int | str] = []

    def refused() -> int:
        raise NotKept("no space")

    def broken() -> int:
        raise RuntimeError

    def fail(error: BayonneError) -> None:
        found.append(str(error))

    for work in (lambda: 1, refused, broken, lambda: 2):
        behind.do(work, found.append, fail)
    waiting = asyncio.create_task(behind.done())
    await asyncio.sleep(0)
    waiting.cancel()
    await behind.done()
    assert found == [1, "no space", 2]
    behind.do(lambda: 3, found.append, fail)
    await behind.done()
    assert found[-1] == 3


async def test_the_owner_hears_of_a_full_disk_in_the_loop(files: SlowFiles) -> None:
    heard: list[tuple[str, int]] = []

    def report(event: str, /, **fields: Value) -> None:
        heard.append((event, get_ident()))

    watched = Watched(files, report)
    behind = Behind()
    zids = ZidCache(watched, ManualClock(), SystemEntropy(), behind)
    files.full = True
    zids.own("bob")
    await behind.done()
    await asyncio.sleep(0)
    assert heard == [("not-kept", get_ident())]


async def test_a_disk_that_hangs_is_not_waited_for_for_ever() -> None:
    behind = Behind()
    hangs, found = Event(), list[int]()

    def hang() -> int:
        hangs.wait()
        return 1

    try:
        behind.do(hang, found.append, lambda _: None)
        behind.do(lambda: 2, found.append, lambda _: None)
        await asyncio.wait_for(behind.close(0.05), 5.0)
        assert found == []
    finally:
        hangs.set()
    await behind.done()
    assert found == [1], "what waited is not done after all"


async def test_whoever_closes_it_waits_for_what_is_to_be_written() -> None:
    behind = Behind()
    found: list[int] = []
    for number in range(3):
        behind.do(lambda number=number: number, found.append, lambda _: None)  # type: ignore[misc]
    await behind.close(5.0)
    assert found == [0, 1, 2]


async def test_it_waits_for_nobody_who_holds_the_threads_of_the_loop() -> None:
    """GnuPG, and with it a thread, may wait for a passphrase."""
    behind = Behind()
    found: list[int] = []
    asked = Event()
    asking = [asyncio.create_task(asyncio.to_thread(asked.wait)) for _ in range(64)]
    try:
        await asyncio.sleep(0)
        behind.do(lambda: 1, found.append, lambda _: None)
        await asyncio.wait_for(behind.done(), 5.0)
    finally:
        asked.set()
        await asyncio.gather(*asking)
    assert found == [1]
