"""A nameserver on loopback for one name: remembers what it was asked, and from where."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import cast

_A, _IN = 1, 1
_NO_SUCH_NAME = 3


class Nameserver(asyncio.DatagramProtocol):
    """RFC 1035, as much as a resolver needs: `names` and their IPv4 addresses, and nothing besides."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.asked: list[tuple[str, int]] = []
        """(name, port it was asked from)"""
        self.heard = asyncio.Event()
        self.address = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's datagram transports are no subclass of what they are.
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, position = [], 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]])
            position += 1 + data[position]
        question, kind = data[12 : position + 5], int.from_bytes(data[position + 1 : position + 3])
        name = b".".join(labels).decode().lower()
        self.asked.append((name, addr[1]))
        self.heard.set()
        address = self.names.get(name)
        answers = b""
        if address is not None and kind == _A:
            value = ipaddress.IPv4Address(address).packed
            answers = (
                b"\xc0\x0c" + _A.to_bytes(2) + _IN.to_bytes(2) + (60).to_bytes(4) + (4).to_bytes(2) + value
            )
        code = 0 if address is not None else _NO_SUCH_NAME
        counts = (1).to_bytes(2) + (1 if answers else 0).to_bytes(2) + bytes(4)
        assert self._transport is not None
        self._transport.sendto(data[:2] + bytes((0x81, 0x80 | code)) + counts + question + answers, addr)


@contextlib.asynccontextmanager
async def nameserver(names: dict[str, str]) -> AsyncIterator[Nameserver]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Nameserver(names), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
