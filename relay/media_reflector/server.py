"""The reflector's sockets (asyncio): those for cells, which the data plane serves, and one for tickets."""

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from relay.core import Clock, Counters, MisuseError, PeerError
from relay.media_reflector.forwarding.face import Forwarding
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.reflector import WATCH_EVERY, Reflector
from relay.media_reflector.ticket_messages import REQUEST_SIZE
from relay.wire import frame, read_frame

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
"""ip(7): don't fragment, and IP identification zero: no counter of packets that an observer could read."""
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
"""socket(7): beyond the limit that the system sets for everybody, for who is allowed to."""
_SOCKET_BUFFER = 1 << 24
"""Bytes: a tenth of a second of 20,000 lines, with what the kernel counts for each datagram."""
_UPCALLS_AT_ONCE = 16
"""Upcalls decided before the event loop gets its turn: a handshake takes a fifth of a millisecond."""

TICKET_TIMEOUT = 20.0
TICKET_STREAMS = 64
"""Streams whose request is waited for at one time, and for how long.  Whoever comes beside them is told another moment,
whatever they ask."""
PUT_OFF_TIMEOUT = 5.0
PUT_OFF_STREAMS = 192
"""Those at one time, and how long each may take to hear it; whoever comes beside these too is told nothing."""
STREAM_DROPS = ("streams_put_off", "streams_shut", "streams_broken")
"""Every reason for which a stream brings its asker nothing: told another moment, told nothing, no whole request came in
time."""


class CellServer:
    """The UDP sockets of a reflector, its data plane's workers, and the loop that decides what they hand up."""

    def __init__(self, reflector: Reflector, forwarding: Forwarding, clock: Clock) -> None:
        self._reflector = reflector
        self._forwarding = forwarding
        self._clock = clock
        self._sockets: list[list[socket.socket]] = []
        self._next: asyncio.Handle | None = None
        """When the next upcalls are decided, while there are some."""
        self._left_over = False

    def bind(self, addresses: Sequence[tuple[str, int]], workers: int = 1) -> list[tuple[str, int]]:
        """Bind every worker to the same literal addresses, at most one of IPv4 and one of IPv6; gives what was bound.

        Raises `OSError` when one cannot be bound, `MisuseError` on addresses that do not go together.
        """
        versions = [ipaddress.ip_address(host).version for host, _ in addresses]
        if self._sockets or workers < 1 or not addresses or len(set(versions)) < len(versions):
            raise MisuseError("bind once: one IPv4 address, one IPv6 address, or one of each")
        if workers > 1:
            # Once without sharing: else we would share a port with whoever of this user has it, without a word.
            for host, port in addresses:
                _bind(host, port, shared=False).close()
        with contextlib.ExitStack() as opened:
            bound = list(addresses)
            for _ in range(workers):
                # What the system chose for the first worker is asked for by the others.
                ends = [opened.enter_context(_bind(*address, shared=workers > 1)) for address in bound]
                bound = [end.getsockname()[:2] for end in ends]
                self._sockets.append(ends)
            opened.pop_all()
        return bound

    async def run(self) -> None:
        """Serve until cancelled; closes the sockets."""
        assert self._sockets, "bind comes first"
        loop = asyncio.get_running_loop()
        upcalls = self._forwarding.start(self._sockets)
        loop.add_reader(upcalls, self._hear, upcalls)
        try:
            while True:
                await asyncio.sleep(WATCH_EVERY)
                self._reflector.watch(self._clock.monotonic())
        finally:
            loop.remove_reader(upcalls)
            if self._next is not None:
                self._next.cancel()
            self._forwarding.stop()
            for end in (end for worker in self._sockets for end in worker):
                end.close()
            self._sockets.clear()

    def _hear(self, upcalls: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(upcalls, 8)
        if self._next is None:
            self._decide()

    def _decide(self) -> None:
        """A few upcalls, then the others of this event loop (tickets, and whoever shares it), until none is left.

        What cannot be decided in time waits; there is room for so much of it, and what a line says overtakes first
        messages.
        """
        self._next = None
        new = self._forwarding.upcalls()
        if new or self._left_over:
            self._left_over = self._reflector.handle(new, self._clock.monotonic(), _UPCALLS_AT_ONCE)
            self._next = asyncio.get_running_loop().call_soon(self._decide)


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket for cells; `shared` with other workers, among which the kernel deals datagrams out by their source."""
    version = ipaddress.ip_address(host).version
    end = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        end.setblocking(False)
        if version == 4:
            end.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            end.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        if shared:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for forced, limited in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            end.setsockopt(socket.SOL_SOCKET, limited, _SOCKET_BUFFER)
            with contextlib.suppress(PermissionError):
                end.setsockopt(socket.SOL_SOCKET, forced, _SOCKET_BUFFER)
        end.bind((host, port))
    except OSError:
        end.close()
        raise
    return end


class TicketServer:
    """Answers one request per stream: the signed descriptor, or a ticket, or another moment."""

    def __init__(self, office: TicketOffice, signed_descriptor: Callable[[], bytes], clock: Clock) -> None:
        self.counters = Counters((*STREAM_DROPS, "requests"))
        self._office = office
        self._signed_descriptor = signed_descriptor
        self._clock = clock
        self._answering = self._putting_off = 0
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
            if self._answering < TICKET_STREAMS:
                await self._answer(reader, writer)
            elif self._putting_off < PUT_OFF_STREAMS:
                await self._put_off(reader, writer)
            else:
                self.counters.count("streams_shut")
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering += 1
        try:
            async with asyncio.timeout(TICKET_TIMEOUT):
                request = await read_frame(reader, REQUEST_SIZE)
                self.counters.count("requests")
                # What is no request the office has counted, and whoever sent it is told nothing.
                with contextlib.suppress(PeerError):
                    answer = self._office.answer(request, self._signed_descriptor, self._clock.monotonic())
                    writer.write(frame(answer))
                    await writer.drain()
        except (PeerError, TimeoutError, ConnectionError):
            self.counters.count("streams_broken")
        finally:
            self._answering -= 1

    async def _put_off(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say so at once, then let the request come: a stream that is closed on bytes that nobody read may lose the
        answer on its way."""
        self._putting_off += 1
        self.counters.count("streams_put_off")
        try:
            with contextlib.suppress(PeerError, TimeoutError, ConnectionError):
                async with asyncio.timeout(PUT_OFF_TIMEOUT):
                    writer.write(frame(self._office.put_off()))
                    await read_frame(reader, REQUEST_SIZE)
        finally:
            self._putting_off -= 1
