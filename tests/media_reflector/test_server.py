"""The sockets: a real UDP loopback with the real clock, and the ticket stream, without Tor."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relay.core import MisuseError, PeerError, SystemClock, SystemEntropy, TransportUnavailable
from relay.media_reflector import (
    BodyReceived,
    CellServer,
    ComeAgainLater,
    Descriptor,
    LineClient,
    Reflector,
    ReflectorKeys,
    ReflectorReference,
    TicketServer,
    fetch_descriptor,
    fetch_ticket,
)
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import Forwarding
from relay.media_reflector.server import (
    PUT_OFF_STREAMS,
    PUT_OFF_TIMEOUT,
    STREAM_DROPS,
    TICKET_STREAMS,
    TICKET_TIMEOUT,
)
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK
from relay.wire import frame
from tests.agent.virtual_time import WALL, LoopClock, in_virtual_time
from tests.native_code import native_plane

ONION = "a" * 56
CODE = b"join code of 16 "
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
FEW = 10
"""Bodies that come across also where the machine stands still for a second: how many are lost is for `make bench`."""


class Node:
    """A reflector on loopback whose "onion service" is reached directly."""

    def __init__(self, directory: Path, forwarding: Forwarding, workers: int = 1) -> None:
        self.keys = ReflectorKeys.generate(ENTROPY)
        self.forwarding = forwarding
        self.office = self.keys.office(10, ENTROPY, forwarding)
        self.reflector = Reflector(self.keys.static_key, self.office, forwarding, ENTROPY, capacity=10)
        self.cells = CellServer(self.reflector, forwarding, CLOCK)
        (self.address,) = self.cells.bind([("127.0.0.1", 0)], workers)
        self.tickets = TicketServer(self.office, self._descriptor, CLOCK)
        self.path = directory / "tickets.sock"
        self.reference = ReflectorReference(ONION, self.keys.public_identity)

    def _descriptor(self) -> bytes:
        return self.keys.signed_descriptor(ONION, [self.address], CLOCK.wall(), capacity=100)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert (onion, port) == (ONION, 7220)
        return await asyncio.open_unix_connection(self.path)

    async def line(self) -> LineClient:
        descriptor = await fetch_descriptor(self, self.reference, isolation="d", wall=CLOCK.wall())
        ticket = await fetch_ticket(self, descriptor, ENTROPY, isolation="t", now=CLOCK.monotonic())
        return LineClient(descriptor, ticket, ENTROPY, join_code=CODE)


def _forwarding(name: str) -> Forwarding:
    return native_plane() if name == "native" else load_forwarding(name)


@contextlib.asynccontextmanager
async def _running(node: Node) -> AsyncIterator[Node]:
    await node.tickets.listen_unix(node.path)
    task = asyncio.create_task(node.cells.run())
    yield node
    task.cancel()
    ends = await asyncio.gather(task, return_exceptions=True)
    await node.tickets.close()
    assert isinstance(ends[0], asyncio.CancelledError), ends


@pytest.fixture(params=["plain", "native"])
async def node(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    async with _running(Node(tmp_path, _forwarding(request.param))) as node:
        yield node


async def _talk(
    node: Node, line: LineClient, mark: bytes, seconds: float, meanwhile: Sequence[tuple[int, str]] = ()
) -> list[bytes]:
    """Run one line for a while; the bodies that came.  `meanwhile`: at that tick, what is done."""
    loop = asyncio.get_running_loop()
    bodies: list[bytes] = []
    todo = dict(meanwhile)

    def drain(endpoint: socket.socket) -> None:
        datagram = endpoint.recv(2048)
        assert len(datagram) == CELL_SIZE
        for event in line.receive(datagram, CLOCK.monotonic()):
            if isinstance(event, BodyReceived):
                bodies.append(event.body)

    def fresh() -> socket.socket:
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        endpoint.setblocking(False)
        endpoint.connect(node.address)
        loop.add_reader(endpoint, drain, endpoint)
        return endpoint

    endpoint = fresh()
    start = CLOCK.monotonic()
    for number in range(int(seconds / TICK)):
        await asyncio.sleep(max(0.0, start + number * TICK - CLOCK.monotonic()))
        match todo.get(number):
            case "move" | "translator" as what:
                loop.remove_reader(endpoint)
                endpoint.close()
                endpoint = fresh()
                if what == "move":
                    line.move()
            case "rekey":
                assert line._moves is not None
                line._moves._rekey_at = 0.0
        line.submit(mark * BODY_SIZE)
        endpoint.send(line.next_cell(CLOCK.monotonic()))
    await asyncio.sleep(2 * TICK)
    loop.remove_reader(endpoint)
    endpoint.close()
    return bodies


async def test_two_lines_talk_over_loopback(node: Node) -> None:
    alice, bob = await node.line(), await node.line()
    to_alice, to_bob = await asyncio.gather(_talk(node, alice, b"a", 1.6), _talk(node, bob, b"b", 1.6))
    assert alice.crossed
    assert bob.crossed
    assert to_alice.count(b"b" * BODY_SIZE) >= FEW
    assert to_bob.count(b"a" * BODY_SIZE) >= FEW
    assert node.reflector.occupancy.crossed == 1
    assert node.reflector.counts()["send_failed"] == 0


@pytest.mark.alone
async def test_a_call_survives_moves_translators_and_rekeying_over_loopback(node: Node) -> None:
    alice, bob = await node.line(), await node.line()
    doings = [(40, "rekey"), (70, "move"), (100, "translator"), (130, "move")]
    to_alice, to_bob = await asyncio.gather(
        _talk(node, alice, b"a", 4.0, doings), _talk(node, bob, b"b", 4.0, [(50, "rekey")])
    )
    assert not alice.lost
    assert not bob.lost
    counts = node.reflector.counts()
    assert (alice.counters["moves"], counts["roams"], counts["rekeys"]) == (2, 3, 2)
    assert to_alice.count(b"b" * BODY_SIZE) > 50
    assert to_bob.count(b"a" * BODY_SIZE) > 50
    assert counts["not_authentic"] == 0


async def test_a_line_comes_back_after_a_restart_over_loopback(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.media_reflector.handouts.FIRST", (0.1, 0.2))
    alice = await node.line()
    await _talk(node, alice, b"a", 2.5)
    assert alice.resumption is not None
    again = Node(tmp_path, _forwarding(node.forwarding.name))
    again.keys, again.path = node.keys, tmp_path / "again.sock"
    again.office = node.keys.office(10, ENTROPY, again.forwarding)
    assert again.office.restore(node.office.sealing_keys())
    again.reflector = Reflector(node.keys.static_key, again.office, again.forwarding, ENTROPY, capacity=10)
    again.cells = CellServer(again.reflector, again.forwarding, CLOCK)
    (again.address,) = again.cells.bind([("127.0.0.1", 0)])
    descriptor = await fetch_descriptor(node, node.reference, isolation="d", wall=CLOCK.wall())
    async with _running(again):
        line = LineClient(descriptor, alice.resumption, ENTROPY)
        await _talk(again, line, b"a", 0.5)
        assert line.opened
        assert again.reflector.occupancy.lines == 1


async def test_the_sockets_forbid_fragments_and_hide_their_packet_count(node: Node) -> None:
    ((end,),) = node.cells._sockets
    assert end.getsockopt(socket.IPPROTO_IP, 10) == 3
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


async def test_a_flood_of_garbage_is_counted_and_the_clock_goes_on(node: Node) -> None:
    alice = await node.line()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        flood.connect(node.address)
        for size in (0, 1, 159, 160, 161, 1400, 60_000):
            for _ in range(100):
                flood.send(bytes(size))
        await _talk(node, alice, b"a", 0.6)
        flood.setblocking(False)
        with pytest.raises(BlockingIOError):
            flood.recv(2048)
    assert alice.opened
    assert node.reflector.counts()["wrong_size"] > 100
    assert node.reflector.counts()["chaff_sent"] >= 20


async def test_more_is_asked_than_can_be_decided_in_one_go(node: Node) -> None:
    """First messages of many agents at once: all are answered, also those that came while others were decided."""
    lines = [await node.line() for _ in range(8)]
    node.reflector.capacity = 1000
    await asyncio.gather(*(_talk(node, line, b"x", 0.6) for line in lines))
    assert [line.opened for line in lines] == [True] * 8
    assert node.reflector.occupancy.lines == 8


@pytest.mark.parametrize("name", ["plain", "native"])
async def test_workers_share_a_port_and_lines_of_all_of_them_meet(tmp_path: Path, name: str) -> None:
    async with _running(Node(tmp_path, _forwarding(name), workers=3)) as node:
        assert len(node.cells._sockets) == 3
        assert len({end.getsockname() for (end,) in node.cells._sockets}) == 1
        alice, bob = await node.line(), await node.line()
        to_alice, to_bob = await asyncio.gather(_talk(node, alice, b"a", 1.6), _talk(node, bob, b"b", 1.6))
        assert to_alice.count(b"b" * BODY_SIZE) >= FEW
        assert to_bob.count(b"a" * BODY_SIZE) >= FEW


def _server(clock: SystemClock = CLOCK) -> CellServer:
    forwarding = load_forwarding("plain")
    keys = ReflectorKeys.generate(ENTROPY)
    office = keys.office(10, ENTROPY, forwarding)
    return CellServer(Reflector(keys.static_key, office, forwarding, ENTROPY), forwarding, clock)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_somebody_has_is_not_shared_with_them(workers: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            _server().bind([other.getsockname()], workers)


@pytest.mark.parametrize(
    ("addresses", "workers"),
    [
        ([], 1),
        ([("127.0.0.1", 0), ("127.0.0.1", 0)], 1),
        ([("127.0.0.1", 0)], 0),
    ],
)
def test_addresses_that_do_not_go_together(addresses: list[tuple[str, int]], workers: int) -> None:
    with pytest.raises(MisuseError):
        _server().bind(addresses, workers)


async def test_both_families_are_served(tmp_path: Path) -> None:
    server = _server()
    try:
        four, six = server.bind([("127.0.0.1", 0), ("::1", 0)], 2)
    except OSError:
        pytest.skip("this machine has no IPv6")
    task = asyncio.create_task(server.run())
    await asyncio.sleep(0.05)
    for address, family in ((four, socket.AF_INET), (six, socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_DGRAM) as flood:
            flood.sendto(b"x", address)
    await asyncio.sleep(0.1)
    assert server._reflector.counts()["wrong_size"] == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_garbage_at_the_ticket_stream_closes_it_without_a_word(node: Node) -> None:
    for data in (frame(b"x"), frame(bytes(1280)), b"\xff" * 8, b""):
        reader, writer = await asyncio.open_unix_connection(node.path)
        writer.write(data)
        if not data:
            writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert node.tickets.counters["streams_broken"] == 2
    assert node.reflector.counts()["bad_request"] == 2
    assert len(node.office) == 0


class Streams:
    """A ticket service and no reflector behind it; an `OnionDialer` to it."""

    def __init__(self) -> None:
        self.keys = ReflectorKeys.generate(ENTROPY)
        self.reference = ReflectorReference(ONION, self.keys.public_identity)
        office = self.keys.office(10, ENTROPY, load_forwarding("plain"))
        self.server = TicketServer(office, self._descriptor, LoopClock())
        self.address: Path | tuple[str, int] = Path()

    def _descriptor(self) -> bytes:
        return self.keys.signed_descriptor(ONION, [("127.0.0.1", 7210)], WALL, capacity=100)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, tuple):
            return await asyncio.open_connection(*self.address)
        return await asyncio.open_unix_connection(self.address)

    async def silent(self) -> asyncio.StreamWriter:
        return (await self.open("", 0, isolation=""))[1]

    async def ask(self) -> Descriptor:
        return await fetch_descriptor(self, self.reference, isolation="", wall=WALL)

    def dropped(self) -> list[int]:
        """Streams that were put off, shut, broken."""
        return [self.server.counters[reason] for reason in STREAM_DROPS]


@pytest.mark.parametrize("family", ["unix", "loopback"])
def test_whoever_comes_while_all_streams_are_taken_is_told_another_moment(
    tmp_path: Path, family: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        streams = Streams()
        server = streams.server
        streams.address = (
            await server.listen_unix(tmp_path / "s") if family == "unix" else await server.listen_loopback()
        )
        taken = [await streams.silent() for _ in range(TICKET_STREAMS)]
        moments = set()
        for _ in range(20):
            with pytest.raises(ComeAgainLater) as refusal:
                await streams.ask()
            moments.add(refusal.value.seconds)
        assert len(moments) > 5
        assert streams.dropped() == [20, 0, 0]
        await asyncio.sleep(TICKET_TIMEOUT + 0.1)
        assert streams.dropped() == [20, 0, TICKET_STREAMS], "who says nothing makes room"
        assert (await streams.ask()).identity == streams.reference.identity
        for stream in taken:
            stream.close()
        await server.close()

    run()


@in_virtual_time
async def test_those_who_are_told_another_moment_are_bounded_too(tmp_path: Path) -> None:
    streams = Streams()
    streams.address = await streams.server.listen_unix(tmp_path / "s")
    taken = [await streams.silent() for _ in range(TICKET_STREAMS + PUT_OFF_STREAMS)]
    reader, writer = await streams.open("", 0, isolation="")
    assert await reader.read() == b""
    assert streams.dropped() == [PUT_OFF_STREAMS, 1, 0]
    await asyncio.sleep(PUT_OFF_TIMEOUT + 0.1)
    with pytest.raises(ComeAgainLater):
        await streams.ask()
    for stream in (*taken, writer):
        stream.close()
    await asyncio.sleep(TICKET_TIMEOUT)
    await streams.server.close()


async def test_a_reflector_of_another_identity_is_not_believed(node: Node) -> None:
    impostor = ReflectorReference(ONION, bytes(range(32)))
    with pytest.raises(PeerError):
        await fetch_descriptor(node, impostor, isolation="d", wall=CLOCK.wall())


async def test_a_silent_service_is_given_up(node: Node) -> None:
    class Silent:
        async def open(
            self, onion: str, port: int, *, isolation: str
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(*server.sockets[0].getsockname())

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with server:
        with pytest.raises(TransportUnavailable):
            await fetch_descriptor(Silent(), node.reference, isolation="d", wall=CLOCK.wall(), timeout=0.1)


async def test_tickets_over_loopback(tmp_path: Path) -> None:
    keys = ReflectorKeys.generate(ENTROPY)
    office = keys.office(1, ENTROPY, load_forwarding("plain"))
    server = TicketServer(office, lambda: b"", CLOCK)
    host, port = await server.listen_loopback()
    assert host == "127.0.0.1"
    assert port > 0
    await server.close()
