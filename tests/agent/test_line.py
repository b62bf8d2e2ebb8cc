"""One line on real sockets of this machine: a cell in every tick, all of one size, whatever its source does."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from relay.agent.line import LOOK_EVERY, SUSPICIOUS_SILENCE, Line
from relay.chaff import Pace
from relay.core import SeededEntropy, SystemClock, TransportUnavailable
from relay.media_reflector import LineClient, LineEvent, LineLost, LossCause
from relay.media_reflector.forwarding.face import SLOT_SECONDS, pack_address, unpack_address
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK
from tests.agent.people import World

TICKS = 50
PATIENCE = 30.0
"""Seconds that a machine may take which others keep busy."""


class Receiver:
    """A UDP socket that counts what comes."""

    def __init__(self) -> None:
        self.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.endpoint.bind(("127.0.0.1", 0))
        self.endpoint.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.endpoint.getsockname()
        return host, port

    def take(self) -> list[tuple[bytes, tuple[str, int]]]:
        found = []
        while True:
            try:
                found.append(self.endpoint.recvfrom(2048))
            except BlockingIOError:
                return found

    async def collect(self, count: int) -> list[tuple[bytes, tuple[str, int]]]:
        """At least `count` datagrams, as long as a busy machine takes."""
        found: list[tuple[bytes, tuple[str, int]]] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                await asyncio.sleep(TICK)
                found += self.take()
        return found


async def until(true: Callable[[], bool]) -> None:
    """As long as a busy machine takes."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(TICK)


