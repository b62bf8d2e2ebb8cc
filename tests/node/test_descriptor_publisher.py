"""A reflector's descriptor at contact points: real ones in this process, over a stand-in for Tor."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from relay.core import Clock, ManualClock, SeededEntropy, TransportUnavailable
from relay.forward_publish import BASE_BITS, EntryKind, work_bits
from relay.media_reflector import Descriptor, ReflectorKeys
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.media_reflector.series import DescriptorSeries
from relay.node import descriptor_publisher as subject
from relay.node import descriptor_times
from relay.node.contact_point import ContactPointNode
from relay.node.descriptor_publisher import COPIES, DescriptorPublisher, find_work
from relay.node.peer_stream import RECORD_PORT
from relay.wire import frame
from tests.node.conftest import StartNode
from tests.node.descriptors import any_descriptor
from tests.node.fake_tor import until
from tests.node.loopback_tor import LoopbackTor

POINTS = tuple(letter * 56 for letter in "cde")


class Reflector:
    """What publishes, as a reflector has it; `says` is what its descriptor says beyond the usual."""

    def __init__(
        self, dialer: "Dialer", clock: Clock, *, last: int = 0, keys: ReflectorKeys | None = None
    ) -> None:
        self.keys = keys or ReflectorKeys.generate(SeededEntropy("publisher"))
        self.series = DescriptorSeries(self.keys.sign, last)
        self.says: dict[str, int | bool] = {}
        self.reachable = True
        self._clock = clock
        self.publisher = DescriptorPublisher(self.signed, self.series, dialer, clock, SeededEntropy("lots"))

    def signed(self) -> bytes | None:
        return self.series.signed(self.told()) if self.reachable else None

    def told(self) -> Descriptor:
        wall = self._clock.wall()
        return self.keys.descriptor("r" * 56, [("192.0.2.1", 4000)], wall, capacity=100, **self.says)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def running(self, *points: str) -> AsyncIterator[None]:
        self.publisher.aim(points)
        task = asyncio.create_task(self.publisher.run())
        try:
            yield
            assert not task.done(), "whatever contact points do, it goes on"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Dialer:
    """The way to a few contact points; some are gone, some talk as they please."""

    def __init__(self, network: dict[str, LoopbackTor]) -> None:
        self.network = network
        self.gone: set[str] = set()
        self.asked: list[str] = []
        self.isolations: list[str] = []

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked.append(onion)
        self.isolations.append(isolation)
        if onion in self.gone or onion not in self.network:
            raise TransportUnavailable("nobody there")
        return await self.network[onion].open(onion, port, isolation=isolation)


class Place:
    """Contact points that are up."""

    def __init__(
        self, nodes: dict[str, ContactPointNode], network: dict[str, LoopbackTor], clock: Clock
    ) -> None:
        self.nodes = nodes
        self.clock = clock
        self.dialer = Dialer(network)

    def reflector(self, *, last: int = 0, keys: ReflectorKeys | None = None) -> Reflector:
        return Reflector(self.dialer, self.clock, last=last, keys=keys)

    async def kept(self, onion: str) -> Descriptor | None:
        """The descriptor that this contact point has."""
        store = self.nodes[onion]._store
        assert store is not None
        found = await store.select(EntryKind.DESCRIPTOR, bytes(32), b"\xff" * 32, limit=9)
        assert len(found) <= 1
        return DescriptorEntry.parse(found[0].body).descriptor if found else None

    async def where(self) -> set[str]:
        return {onion for onion in self.nodes if await self.kept(onion) is not None}


@pytest.fixture
async def place(start_node: StartNode, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(descriptor_times, "AFTER_START", (0.0, 0.01))
    monkeypatch.setattr(descriptor_times, "AFTER_CHANGE", (0.0, 0.01))
    monkeypatch.setattr(descriptor_times, "URGENT_GAP", 0.05)
    monkeypatch.setattr(descriptor_times, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(subject, "LOOK_EVERY", 0.01)
    clock = Passing()
    network: dict[str, LoopbackTor] = {}
    nodes = {
        onion: (await start_node(onion=onion, network=network, state=onion[:3], clock=clock))[0]
        for onion in POINTS
    }
    return Place(nodes, network, clock)


class Passing(ManualClock):
    """The wall clock stands still, in the midst of an hour; the other one goes on."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


