"""Streams to onion services through Tor's SOCKS port (RFC 1928, 1929 to isolate, proposal 304 for errors).

Takes onion names alone: there is no way to ask it for anything else, so nothing can go around.
"""

import asyncio
import re
from pathlib import Path

from relay.core import MisuseError, TransportUnavailable

SocksAddress = Path | tuple[str, int]

_ONION = re.compile(r"[a-z2-7]{56}")
_VERSION = 5
_USERNAME_PASSWORD = 2
_CONNECT = 1
_DOMAIN_NAME = 3

_REPLIES = {
    0x01: "Tor could not open the stream; try again",
    0x02: "Tor refused the stream by its own rules",
    0x03: "Tor has no network; check this machine's connection",
    0x04: "the onion service is not reachable; it may be offline",
    0x05: "the onion service refused the stream",
    0x06: "the onion service did not answer in time; try again",
    0xF0: "the onion service has published no descriptor; it may be offline",
    0xF1: "the onion service's descriptor is not valid",
    0xF2: "the onion service could not be introduced to; try again",
    0xF3: "the rendezvous with the onion service failed; try again",
    0xF4: "the onion service wants a key that is missing",
    0xF5: "the onion service refuses the key",
    0xF6: "the onion name is not valid; check it",
    0xF7: "the onion service's introduction timed out; try again",
}


async def open_stream(
    socks: SocksAddress, onion: str, port: int, *, isolation: str, timeout: float = 60.0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream to virtual `port` of `onion` (56 characters).

    Streams of different `isolation` (at most 255 bytes) never share a circuit.  Raises
    `TransportUnavailable`, and `MisuseError` for a target that is no onion name.
    """
    if not _ONION.fullmatch(onion) or not 0 < port < 65536:
        raise MisuseError("only onion services are reachable, by their 56 characters")
    label = isolation.encode()
    if not 0 < len(label) < 256:
        raise MisuseError("an isolation label has 1 to 255 bytes")
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(socks)
            await _negotiate(reader, writer, label)
            await _request(reader, writer, f"{onion}.onion".encode(), port)
            return reader, writer
    except BaseException as error:
        if writer is not None:
            writer.close()
        if isinstance(error, TimeoutError):
            raise TransportUnavailable("Tor did not open the stream in time; try again") from None
        if isinstance(error, (OSError, asyncio.IncompleteReadError)):
            raise TransportUnavailable("Tor's SOCKS port does not answer; is Tor running?") from None
        raise


async def _connect(socks: SocksAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(socks, Path):
        return await asyncio.open_unix_connection(str(socks))
    return await asyncio.open_connection(*socks)


async def _negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, label: bytes) -> None:
    writer.write(bytes((_VERSION, 1, _USERNAME_PASSWORD)))
    if await reader.readexactly(2) != bytes((_VERSION, _USERNAME_PASSWORD)):
        raise TransportUnavailable("the SOCKS port does not isolate streams: is it Tor's?")
    writer.write(bytes((1, len(label))) + label + bytes((1,)) + b"-")
    if await reader.readexactly(2) != b"\x01\x00":
        raise TransportUnavailable("the SOCKS port refused the isolation of streams: is it Tor's?")


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: bytes, port: int
) -> None:
    writer.write(bytes((_VERSION, _CONNECT, 0, _DOMAIN_NAME, len(host))) + host + port.to_bytes(2))
    version, reply, _, kind = await reader.readexactly(4)
    if version != _VERSION:
        raise TransportUnavailable("the SOCKS port speaks another protocol: is it Tor's?")
    if reply:
        raise TransportUnavailable(_REPLIES.get(reply, "Tor could not open the stream; try again"))
    sizes = {1: 4, 4: 16}
    if kind == _DOMAIN_NAME:
        size = (await reader.readexactly(1))[0]
    elif kind in sizes:
        size = sizes[kind]
    else:
        raise TransportUnavailable("the SOCKS port speaks another protocol: is it Tor's?")
    await reader.readexactly(size + 2)
