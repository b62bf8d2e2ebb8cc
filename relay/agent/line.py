"""The shell around one line: a UDP socket, a pace, and a `LineClient` that decides what each cell is.

Every tick one cell leaves, from the first to the last.  A cell is sealed here a little ahead of its departure; what
sends it, at its moment, is `relay.agent.pacer`, a process that nothing disturbs.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from relay.agent.pacer import RECORD
from relay.chaff import Pace
from relay.core import Child, Clock, Entropy, TransportUnavailable, get_logger, spawn
from relay.media_reflector import LineClient, LineEvent, LineLost
from relay.rtp.cell import CELL_SIZE

SEAL_AHEAD = 0.010
"""Seconds before its departure at which a cell is sealed and handed to the pacer."""

BLUR = 0.002
"""Seconds over which an agent's departures are blurred (`relay.chaff.Pace`)."""

START_UP = 0.1
"""Seconds given to the pacer before the first cell is due, so that the first ones do not leave in a burst."""

DRAIN_AT_ONCE = 32
"""Datagrams read in one go: a reflector that floods must not keep our own cells from leaving."""

_END_SECONDS = 2.0
_PACER = Path(__file__).with_name("pacer.py")

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
        entropy: Entropy,
        source: Callable[[], bytes | None],
        on_event: Callable[[LineEvent], None],
    ) -> None:
        self.client = client
        self._reflector = reflector
        self._local_address = local_address
        self._pace = pace
        self._clock = clock
        self._entropy = entropy
        self._source = source
        self._on_event = on_event
        self._lost = False
        self._complained = False

    async def run(self) -> None:
        """Keep the line up until it was closed or lost.  Raises `TransportUnavailable` when it cannot be had."""
        with self._open() as endpoint:
            pacer = self._start_pacer(endpoint)
            loop = asyncio.get_running_loop()
            loop.add_reader(endpoint.fileno(), self._drain, endpoint)
            try:
                await self._emit(pacer)
            finally:
                loop.remove_reader(endpoint.fileno())
                await _end(pacer)

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

    def _start_pacer(self, endpoint: socket.socket) -> Child:
        number = endpoint.fileno()
        arguments = [sys.executable, "-I", "-S", "-u", str(_PACER), str(number)]
        pacer = spawn(arguments, stdin=subprocess.PIPE, keep=[number])
        assert pacer.stdin is not None
        os.set_blocking(pacer.stdin.fileno(), False)
        return pacer

    async def _emit(self, pacer: Child) -> None:
        assert pacer.stdin is not None
        pipe = pacer.stdin.fileno()
        index = self._pace.index(self._clock.monotonic() + START_UP) + 1
        while not self.client.closed and not self._lost:
            departure = self._pace.departure(index)
            await self._sleep_until(departure - SEAL_AHEAD)
            self._submit()
            try:
                os.write(
                    pipe,
                    RECORD.pack(self._pace.blurred(index, self._entropy), self.client.next_cell(departure)),
                )
            except OSError:
                raise TransportUnavailable("the sender of a line's cells ended") from None
            self._deliver(self.client.events())
            index = max(index, self._pace.index(self._clock.monotonic())) + 1

    def _submit(self) -> None:
        """Whatever goes wrong at the source, the cell leaves: with random bytes."""
        try:
            body = self._source()
            if body is not None:
                self.client.submit(body)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say once, not fifty times a second, what went wrong."""
        if not self._complained:
            self._complained = True
            _log.error("a line goes on without its call", kind=type(error).__name__)

    def _drain(self, endpoint: socket.socket) -> None:
        for _ in range(DRAIN_AT_ONCE):
            try:
                datagram = endpoint.recv(CELL_SIZE + 1)
            except OSError:
                return
            self._deliver(self.client.receive(datagram, self._clock.monotonic()))

    def _deliver(self, events: list[LineEvent]) -> None:
        for event in events:
            if isinstance(event, LineLost):
                self._lost = True
            try:
                self._on_event(event)
            except Exception as error:
                self._complain(error)

    async def _sleep_until(self, moment: float) -> None:
        delay = moment - self._clock.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)


async def _end(pacer: Child) -> None:
    """Let the last cells out, then be sure that the process is gone."""
    assert pacer.stdin is not None
    pacer.stdin.close()
    try:
        await asyncio.to_thread(pacer.wait, _END_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if pacer.poll() is None:
            pacer.kill()
            pacer.wait()