async def test_it_lies_at_two_contact_points_each_by_a_circuit_of_its_own(place: Place) -> None:
    one = place.reflector()
    async with one.running(*POINTS):
        await asyncio.wait_for(one.publisher.wait_out(), 10)
        where = await place.where()
        assert len(where) == COPIES
        for onion in where:
            assert await place.kept(onion) == one.told()
        assert len(set(place.dialer.isolations)) == len(place.dialer.isolations) == COPIES


async def test_before_it_can_be_reached_and_without_contact_points_nothing_is_said(place: Place) -> None:
    one = place.reflector()
    one.reachable = False
    async with one.running(*POINTS):
        await asyncio.sleep(0.2)
        assert place.dialer.asked == []
        one.reachable = True
        await asyncio.wait_for(one.publisher.wait_out(), 10)
        asked = len(place.dialer.asked)
        one.publisher.aim(())
        one.says = {"draining": True}
        await asyncio.wait_for(one.publisher.wait_out(), 1)
        await asyncio.sleep(0.2)
        assert len(place.dialer.asked) == asked


async def test_one_that_is_gone_is_made_up_for_by_another(place: Place) -> None:
    place.dialer.gone = {POINTS[1]}
    one = place.reflector()
    async with one.running(*POINTS):
        await asyncio.wait_for(one.publisher.wait_out(), 10)
        assert await place.where() == {POINTS[0], POINTS[2]}


async def test_while_none_is_there_it_tries_again(place: Place) -> None:
    place.dialer.gone = set(POINTS)
    one = place.reflector()
    async with one.running(*POINTS):
        await until(lambda: len(place.dialer.asked) >= 2 * len(POINTS))
        place.dialer.gone = set()
        await asyncio.wait_for(one.publisher.wait_out(), 10)
        assert len(await place.where()) == COPIES


async def test_what_changes_within_the_hour_replaces_what_was_said(place: Place) -> None:
    """The same hour, so that dates to the hour would be the same: half of these would be lost."""
    one, point = place.reflector(), POINTS[0]
    async with one.running(point):
        for number in range(6):
            one.says = {"draining": bool(number % 2)}
            await asyncio.wait_for(one.publisher.wait_out(), 10)
            kept = await place.kept(point)
            assert kept is not None
            assert kept.draining == bool(number % 2)


async def test_a_process_that_forgot_its_date_overtakes_the_one_before(place: Place) -> None:
    before, point = place.reflector(), POINTS[0]
    async with before.running(point):
        for draining in (False, True) * 3:
            before.says = {"draining": draining}
            await asyncio.wait_for(before.publisher.wait_out(), 10)
    after = place.reflector(keys=before.keys)
    async with after.running(point):
        await asyncio.wait_for(after.publisher.wait_out(), 10)
        kept = await place.kept(point)
        assert kept is not None
        assert not kept.draining
        assert kept.valid_from == after.series.last > before.series.last


async def test_a_contact_point_that_talks_nonsense_costs_bounded_effort(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = 0

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        writer.write(frame(bytes(64)) if served % 2 else b"\xff" * 9)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    liar = "f" * 56
    there = LoopbackTor(liar, place.dialer.network)
    there.ports = {RECORD_PORT: server.sockets[0].getsockname()[:2]}
    monkeypatch.setattr(descriptor_times, "RETRY_FIRST", 0.5)
    one = place.reflector()
    async with one.running(liar):
        await until(lambda: served >= 2)
        await asyncio.sleep(0.2)
        assert served < 4, "not at once again"
        one.publisher.aim((liar, POINTS[0]))
        await asyncio.wait_for(one.publisher.wait_out(), 10)
        assert await place.where() == {POINTS[0]}
    server.close()


async def test_work_is_done_aside_and_ends_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = any_descriptor(1_800_000_000.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    work = await find_work(entry, BASE_BITS)
    assert work_bits(entry, work) >= BASE_BITS
    assert turns > 1
    task.cancel()
    ended = asyncio.Event()
    loop, grind = asyncio.get_running_loop(), subject._grind

    def watched(*arguments: object) -> bytes:
        found = grind(*arguments)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(ended.set)
        return found

    monkeypatch.setattr(subject, "_grind", watched)
    endless = asyncio.create_task(find_work(entry, 60))
    await asyncio.sleep(0.05)
    endless.cancel()
    await asyncio.wait_for(ended.wait(), 5)