def make(
    receiver: Receiver,
    tmp_path: object,
    *,
    source: Callable[[], bytes | None] = lambda: None,
    on_event: Callable[[LineEvent], None] = lambda event: None,
    local_address: str = "127.0.0.1",
) -> Line:
    clock, entropy = SystemClock(), SeededEntropy("line")
    world = World(tmp_path, clock=clock)  # type: ignore[arg-type]
    return Line(
        LineClient(world.descriptor, world.ticket(), entropy, join_code=bytes(16)),
        receiver.address,
        local_address=local_address,
        pace=Pace.at_random(TICK, entropy),
        clock=clock,
        entropy=entropy,
        source=source,
        on_event=on_event,
    )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line gives up its opening because this machine is busy."""
    monkeypatch.setattr("relay.media_reflector.client.OPENING_TIMEOUT", PATIENCE)


def raising() -> bytes | None:
    raise RuntimeError("the call is in trouble")


@pytest.mark.parametrize(
    "source",
    [lambda: None, lambda: bytes(BODY_SIZE), lambda: b"too short", raising],
    ids=["nothing to say", "voice", "a wrong body", "an error"],
)
async def test_a_cell_in_every_tick_whatever_the_source_does(
    tmp_path: object, source: Callable[[], bytes | None]
) -> None:
    receiver, clock = Receiver(), SystemClock()
    line = make(receiver, tmp_path, source=source)
    begun = clock.monotonic()
    task = asyncio.create_task(line.run())
    cells = await receiver.collect(TICKS)
    # Never more than the pace has; fewer only where this machine was busy.
    assert len(cells) <= (clock.monotonic() - begun) / TICK + 3
    line.release()
    await asyncio.wait_for(task, PATIENCE)
    cells += receiver.take()
    assert {len(cell) for cell, _ in cells} == {CELL_SIZE}
    assert len({address for _, address in cells}) == 1
    assert len({cell for cell, _ in cells}) == len(cells), "no two cells look alike"
    receiver.endpoint.close()


async def test_an_event_that_nobody_can_handle_does_not_stop_the_cells(tmp_path: object) -> None:
    receiver, events = Receiver(), []

    def handle(event: LineEvent) -> None:
        events.append(event)
        raise RuntimeError("the call is in trouble")

    line = make(receiver, tmp_path, on_event=handle)
    task = asyncio.create_task(line.run())
    await receiver.collect(1)
    lost = LineLost("try", LossCause.UNANSWERED)
    line._deliver([lost])
    await asyncio.wait_for(task, PATIENCE)
    assert events == [lost]
    receiver.endpoint.close()


async def test_a_line_that_falls_silent_keeps_its_pace(tmp_path: object) -> None:
    receiver = Receiver()
    line = make(receiver, tmp_path)
    task = asyncio.create_task(line.run())
    await receiver.collect(1)
    line._deliver([LineLost("silent", LossCause.SILENT)])
    receiver.take()
    await receiver.collect(10)
    assert not task.done()
    line.release()
    await asyncio.wait_for(task, PATIENCE)
    receiver.endpoint.close()


async def test_a_line_that_nobody_answers_is_lost_and_over(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.media_reflector.client.OPENING_TIMEOUT", 0.3)
    receiver = Receiver()
    events: list[LineEvent] = []
    line = make(receiver, tmp_path, on_event=events.append)
    await asyncio.wait_for(line.run(), PATIENCE)
    assert [type(event) for event in events] == [LineLost]
    before = len(receiver.take())
    await asyncio.sleep(0.1)
    assert before
    assert not receiver.take(), "nothing follows"
    receiver.endpoint.close()


async def test_a_port_that_is_closed_is_silence_and_nothing_worse(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.media_reflector.client.OPENING_TIMEOUT", 0.3)
    receiver = Receiver()
    events: list[LineEvent] = []
    line = make(receiver, tmp_path, on_event=events.append)
    receiver.endpoint.close()
    await asyncio.wait_for(line.run(), PATIENCE)
    assert [type(event) for event in events] == [LineLost]


async def test_what_does_not_come_from_the_reflector_is_not_even_read(tmp_path: object) -> None:
    receiver, stranger = Receiver(), Receiver()
    line = make(receiver, tmp_path)
    task = asyncio.create_task(line.run())
    _, address = (await receiver.collect(1))[0]
    for _ in range(100):
        stranger.endpoint.sendto(bytes(CELL_SIZE), address)
    for size in (0, 1, CELL_SIZE - 1, CELL_SIZE + 1, 1400):
        receiver.endpoint.sendto(bytes(size), address)
    await until(lambda: line.client.counters["wrong_size"] == 5)
    assert line.client.counters["not_authentic"] == 0
    line.release()
    await asyncio.wait_for(task, PATIENCE)
    receiver.endpoint.close()
    stranger.endpoint.close()


class Echo(asyncio.DatagramProtocol):
    """A reflector on loopback, whose clock is the event loop's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sources: list[tuple[float, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now = self.world.clock.monotonic()
        self.sources.append((now, addr[0]))
        self.world.forwarding.receive([(data, pack_address(*addr))], now)
        self.world.reflector.handle(self.world.forwarding.upcalls(), now)

    async def run(self) -> None:
        number = int(self.world.clock.monotonic() / SLOT_SECONDS)
        while True:
            await asyncio.sleep(0.001)
            now = self.world.clock.monotonic()
            while number < int(now / SLOT_SECONDS):
                number += 1
                for cell, destination in self.world.forwarding.slot(number, now):
                    self.transport.sendto(cell, unpack_address(destination))


@contextlib.asynccontextmanager
async def reflecting(tmp_path: Path) -> AsyncIterator[tuple[Echo, tuple[str, int]]]:
    loop = asyncio.get_running_loop()
    echo = Echo(World(tmp_path, clock=SystemClock()))
    transport, _ = await loop.create_datagram_endpoint(lambda: echo, local_addr=("127.0.0.1", 0))
    task = asyncio.create_task(echo.run())
    try:
        yield echo, transport.get_extra_info("sockname")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        transport.close()


def line_to(echo: Echo, address: tuple[str, int], events: list[LineEvent], local_address: str = "") -> Line:
    entropy = SeededEntropy("moving")
    return Line(
        LineClient(echo.world.descriptor, echo.world.ticket(), entropy),
        address,
        local_address=local_address,
        pace=Pace.at_random(TICK, entropy),
        clock=SystemClock(),
        entropy=entropy,
        source=lambda: None,
        on_event=events.append,
    )


