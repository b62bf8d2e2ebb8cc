"""Draining: calls are finished, the end comes at a moment of its own, and whoever asks hears no number of calls."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.core import SeededEntropy, SystemClock
from relay.media_reflector import BodyReceived, Draining, fetch_descriptor, fetch_ticket
from relay.media_reflector.exchange import WAITING_LIMIT
from relay.node import drain as module
from relay.node.drain import SOCKET_FILE, WISH, Drain, DrainDesk, short_path
from tests.agent.virtual_time import LoopClock, in_virtual_time
from tests.media_reflector.conftest import CODE, World
from tests.node.fake_tor import FakeTor, until
from tests.node.lines import Line
from tests.node.running import CLOCK, ENTROPY, Start


class Calls:
    """A reflector, as far as a drain sees one."""

    def __init__(self, calls: int, lines: int) -> None:
        self.calls = calls
        self.lines = lines
        self.drains = 0

    def drain(self) -> None:
        self.drains += 1

    @property
    def drained(self) -> bool:
        return self.drains > 0 and self.calls == 0


def drain_of(calls: Calls, seed: int = 1) -> Drain:
    return Drain(calls, lambda: calls.calls, lambda: calls.lines, SystemClock(), SeededEntropy(seed))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "_TELL_EVERY", 0.05)
    monkeypatch.setattr(module, "END_SOONEST", 0.1)
    monkeypatch.setattr(module, "END_LATEST", 0.3)


async def seconds_until_end(drain: Drain, limit: float = 60.0) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(5):
        await drain.finish(lambda: limit)
    return loop.time() - begun


async def test_an_empty_reflector_ends_at_once() -> None:
    drain = drain_of(Calls(0, 0))
    drain.begin()
    assert await seconds_until_end(drain) < 0.09
    assert drain.result() == {"event": "drained", "calls_cut_off": False}


async def test_nothing_ends_before_anybody_wished_it() -> None:
    calls = Calls(0, 0)
    drain = drain_of(calls)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await drain.finish(lambda: 0.0)
    assert (calls.drains, drain.begun) == (0, False)


async def test_calls_are_waited_for() -> None:
    calls = Calls(3, 6)
    drain = drain_of(calls)
    drain.begin()
    drain.begin()
    assert calls.drains == 1
    ending = asyncio.create_task(drain.finish(lambda: 60.0))
    await asyncio.sleep(0.5)
    assert not ending.done()
    calls.calls = 0
    async with asyncio.timeout(5):
        await ending
    assert drain.result() == {"event": "drained", "calls_cut_off": False}


async def test_the_end_is_not_the_moment_of_the_last_hang_up() -> None:
    ends = []
    for seed in range(6):
        drain = drain_of(Calls(0, 6), seed)
        drain.begin()
        ends.append(await seconds_until_end(drain))
    assert min(ends) >= 0.1, "also where no call was up: that, too, is nobody's business"
    assert max(ends) - min(ends) > 0.02


async def test_the_limit_cuts_calls_off_and_says_so() -> None:
    drain = drain_of(Calls(3, 6))
    drain.begin()
    assert 0.15 < await seconds_until_end(drain, limit=0.2) < 1.0
    assert drain.result() == {"event": "drained", "calls_cut_off": True}


class Passing:
    """A reflector whose own time goes with the loop's."""

    def __init__(self) -> None:
        self.world = World()
        self.drain = Drain(
            self.world.reflector,
            lambda: self.world.reflector.occupancy.crossed,
            lambda: self.world.reflector.occupancy.lines,
            LoopClock(),
            SeededEntropy(1),
        )

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.world.run(0.1)
            await asyncio.sleep(0.1)


@in_virtual_time
async def test_a_call_that_is_being_made_when_the_drain_begins_is_finished_too() -> None:
    passing = Passing()
    alice, bob = passing.world.agent("alice", code=CODE), passing.world.agent("bob", slot=9)
    await passing.run(0.5)
    passing.drain.begin()
    ending = asyncio.create_task(passing.drain.finish(lambda: 60.0))
    await passing.run(5.0)
    bob.line.join(CODE)
    await passing.run(5.0)
    assert alice.line.crossed
    assert not ending.done()
    alice.line.leave()
    await passing.run(1.0)
    assert ending.done()
    await ending
    assert passing.drain.result() == {"event": "drained", "calls_cut_off": False}


@in_virtual_time
async def test_who_waits_for_somebody_holds_an_end_up_no_longer_than_a_code_waits() -> None:
    passing = Passing()
    passing.world.agent("alice", code=CODE)
    await passing.run(0.5)
    passing.drain.begin()
    ending = asyncio.create_task(passing.drain.finish(lambda: 600.0))
    await passing.run(WAITING_LIMIT - 1.0)
    assert not ending.done()
    await passing.run(2.0)
    assert ending.done()
    await ending
    assert passing.drain.result() == {"event": "drained", "calls_cut_off": False}


@pytest.mark.parametrize(("limit", "cut_off"), [(60.0, False), (0.5, True)])
@in_virtual_time
async def test_a_call_that_is_on_when_the_end_was_to_come_is_finished_or_said_to_be_cut_off(
    limit: float, cut_off: bool
) -> None:
    calls = Calls(0, 6)
    drain = Drain(calls, lambda: calls.calls, lambda: calls.lines, LoopClock(), SeededEntropy(1))
    drain.begin()
    ending = asyncio.create_task(drain.finish(lambda: limit))
    await asyncio.sleep(0.05)
    calls.calls = 1
    await asyncio.sleep(2.0)
    assert ending.done() is cut_off
    calls.calls = 0
    await ending
    assert drain.result() == {"event": "drained", "calls_cut_off": cut_off}


