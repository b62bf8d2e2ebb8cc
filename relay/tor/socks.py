"""Streams through Tor's SOCKS port (RFC 1928, 1929 to isolate, proposal 304 for errors).

`open_stream` takes onion names alone.  `open_host_stream`, for domain calling, takes the name of an ordinary host and
hands it to Tor as it is: the exit looks it up, and nothing here ever does.  Neither takes an address.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from relay.core import MisuseError, TransportUnavailable

SocksAddress = Path | tuple[str, int]

_ONION = re.compile(r"[a-z2-7]{56}")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_HOST = 253
_INSIDE_TOR = ("onion", "exit", "noconnect")
"""Last labels that Tor itself gives a meaning to."""

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

_HOST_REPLIES = {
    **_REPLIES,
    0x02: "no exit of Tor leads there",
    0x04: "that host's name is not known at the exit, or the host is not reachable from there",
    0x05: "that host refused the connection",
    0x06: "that host did not answer in time; try again",
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
    return await _open(socks, f"{onion}.onion", port, isolation, timeout, _REPLIES)


async def open_host_stream(
    socks: SocksAddress, host: str, port: int, *, isolation: str, timeout: float = 60.0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream to `port` of the ordinary host called `host` (small letters, IDNs as A-labels), through an exit.

    Raises and isolates as `open_stream`; a name without a dot, an address and an onion name are misuse.
    """
    last = host.rpartition(".")[2]
    named = len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None and last not in _INSIDE_TOR
    if not named or not 0 < port < 65536:
        raise MisuseError("only hosts with a name of two labels or more are reachable through an exit")
    return await _open(socks, host, port, isolation, timeout, _HOST_REPLIES)


async def _open(
    socks: SocksAddress, host: str, port: int, isolation: str, timeout: float, replies: Mapping[int, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    label = isolation.encode()
    if not 0 < len(label) < 256:
        raise MisuseError("an isolation label has 1 to 255 bytes")
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(socks)
            await _negotiate(reader, writer, label)
            await _request(reader, writer, host.encode("ascii"), port, replies)
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
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: bytes,
    port: int,
    replies: Mapping[int, str],
) -> None:
    writer.write(bytes((_VERSION, _CONNECT, 0, _DOMAIN_NAME, len(host))) + host + port.to_bytes(2))
    version, reply, _, kind = await reader.readexactly(4)
    if version != _VERSION:
        raise TransportUnavailable("the SOCKS port speaks another protocol: is it Tor's?")
    if reply:
        raise TransportUnavailable(replies.get(reply, "Tor could not open the stream; try again"))
    sizes = {1: 4, 4: 16}
    if kind == _DOMAIN_NAME:
        size = (await reader.readexactly(1))[0]
    elif kind in sizes:
        size = sizes[kind]
    else:
        raise TransportUnavailable("the SOCKS port speaks another protocol: is it Tor's?")
    await reader.readexactly(size + 2)
