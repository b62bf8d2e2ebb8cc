"""Short places for sockets, clients that are closed at the end, and a look at which processes are there."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from relay.core import SystemClock
from relay.tor import TorClient, TorSettings

Launch = Callable[[str], Awaitable[TorClient]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A private directory whose path fits into a unix socket's."""
    directory = Path(tempfile.mkdtemp(prefix="bvr-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def launch(private_network: Path, place: Path) -> AsyncIterator[Launch]:
    """Starts clients of the private network, by name."""
    settings = TorSettings(network_directory=str(private_network))
    clients = []

    async def start(name: str) -> TorClient:
        client = await TorClient.launch(settings, place / name, SystemClock())
        clients.append(client)
        return client

    yield start
    await asyncio.gather(*(client.close() for client in clients))


@pytest.fixture
async def echo(place: Path) -> AsyncIterator[Path]:
    """A unix socket that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    path = place / "echo"
    async with await asyncio.start_unix_server(serve, str(path)):
        yield path
