"""A SOCKS server that says what it is told and remembers what it heard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

METHOD = b"\x05\x02"
WELCOME = b"\x01\x00"
GRANTED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


def reply(code: int) -> bytes:
    return bytes((5, code, 0, 1)) + bytes(6)


class FakeSocks:
    """Answers each of a client's three messages with the next of `answers`, then closes, or echoes."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.path = path
        self.answers = answers
        self.heard: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                for answer, read in zip(self.answers, (_greeting, _credentials, _request), strict=False):
                    self.heard.append(await read(reader))
                    writer.write(answer)
                    await writer.drain()
                while len(self.answers) > 3 and (data := await reader.read(100)):
                    writer.write(data)
        finally:
            writer.close()
            self.ended.set()


async def _greeting(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    return head + await reader.readexactly(head[1])


async def _credentials(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    username = await reader.readexactly(head[1])
    size = await reader.readexactly(1)
    return head + username + size + await reader.readexactly(size[0])


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(head[4] + 2)


@contextlib.asynccontextmanager
async def socks_server(path: Path, *answers: bytes) -> AsyncIterator[FakeSocks]:
    fake = FakeSocks(path, *answers)
    server = await asyncio.start_unix_server(fake.serve, str(path))
    async with server:
        yield fake
