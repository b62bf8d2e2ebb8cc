"""One line on real sockets of this machine: a cell in every tick, all of one size, whatever its source does."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from relay.agent.line import Line
from relay.chaff import Pace
from relay.core import SeededEntropy, SystemClock, TransportUnavailable
from relay.media_reflector import LineClient, LineEvent, LineLost
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK
from tests.agent.people import World

SECONDS = 1.0
TICKS = round(SECONDS / TICK)


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
    receiver = Receiver()
    line = make(receiver, tmp_path, source=source)
    task = asyncio.create_task(line.run())
    await asyncio.sleep(SECONDS)
    line.release()
    await asyncio.wait_for(task, 5.0)
    cells = receiver.take()
    assert {len(cell) for cell, _ in cells} == {CELL_SIZE}
    assert len({address for _, address in cells}) == 1
    # Never more than the pace has; fewer only where this machine was busy for that long.
    assert TICKS // 2 <= len(cells) <= TICKS + 3
    assert len({cell for cell, _ in cells}) == len(cells), "no two cells look alike"
    receiver.endpoint.close()


async def test_an_event_that_nobody_can_handle_does_not_stop_the_cells(tmp_path: object) -> None:
    receiver, events = Receiver(), []

    def handle(event: LineEvent) -> None:
        events.append(event)
        raise RuntimeError("the call is in trouble")

    line = make(receiver, tmp_path, on_event=handle)
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0.2)
    line._deliver([LineLost("try")])
    await asyncio.wait_for(task, 5.0)
    assert events == [LineLost("try")]
    receiver.endpoint.close()


async def test_a_line_that_nobody_answers_is_lost_and_over(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.media_reflector.client.OPENING_TIMEOUT", 0.3)
    receiver = Receiver()
    events: list[LineEvent] = []
    line = make(receiver, tmp_path, on_event=events.append)
    await asyncio.wait_for(line.run(), 5.0)
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
    await asyncio.wait_for(line.run(), 5.0)
    assert [type(event) for event in events] == [LineLost]


async def test_what_does_not_come_from_the_reflector_is_not_even_read(tmp_path: object) -> None:
    receiver, stranger = Receiver(), Receiver()
    line = make(receiver, tmp_path)
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0.5)
    _, address = receiver.take()[0]
    for _ in range(100):
        stranger.endpoint.sendto(bytes(CELL_SIZE), address)
    for size in (0, 1, CELL_SIZE - 1, CELL_SIZE + 1, 1400):
        receiver.endpoint.sendto(bytes(size), address)
    await asyncio.sleep(0.2)
    assert line.client.counters["wrong_size"] == 5
    assert line.client.counters["not_authentic"] == 0
    line.release()
    await asyncio.wait_for(task, 5.0)
    receiver.endpoint.close()
    stranger.endpoint.close()


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
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    receiver.take()
    await asyncio.sleep(0.1)
    assert not receiver.take()
    receiver.endpoint.close()