@pytest.mark.alone
async def test_a_line_follows_this_machine_to_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out changes, the old one goes silent: a fresh socket and a fresh pace, and the line is still up."""
    events: list[LineEvent] = []
    async with reflecting(tmp_path) as (echo, address):
        line = line_to(echo, address, events)
        task = asyncio.create_task(line.run())
        await until(lambda: line.client.opened)
        slot = line._pace.slot
        monkeypatch.setattr("relay.agent.line.source_address", lambda reflector: "127.0.0.2")
        await asyncio.sleep(0.3)
        assert line.client.counters["moves"] == 0, "as long as the old way works"
        silenced = echo.world.clock.monotonic()
        send = echo.transport.sendto

        def sendto(cell: bytes, destination: tuple[str, int]) -> None:
            if destination[0] != "127.0.0.1":
                send(cell, destination)

        monkeypatch.setattr(echo.transport, "sendto", sendto, raising=False)
        await until(lambda: line.client.counters["moves"] == 1)
        await until(lambda: any(source == "127.0.0.2" for _, source in echo.sources))
        await asyncio.sleep(0.2)
        assert not line.client.lost
        assert line._pace.slot != slot
        moved = next(at for at, source in echo.sources if source == "127.0.0.2")
        assert SUSPICIOUS_SILENCE < moved - silenced < SUSPICIOUS_SILENCE + 0.6
        last = max(at for at, source in echo.sources if source == "127.0.0.1")
        assert last < moved + 0.05
        assert not [event for event in events if isinstance(event, LineLost)]
        line.release()
        await asyncio.wait_for(task, PATIENCE)
        assert line._left == set()


async def test_a_line_that_is_not_open_yet_ends_with_the_address_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[LineEvent] = []
    receiver = Receiver()
    line = make(receiver, tmp_path, local_address="", on_event=events.append)
    monkeypatch.setattr("relay.agent.line.source_address", lambda reflector: "127.0.0.2")
    await asyncio.wait_for(line.run(), PATIENCE)
    (lost,) = events
    assert isinstance(lost, LineLost)
    assert lost.cause is LossCause.MOVED
    cells = receiver.take()
    assert cells
    assert {host for _, (host, _) in cells} == {"127.0.0.1"}, "not one cell from the other address"
    receiver.endpoint.close()


async def test_an_address_that_was_set_by_hand_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.line.source_address", lambda reflector: "127.0.0.2")
    events: list[LineEvent] = []
    async with reflecting(tmp_path) as (echo, address):
        line = line_to(echo, address, events, "127.0.0.1")
        task = asyncio.create_task(line.run())
        await until(lambda: line.client.opened)
        monkeypatch.setattr(echo.transport, "sendto", lambda cell, destination: None, raising=False)
        await until(lambda: any(isinstance(event, LineLost) for event in events))
        assert line.client.counters["moves"] == 0
        assert {source for _, source in echo.sources} == {"127.0.0.1"}
        line.release()
        await asyncio.wait_for(task, PATIENCE)


async def test_no_way_at_all_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def nowhere(reflector: tuple[str, int]) -> None:
        asked.append(reflector)

    monkeypatch.setattr("relay.agent.line.source_address", nowhere)
    receiver, clock = Receiver(), SystemClock()
    line = make(receiver, tmp_path, local_address="")
    begun = clock.monotonic()
    task = asyncio.create_task(line.run())
    await until(lambda: len(asked) >= 3)
    assert len(asked) <= (clock.monotonic() - begun) / LOOK_EVERY + 1, "ten times a second at most"
    assert not task.done()
    monkeypatch.setattr("relay.media_reflector.client.OPENING_TIMEOUT", 0.0)
    await asyncio.wait_for(task, PATIENCE)
    assert line.client.lost
    assert len({address for _, address in receiver.take()}) == 1
    receiver.endpoint.close()


async def test_a_line_address_that_is_not_ours_is_one_plain_sentence(tmp_path: object) -> None:
    receiver = Receiver()
    line = make(receiver, tmp_path, local_address="192.0.2.1")
    with pytest.raises(TransportUnavailable, match="line_address"):
        await line.run()
    receiver.endpoint.close()


async def test_a_cancelled_line_leaves_nothing_behind(tmp_path: object) -> None:
    receiver = Receiver()
    line = make(receiver, tmp_path)
    task = asyncio.create_task(line.run())
    await receiver.collect(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    receiver.take()
    await asyncio.sleep(0.1)
    assert not receiver.take()
    receiver.endpoint.close()
