"""The shell around one line: a UDP socket, a pace, and a `LineClient` that decides what each cell is.

Every tick one cell leaves, from the first to the last.  A cell is sealed a little ahead of its departure, so that the
work of sealing does not move the moment of sending.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from relay.chaff import Pace
from relay.core import Clock, TransportUnavailable, get_logger
from relay.media_reflector import LineClient, LineEvent, LineLost
from relay.rtp.cell import CELL_SIZE

SEAL_AHEAD = 0.003
"""Seconds before its departure at which a cell is sealed."""

_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_PROBE = 3

_log = get_logger("line")


class Line:
    """One open line of this agent.

    `source` is asked once a tick for the 131 sealed bytes of the next cell, or None for random ones.  `on_event`
    receives what the line says.
    """

    def __init__(
        self,
        client: LineClient,
        reflector: tuple[str, int],
        *,
        local_address: str,
        pace: Pace,
        clock: Clock,
        source: Callable[[], bytes | None],
        on_event: Callable[[LineEvent], None],
    ) -> None:
        self.client = client
        self._reflector = reflector
        self._local_address = local_address
        self._pace = pace
        self._clock = clock
        self._source = source
        self._on_event = on_event
        self._lost = False

    async def run(self) -> None:
        """Keep the line up until it was closed or lost.  Raises `TransportUnavailable` when no socket can be had."""
        with self._open() as endpoint:
            loop = asyncio.get_running_loop()
            loop.add_reader(endpoint.fileno(), self._drain, endpoint)
            try:
                await self._emit(endpoint)
            finally:
                loop.remove_reader(endpoint.fileno())

    def release(self) -> None:
        """Say goodbye to the reflector in the next cells, then stop."""
        self.client.close()

    def _open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._reflector[0] else socket.AF_INET
        endpoint = socket.socket(family, socket.SOCK_DGRAM)
        try:
            endpoint.setblocking(False)
            if family == socket.AF_INET:
                # No fragmentation, and no counter in the IP header that would tell this machine's lines apart.
                endpoint.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
            endpoint.bind((self._local_address, 0))
            endpoint.connect(self._reflector)
        except OSError:
            endpoint.close()
            raise TransportUnavailable("no socket for a line; check line_address") from None
        return endpoint

    async def _emit(self, endpoint: socket.socket) -> None:
        index = self._pace.index(self._clock.monotonic()) + 1
        while not self.client.closed and not self._lost:
            departure = self._pace.departure(index)
            await self._sleep_until(departure - SEAL_AHEAD)
            body = self._source()
            if body is not None:
                self.client.submit(body)
            cell = self.client.next_cell(departure)
            await self._sleep_until(departure)
            with contextlib.suppress(OSError):
                # A refused or unreachable port shows itself as silence, which the client measures.
                endpoint.send(cell)
            self._deliver(self.client.events())
            index = max(index, self._pace.index(self._clock.monotonic())) + 1

    def _drain(self, endpoint: socket.socket) -> None:
        while True:
            try:
                datagram = endpoint.recv(CELL_SIZE + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return
            self._deliver(self.client.receive(datagram, self._clock.monotonic()))

    def _deliver(self, events: list[LineEvent]) -> None:
        for event in events:
            if isinstance(event, LineLost):
                self._lost = True
            self._on_event(event)

    async def _sleep_until(self, moment: float) -> None:
        delay = moment - self._clock.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