@pytest.mark.parametrize(("calls", "told"), [(0, 0), (1, 0), (9, 0), (10, 10), (57, 50)])
def test_progress_tells_tens(calls: int, told: int) -> None:
    drain = drain_of(Calls(calls, 100))
    drain.begin()
    assert drain.progress()["calls"] == told


async def test_progress_does_not_tell_when_somebody_hung_up() -> None:
    """Whoever asks all the time sees figures change at moments that were drawn, and the end when it is there."""
    falls, ends = [], []
    for seed in range(6):
        calls = Calls(20, 40)
        drain = drain_of(calls, seed)
        drain.begin()
        ending = asyncio.create_task(drain.finish(lambda: 60.0))
        await asyncio.sleep(0.02 * seed)
        assert drain.progress() == {"event": "draining", "calls": 20, "finished": False}
        calls.calls = 0
        begun = asyncio.get_running_loop().time()
        fell = ended = 0.0
        async with asyncio.timeout(5):
            while not ended:
                await asyncio.sleep(0.002)
                told, now = drain.progress(), asyncio.get_running_loop().time()
                if not told["calls"] and not fell:
                    fell = now - begun
                if told["finished"]:
                    ended = now - begun
        await ending
        falls.append(fell)
        ends.append(ended)
    assert min(ends) >= 0.1, "not before the random time after the last call is over"
    assert max(falls) - min(falls) > 0.05
    assert max(ends) - min(ends) > 0.02


Desk = tuple[DrainDesk, Drain, Calls]


@pytest.fixture(params=["short", "a-directory-name-that-is-far-too-long-for-a-socket-address" * 2])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Path, Desk]]:
    directory = tmp_path / request.param
    directory.mkdir()
    (directory / SOCKET_FILE).write_text("left behind by a crash")
    calls = Calls(1, 2)
    drain = drain_of(calls)
    opened = DrainDesk(directory, drain)
    await opened.open()
    yield directory, (opened, drain, calls)
    await opened.close(drained=False)


async def connect(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with short_path(directory) as path:
        return await asyncio.open_unix_connection(path)


async def test_a_wish_over_the_socket_is_answered_until_the_end(desk: tuple[Path, Desk]) -> None:
    directory, (opened, drain, calls) = desk
    assert stat.S_IMODE((directory / SOCKET_FILE).stat().st_mode) == 0o600
    reader, writer = await connect(directory)
    writer.write(WISH)
    async with asyncio.timeout(5):
        for _ in range(2):
            told = json.loads(await reader.readline())
            assert told == {"event": "draining", "calls": 0, "finished": False}
        assert drain.begun
        ending = asyncio.create_task(drain.finish(lambda: 60.0))
        calls.calls = 0
        while not json.loads(await reader.readline())["finished"]:
            pass
        await ending
        await opened.close(drained=True)
        last = [json.loads(line) for line in (await reader.read()).splitlines()][-1]
    assert last == {"event": "drained", "calls_cut_off": False}
    assert not (directory / SOCKET_FILE).exists()
    writer.close()


async def test_a_visitor_who_leaves_does_not_stop_a_drain(desk: tuple[Path, Desk]) -> None:
    directory, (_, drain, _) = desk
    _, writer = await connect(directory)
    writer.write(WISH)
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        await drain.wished()
    await asyncio.sleep(0.2)
    assert drain.begun


@pytest.mark.parametrize("said", [b"", b"drink\n", b"drain", b"\0" * 100_000, b"drain " * 30_000 + b"\n"])
async def test_other_words_are_no_wish(desk: tuple[Path, Desk], said: bytes) -> None:
    directory, (_, drain, _) = desk
    reader, writer = await connect(directory)
    writer.write(said)
    writer.write_eof()
    async with asyncio.timeout(5):
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
    assert answer == b""
    assert not drain.begun
    writer.close()


async def test_an_end_without_a_drain_tells_nothing(desk: tuple[Path, Desk]) -> None:
    directory, (opened, _, _) = desk
    reader, writer = await connect(directory)
    writer.write(WISH)
    async with asyncio.timeout(5):
        await reader.readline()
        await opened.close(drained=False)
        assert b"drained" not in await reader.read()
    writer.close()


# With real lines.


@pytest.mark.parametrize("data_plane", ["plain", "auto"])
async def test_a_call_is_finished_and_nothing_else_begins(
    start: Start, tor: FakeTor, data_plane: str
) -> None:
    running = await start(data_plane=data_plane)
    descriptor = await fetch_descriptor(tor, await running.wait_ready(), isolation="x", wall=CLOCK.wall())
    tickets = [
        await fetch_ticket(tor, descriptor, ENTROPY, isolation=str(number), now=CLOCK.monotonic())
        for number in range(4)
    ]
    alice, bob = lines = [Line(descriptor, ticket, b"join code of 16 ") for ticket in tickets[:2]]
    await until(lambda: alice.heard(BodyReceived) and bob.heard(BodyReceived))

    running.node.drain()
    await until(lambda: alice.heard(Draining) and bob.heard(Draining))
    lines += [Line(descriptor, ticket, b"another join code"[:16]) for ticket in tickets[2:]]
    before = alice.heard(BodyReceived)
    await asyncio.sleep(1.0)
    await until(lambda: alice.heard(BodyReceived) > before + 40)  # the call goes on
    assert not lines[2].client.opened, "a ticket from before opens nothing now"
    assert running.node.reflector.occupancy.lines == 2
    assert not running.task.done()

    alice.client.leave()
    async with asyncio.timeout(5):
        await running.task
    assert running.told("drained") == [{"event": "drained", "calls_cut_off": False}]
    for line in lines:
        await line.close()
