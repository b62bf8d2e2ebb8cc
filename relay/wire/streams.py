"""One request and one answer over an onion stream; whoever has a Tor client supplies the dialer."""

import asyncio
from typing import Protocol

from relay.core import PeerError, TransportUnavailable
from relay.wire.frames import frame

_LENGTH = 4


class OnionDialer(Protocol):
    """Opens streams to onion services, and to nothing else."""

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to virtual `port` of `onion` (56 characters, without ".onion").

        Streams of different `isolation` never share a circuit.  Raises `TransportUnavailable`.
        """
        ...


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """The next frame's payload.  Raises `PeerError` ("oversized", "truncated")."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        if length > limit:
            raise PeerError("oversized")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise PeerError("truncated") from None


async def exchange(
    dialer: OnionDialer,
    onion: str,
    port: int,
    request: bytes,
    *,
    isolation: str,
    limit: int,
    timeout: float = 30.0,
) -> bytes:
    """Send one frame on a fresh stream, return the answer's payload.

    Raises `TransportUnavailable` when the service is out of reach or silent for `timeout` seconds,
    `PeerError` when its answer is not a frame.
    """
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await dialer.open(onion, port, isolation=isolation)
            try:
                writer.write(frame(request))
                await writer.drain()
                return await read_frame(reader, limit)
            finally:
                writer.close()
    except (TimeoutError, ConnectionError):
        raise TransportUnavailable("the onion service did not answer") from None
