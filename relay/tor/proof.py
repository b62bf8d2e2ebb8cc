"""Proof that a private network works: a throw-away onion service, reached by a second client."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from relay.core import Clock, TransportUnavailable
from relay.tor.client import TorClient
from relay.tor.settings import TorSettings

_PORT = 80
_HELLO = b"hello\n"
_ANSWER_SECONDS = 20.0


async def prove_reachable(
    network_directory: Path, clock: Clock, *, executable: str, progress: Callable[[str], None]
) -> None:
    """Publish an onion service and reach it with a second client.  Raises `TransportUnavailable`."""
    place = Path(tempfile.mkdtemp(prefix="bayonne-"))
    settings = TorSettings(executable=executable, network_directory=str(network_directory))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        progress("starting two clients")
        host = await TorClient.launch(settings, place / "host", clock)
        stack.push_async_callback(host.close)
        guest = await TorClient.launch(settings, place / "guest", clock)
        stack.push_async_callback(guest.close)
        echo = await asyncio.start_unix_server(_echo, str(place / "echo"))
        stack.callback(echo.close)
        progress("publishing a throw-away onion service")
        service = await host.publish(None, {_PORT: place / "echo"})
        progress("reaching it")
        reader, writer = await guest.open(service.onion, _PORT, isolation="proof")
        stack.callback(writer.close)
        writer.write(_HELLO)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await reader.readexactly(len(_HELLO))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            raise TransportUnavailable("the network is up but an onion service does not answer") from None


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(len(_HELLO)):
            writer.write(data)
            await writer.drain()
    writer.close()
