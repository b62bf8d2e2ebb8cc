"""What happens to real calls: real tor, real UDP, real baresip.

One world serves all scenarios, in this order, because building it takes ten seconds; each scenario leaves it quiet.
What the reflector's and the contact point's sides knew of the first call is searched in tests/knowledge.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from relay.core import SeededEntropy
from relay.media_reflector import DROPS
from tests.integration.world import BOB, LATE, World, open_world

pytestmark = [pytest.mark.call, pytest.mark.asyncio(loop_scope="module")]

_destinations: list[set[object]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _destinations and event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple):
            _destinations[-1].add(address[:2])


sys.addaudithook(_audit)


@contextmanager
def outgoing() -> Iterator[set[object]]:
    """Every internet address that this process connects or sends to meanwhile, seen by the interpreter itself.

    All roles of the world live in this process; what they say to their tors goes through unix sockets.
    """
    seen: set[object] = set()
    _destinations.append(seen)
    try:
        yield seen
    finally:
        _destinations.remove(seen)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(private_network: Path, directory: Path) -> AsyncIterator[World]:
    async with open_world(private_network, directory) as opened:
        yield opened


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _hushed(world: World) -> AsyncIterator[None]:
    yield
    await world.hush()


async def test_an_unknown_name_is_404_at_once_and_nothing_leaves_the_machine(world: World) -> None:
    before = world.messages_sent
    started = world.clock.monotonic()
    await world.alice.phone.dial("nobody")
    closed = await world.alice.phone.wait_for("CALL_CLOSED", timeout=5)
    assert "404" in closed.detail
    assert closed.at - started < 2.0
    assert not world.alice.told.seen("dialled", after=started), "no call was begun"
    assert world.messages_sent == before
    assert all(reflector.node.reflector.occupancy.lines == 0 for reflector in world.reflectors)


async def test_a_call_is_held_and_hung_up_in_the_cells(world: World) -> None:
    sent_before, given_up = world.messages_sent, world.given_up
    dialled = await world.connect()
    assert sum(reflector.node.reflector.occupancy.crossed for reflector in world.reflectors) == 1
    assert (sent := world.messages_sent) > sent_before, "the ring went by way of the contact point"
    hung_up = world.clock.monotonic()
    await world.alice.phone.hang_up()
    closed = await world.bob.phone.wait_for("CALL_CLOSED", timeout=5)
    assert closed.at - hung_up < 3.0
    for person in (world.alice, world.bob):
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in ("hung up here", "hung up by the other side")
        assert int(str(ended.fields["cells_received"])) > 0
        assert int(str(ended.fields["lost_cells"])) <= world.given_up - given_up + 2 <= LATE
    await world.quiet()
    assert world.messages_sent == sent, "the goodbye went in the cells"
    for person in (world.alice, world.bob):
        (lingering,) = person.told.seen("line-lingering", after=dialled)
        (line_closed,) = person.told.seen("line-closed", after=dialled)
        stagger = lingering.fields["stagger"]
        assert isinstance(stagger, float)
        assert line_closed.at - lingering.at == pytest.approx(stagger, abs=0.5), "each line its own time"
    assert all(reflector.node.reflector.occupancy.lines == 0 for reflector in world.reflectors)


async def test_no_line_opens_before_a_human_answered(world: World) -> None:
    dialled = world.clock.monotonic()
    await world.alice.phone.dial(BOB)
    await world.bob.phone.wait_for("CALL_INCOMING", timeout=30)
    assert all(
        reflector.node.reflector.occupancy.lines + reflector.node.reflector.occupancy.opening == 0
        for reflector in world.reflectors
    )
    await world.bob.phone.hang_up()
    closed = await world.alice.phone.wait_for("CALL_CLOSED", timeout=10)
    assert "603" in closed.detail or "486" in closed.detail
    assert not world.alice.told.seen("line-opening", after=dialled)
    assert not world.bob.told.seen("line-opening", after=dialled)
    await world.quiet()


async def test_a_caller_who_gives_up_silences_the_other_phone(world: World) -> None:
    await world.alice.phone.dial(BOB)
    await world.bob.phone.wait_for("CALL_INCOMING", timeout=30)
    await world.alice.phone.hang_up()
    await world.bob.phone.wait_for("CALL_CLOSED", timeout=10)
    await world.quiet()


async def test_tor_lost_in_mid_setup_is_503_and_not_one_packet_goes_around(world: World) -> None:
    dialled = world.clock.monotonic()
    cells = [reflector.node.reflector.counts()["cells_received"] for reflector in world.reflectors]
    await world.alice.phone.dial(BOB)
    await world.bob.phone.wait_for("CALL_INCOMING", timeout=30)
    pid = world.alice.agent.tor_pid
    assert pid is not None
    with outgoing() as destinations:
        os.kill(pid, signal.SIGKILL)
        closed = await world.alice.phone.wait_for("CALL_CLOSED", timeout=10)
    phones = {(person.phone.host, person.phone.sip_port) for person in world.people.values()}
    assert destinations <= phones, "this process talked to its own softphones and to nobody else"
    assert [reflector.node.reflector.counts()["cells_received"] for reflector in world.reflectors] == cells
    assert "503" in closed.detail
    failed = await world.alice.told.wait_for("failed", timeout=5, after=dialled)
    assert failed.fields["status"] == 503
    assert not world.alice.told.seen("line-opening", after=dialled)
    assert all(reflector.node.reflector.occupancy.lines == 0 for reflector in world.reflectors)
    # While Tor is down every further call fails at once, too.
    if not world.alice.told.seen("tor-back", after=dialled):
        await world.alice.phone.dial(BOB)
        closed = await world.alice.phone.wait_for("CALL_CLOSED", timeout=10)
        assert "503" in closed.detail
    await world.bob.phone.hang_up()
    await world.alice.told.wait_for("tor-back", timeout=60, after=dialled)
    await world.quiet()


async def test_garbage_at_every_open_port_does_not_disturb_a_call(world: World) -> None:
    dialled = await world.connect()
    (in_use,) = [one for one in world.reflectors if one.node.reflector.occupancy.lines]
    before, given_up = dict(in_use.node.reflector.counts()), world.given_up
    phone_port = int(world.alice.agent.sip_address[1])
    hostile = SeededEntropy("garbage")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cells,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sip,
    ):
        for number in range(2000):
            cells.sendto(hostile.token(number % 400), in_use.address)
            cells.sendto(b"\x80\x6f" + hostile.token(158), in_use.address)
            if number % 20 == 0:
                sip.sendto(b"INVITE sip:bob SIP/2.0\r\n" + b" folded\r\n" * number, ("127.0.0.1", phone_port))
                await asyncio.sleep(0.01)
    for lie in (b"Content-Length: 99999999999\r\n\r\n", b"Content-Length: -1\r\n\r\n", b"X: " + b"a" * 65536):
        reader, writer = await asyncio.open_connection("127.0.0.1", phone_port)
        writer.write(b"OPTIONS sip:a SIP/2.0\r\n" + lie)
        assert await asyncio.wait_for(reader.read(), 25) is not None
        writer.close()
    await asyncio.sleep(1.0)
    after = in_use.node.reflector.counts()
    dropped = sum(after[name] - before[name] for name in DROPS)
    assert dropped >= 3900, "counted, all of it"
    assert in_use.node.reflector.occupancy.crossed == 1
    await world.alice.phone.hang_up()
    for person in (world.alice, world.bob):
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in ("hung up here", "hung up by the other side")
        assert int(str(ended.fields["cells_received"])) > 0
        assert int(str(ended.fields["lost_cells"])) <= world.given_up - given_up + 2 <= LATE
    await world.quiet()


async def test_a_reflector_gone_in_mid_call_is_a_tone_soon_and_without_a_backup_the_end(world: World) -> None:
    dialled = await world.connect()
    (in_use,) = [one for one in world.reflectors if one.node.reflector.occupancy.lines]
    gone = world.clock.monotonic()
    in_use.task.cancel()
    for person in (world.alice, world.bob):
        told = await person.told.wait_for("silence", timeout=5, after=gone)
        assert told.at - gone < 3.0, "from here on the phone plays a tone"
    for person in (world.alice, world.bob):
        await person.phone.wait_for("CALL_CLOSED", timeout=14)
        ended = await person.told.wait_for("call-ended", timeout=10, after=dialled)
        assert ended.fields["reason"] in (
            "the reflector went silent",
            "the other side went silent",
            "hung up by the other side",
        )
    await world.quiet(timeout=25.0)


async def test_a_callee_who_is_offline_is_480_within_thirty_seconds(world: World) -> None:
    world.bob.agent.stop()
    await world.bob.task
    dialled = world.clock.monotonic()
    await world.alice.phone.dial(BOB)
    closed = await world.alice.phone.wait_for("CALL_CLOSED", timeout=31)
    assert "480" in closed.detail
    assert closed.at - dialled < 30.0
    await world.quiet()
