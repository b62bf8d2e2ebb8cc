"""The sockets: a real UDP loopback with the real clock, and the ticket stream, without Tor."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.core import PeerError, SystemClock, SystemEntropy, TransportUnavailable
from relay.media_reflector import (
    BodyReceived,
    CellServer,
    LineClient,
    Reflector,
    ReflectorKeys,
    ReflectorReference,
    TicketServer,
    fetch_descriptor,
    fetch_ticket,
)
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK
from relay.wire import frame

ONION = "a" * 56
CODE = b"join code of 16 "
CLOCK, ENTROPY = SystemClock(), SystemEntropy()


class Node:
    """A reflector on loopback whose "onion service" is reached directly."""

    def __init__(self, directory: Path) -> None:
        self.keys = ReflectorKeys.generate(ENTROPY)
        self.office = self.keys.office(10)
        self.reflector = Reflector(self.keys.static_key, self.office, ENTROPY, capacity=10)
        self.cells = CellServer(self.reflector, CLOCK)
        self.address = self.cells.bind("127.0.0.1", 0)
        self.tickets = TicketServer(self.office, self._descriptor, CLOCK)
        self.path = directory / "tickets.sock"
        self.reference = ReflectorReference(ONION, self.keys.public_identity)

    def _descriptor(self) -> bytes:
        return self.keys.signed_descriptor(ONION, *self.address, CLOCK.wall())

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert (onion, port) == (ONION, 7220)
        return await asyncio.open_unix_connection(self.path)

    async def line(self) -> LineClient:
        descriptor = await fetch_descriptor(self, self.reference, isolation="d", wall=CLOCK.wall())
        ticket = await fetch_ticket(self, descriptor, ENTROPY, isolation="t", now=CLOCK.monotonic())
        return LineClient(descriptor, ticket, ENTROPY, join_code=CODE)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.tickets.listen_unix(node.path)
    task = asyncio.create_task(node.cells.run())
    yield node
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await node.tickets.close()


async def _talk(node: Node, line: LineClient, mark: bytes, seconds: float) -> list[bytes]:
    """Run one line for a while; the bodies that came."""
    loop = asyncio.get_running_loop()
    bodies: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.setblocking(False)
        endpoint.connect(node.address)

        def drain() -> None:
            datagram = endpoint.recv(2048)
            assert len(datagram) == CELL_SIZE
            for event in line.receive(datagram, CLOCK.monotonic()):
                if isinstance(event, BodyReceived):
                    bodies.append(event.body)

        loop.add_reader(endpoint, drain)
        start = CLOCK.monotonic()
        for number in range(int(seconds / TICK)):
            await asyncio.sleep(max(0.0, start + number * TICK - CLOCK.monotonic()))
            line.submit(mark * BODY_SIZE)
            endpoint.send(line.next_cell(CLOCK.monotonic()))
        await asyncio.sleep(2 * TICK)
        loop.remove_reader(endpoint)
    return bodies


async def test_two_lines_talk_over_loopback(node: Node) -> None:
    alice, bob = await node.line(), await node.line()
    to_alice, to_bob = await asyncio.gather(_talk(node, alice, b"a", 1.6), _talk(node, bob, b"b", 1.6))
    assert alice.crossed
    assert bob.crossed
    assert to_alice.count(b"b" * BODY_SIZE) > 50
    assert to_bob.count(b"a" * BODY_SIZE) > 50
    assert node.reflector.occupancy.crossed == 1
    assert node.cells.counters["send_failed"] == 0


async def test_the_socket_forbids_fragments_and_hides_its_packet_count(node: Node) -> None:
    assert node.cells._socket is not None
    assert node.cells._socket.getsockopt(socket.IPPROTO_IP, 10) == 3


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
    assert node.reflector.counters["wrong_size"] > 100
    assert node.reflector.counters["chaff_sent"] >= 20


async def test_garbage_at_the_ticket_stream_closes_it_without_a_word(node: Node) -> None:
    for data in (frame(b"x"), frame(bytes(1280)), b"\xff" * 8, b""):
        reader, writer = await asyncio.open_unix_connection(node.path)
        writer.write(data)
        if not data:
            writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert node.tickets.counters["garbage"] == 4
    assert len(node.office) == 0


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
    server = TicketServer(keys.office(1), lambda: b"", CLOCK)
    host, port = await server.listen_loopback()
    assert host == "127.0.0.1"
    assert port > 0
    await server.close()
