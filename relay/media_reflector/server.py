"""The reflector's sockets (asyncio): one for cells, driven by its own clock, and one for tickets."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from relay.core import Clock, Counters, PeerError
from relay.media_reflector.reflector import Reflector
from relay.media_reflector.tickets import REQUEST_SIZE, TicketOffice
from relay.wire import frame, read_frame

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
"""ip(7): don't fragment, and IP identification zero: no counter of packets that an observer could read."""
_SOCKET_BUFFER = 1 << 22
_DATAGRAM_LIMIT = 2048
_BATCH = 128
"""Datagrams read before the clock gets its turn, so that a flood cannot hold up departures for long."""

_TICKET_TIMEOUT = 20.0
_TICKET_STREAMS = 64


class CellServer:
    """The UDP socket of a reflector and the loop that sends at every slot.

    Counters: `send_failed`, `receive_failed`.
    """

    def __init__(self, reflector: Reflector, clock: Clock) -> None:
        self.counters = Counters(("send_failed", "receive_failed"))
        self._reflector = reflector
        self._clock = clock
        self._socket: socket.socket | None = None

    def bind(self, host: str, port: int) -> tuple[str, int]:
        """Bind to a literal address; gives the address that was bound.  Raises `OSError`."""
        version = ipaddress.ip_address(host).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if version == 4:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        self._socket.bind((host, port))
        bound = self._socket.getsockname()
        return bound[0], bound[1]

    async def run(self) -> None:
        """Receive and send until cancelled; closes the socket."""
        assert self._socket is not None, "bind comes first"
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._drain, self._socket)
        try:
            while True:
                now = self._clock.monotonic()
                # An absolute edge each time: a late wake-up does not move the ones after it.
                await asyncio.sleep(max(0.0, self._reflector.next_deadline(now) - now))
                self._depart(self._socket)
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()

    def _drain(self, cells: socket.socket) -> None:
        now = self._clock.monotonic()
        for _ in range(_BATCH):
            try:
                datagram, source = cells.recvfrom(_DATAGRAM_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error that some earlier cell came back as; it says nothing that we would act on.
                self.counters.count("receive_failed")
                return
            self._reflector.receive(datagram, source, now)

    def _depart(self, cells: socket.socket) -> None:
        for cell, destination in self._reflector.tick(self._clock.monotonic()):
            try:
                cells.sendto(cell, cast(SocketAddress, destination))
            except OSError:
                self.counters.count("send_failed")


class TicketServer:
    """Answers one request per stream: the signed descriptor, or a ticket.

    Counters: `requests`, `garbage`, `too_many`.
    """

    def __init__(self, office: TicketOffice, signed_descriptor: Callable[[], bytes], clock: Clock) -> None:
        self.counters = Counters(("requests", "garbage", "too_many"))
        self._office = office
        self._signed_descriptor = signed_descriptor
        self._clock = clock
        self._streams = 0
        self._server: asyncio.Server | None = None

    async def listen_unix(self, path: Path) -> Path:
        """Listen on a socket file (asyncio replaces one that a crash left behind)."""
        self._server = await asyncio.start_unix_server(self._serve, path)
        return path

    async def listen_loopback(self) -> tuple[str, int]:
        """Listen on some port of the loopback address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._streams >= _TICKET_STREAMS:
                self.counters.count("too_many")
                return
            self._streams += 1
            try:
                async with asyncio.timeout(_TICKET_TIMEOUT):
                    request = await read_frame(reader, REQUEST_SIZE)
                    answer = self._office.answer(request, self._signed_descriptor, self._clock.monotonic())
                    self.counters.count("requests")
                    writer.write(frame(answer))
                    await writer.drain()
            finally:
                self._streams -= 1
        except (PeerError, TimeoutError, ConnectionError):
            self.counters.count("garbage")
        finally:
            writer.close()
