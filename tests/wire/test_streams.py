"""One request, one answer, over a stream whose other end may do as it likes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from relay.core import PeerError, TransportUnavailable
from relay.wire import exchange, frame, read_frame

Service = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ONION = "a" * 56


class Dialer:
    """Leads every onion name to one service on loopback, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[tuple[str, int, str]] = []

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked.append((onion, port, isolation))
        return await asyncio.open_connection("127.0.0.1", self._port)


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Dialer]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await service(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield Dialer(server.sockets[0].getsockname()[1])


async def ask(dialer: Dialer, *, timeout: float = 5.0) -> bytes:
    return await exchange(dialer, ONION, 7220, b"question", isolation="one", limit=100, timeout=timeout)


async def test_a_question_is_answered_over_a_stream_of_its_own() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(b"re: " + await read_frame(reader, 100)))

    async with serving(echo) as dialer:
        assert await ask(dialer) == b"re: question"
        assert await ask(dialer) == b"re: question"
        assert dialer.asked == [(ONION, 7220, "one")] * 2


@pytest.mark.parametrize(
    ("answer", "reason"), [(b"", "truncated"), (b"\0\0\0\x05abc", "truncated"), (b"\0\0\0\xffa", "oversized")]
)
async def test_an_answer_that_is_no_frame_is_the_peers_fault(answer: bytes, reason: str) -> None:
    async def wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader, 100)
        writer.write(answer)

    async with serving(wrong) as dialer:
        with pytest.raises(PeerError, match=reason):
            await ask(dialer)


async def test_silence_is_a_transport_that_is_not_there() -> None:
    stop = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()

    async with serving(silent) as dialer:
        with pytest.raises(TransportUnavailable) as caught:
            await ask(dialer, timeout=0.1)
        stop.set()
    assert ONION not in str(caught.value)


async def test_a_refused_connection_is_a_transport_that_is_not_there() -> None:
    async with serving(lambda reader, writer: asyncio.sleep(0)) as dialer:
        pass
    with pytest.raises(TransportUnavailable):
        await ask(dialer)
