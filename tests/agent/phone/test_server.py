"""The shell on real loopback sockets: both transports, lies about lengths, slow halves, caps, closing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from relay.agent.phone import PhoneEvent, PhoneServer, PhoneSettings
from relay.core import ManualClock, SystemClock, SystemEntropy, TransportUnavailable
from relay.sip.transaction import Flow
from tests.agent.phone.scripted_phone import OFFER, Bench

Start = Callable[..., Awaitable[PhoneServer]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a server; closes it after the test."""
    servers: list[PhoneServer] = []

    async def begin(**settings: object) -> PhoneServer:
        chosen = PhoneSettings("alice", "secret", port=0, **settings)  # type: ignore[arg-type]
        events: list[PhoneEvent] = []
        server = PhoneServer(chosen, SystemClock(), SystemEntropy(), events.append)
        servers.append(server)
        await server.start()
        return server

    yield begin
    for server in servers:
        await server.close()
        await server.close()


def options(number: int = 1) -> bytes:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    request = phone.request("OPTIONS", call_id=f"options-{number}")
    return request.to_bytes()


async def ask(server: PhoneServer, *pieces: bytes) -> bytes:
    """Send pieces over a new TCP connection; what comes back within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(0.2):
            return await reader.read(65536)
    except TimeoutError:
        return b"(open)"
    except OSError:
        return b""
    finally:
        writer.close()


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)


async def test_udp_and_tcp_answer_on_the_same_port(start: Start) -> None:
    server = await start()
    assert (await ask(server, options())).startswith(b"SIP/2.0 200 OK\r\n")
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", server.port))
    transport.sendto(b"garbage" * 1000)
    transport.sendto(b"\xff" * 60000)
    transport.sendto(options().replace(b";branch", b";rport;branch"))
    async with asyncio.timeout(2):
        assert (await client.received.get()).startswith(b"SIP/2.0 200 OK\r\n")
    transport.close()
    assert server.core.counters["malformed"] == 1
    assert server.core.counters["oversized"] == 1


async def test_messages_in_pieces_and_together_are_read(start: Start) -> None:
    server = await start()
    data = options(1)
    assert (await ask(server, data[:40], data[40:])).startswith(b"SIP/2.0 200")
    assert (await ask(server, data + options(2))).count(b"SIP/2.0 200") == 2
    assert await ask(server, b"\r\n\r\n") == b"\r\n", "a ping gets its pong (RFC 5626 section 4.4.1)"


@pytest.mark.parametrize(
    "lie",
    [
        b"Content-Length: 99999999999\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0\r\nContent-Length: 40\r\n",
        b"X: " + b"y" * 20000 + b"\r\n",
        b"",
    ],
)
async def test_a_stream_whose_framing_lies_is_closed(start: Start, lie: bytes) -> None:
    server = await start()
    assert await ask(server, options().replace(b"Content-Length: 0\r\n", lie)) == b""
    assert server.stream_counters["broken streams"] == 1
    assert (await ask(server, options())).startswith(b"SIP/2.0 200")


async def test_a_body_that_never_comes_is_closed_after_a_while(start: Start) -> None:
    server = await start(idle_limit=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(options().replace(b"Content-Length: 0", b"Content-Length: 500"))
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    assert server.stream_counters["slow messages"] == 1
    writer.close()


async def test_idle_connections_give_way_to_new_ones(start: Start) -> None:
    server = await start(max_connections=4)
    writers = []
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
    assert (await ask(server, options())).startswith(b"SIP/2.0 200")
    for writer in writers:
        writer.close()


async def test_a_port_that_is_taken_is_said_in_one_sentence(start: Start) -> None:
    server = await start()
    settings = PhoneSettings("alice", "secret", port=server.port)
    other = PhoneServer(settings, ManualClock(), SystemEntropy(), lambda event: None)
    with pytest.raises(TransportUnavailable, match="sip_listen"):
        await other.start()
    await other.close()


async def test_the_port_is_free_again_after_closing(start: Start) -> None:
    server = await start()
    port = server.port
    await server.close()
    again = PhoneServer(
        PhoneSettings("alice", "secret", port=port), SystemClock(), SystemEntropy(), lambda event: None
    )
    await again.start()
    await again.close()


async def test_a_phone_without_its_connection_is_called_over_a_new_one(start: Start) -> None:
    server = await start()
    accepted: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(await reader.readuntil(b"\r\n"))
        writer.close()

    phone = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = phone.sockets[0].getsockname()[1]
    server._send(Flow("TCP", "127.0.0.1", port), b"OPTIONS sip:alice@127.0.0.1 SIP/2.0\r\n")
    async with asyncio.timeout(2):
        assert (await accepted.get()).startswith(b"OPTIONS ")
    phone.close()
    server._send(Flow("TCP", "127.0.0.1", 1), b"nobody is there")
    await asyncio.sleep(0.05)
    assert server.place("bob", "Bob", OFFER) is None
