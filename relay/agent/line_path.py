"""One path of a line: a socket at one address of this machine, and the process that sends on it at its moments.

A line that moves gets a new path: another socket, another sender, and nothing that would tie it to the one before.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from relay.agent.pacer import RECORD
from relay.core import TransportUnavailable, spawn
from relay.rtp.cell import CELL_SIZE

DRAIN_AT_ONCE = 32
"""Datagrams read in one go: a reflector that floods must not keep our own cells from leaving."""

_END_SECONDS = 2.0
_PACER = Path(__file__).with_name("pacer.py")

_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_PROBE = 3


def source_address(reflector: tuple[str, int]) -> str | None:
    """Which of its addresses this machine would send from to the reflector now; None when there is no way at all.

    Nothing is sent: a UDP socket is connected and closed.
    """
    try:
        with socket.socket(_family(reflector), socket.SOCK_DGRAM) as probe:
            probe.connect(reflector)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _family(reflector: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in reflector[0] else socket.AF_INET


class LinePath:
    """Open until `close`.  `on_cell` gets every datagram that comes from the reflector.

    `no_way` is true once a cell could not leave because this machine's own network has changed.
    """

    def __init__(
        self, reflector: tuple[str, int], local_address: str, on_cell: Callable[[bytes], None]
    ) -> None:
        """Raises `TransportUnavailable`.  An empty `local_address` leaves the choice to this machine's routes."""
        self.no_way = False
        self._on_cell = on_cell
        self._socket = _open(reflector, local_address)
        self.source = str(self._socket.getsockname()[0])
        number = self._socket.fileno()
        arguments = [sys.executable, "-I", "-S", "-u", str(_PACER), str(number)]
        try:
            self._pacer = spawn(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, keep=[number])
        except TransportUnavailable:
            self._socket.close()
            raise
        assert self._pacer.stdin is not None
        assert self._pacer.stdout is not None
        self._records, self._trouble = self._pacer.stdin.fileno(), self._pacer.stdout.fileno()
        for pipe in (self._records, self._trouble):
            os.set_blocking(pipe, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(number, self._drain)
        loop.add_reader(self._trouble, self._hear)

    def send(self, departure: float, cell: bytes) -> None:
        """Have a cell leave at that moment.  Raises `TransportUnavailable`."""
        try:
            os.write(self._records, RECORD.pack(departure, cell))
        except OSError:
            raise TransportUnavailable("the sender of a line's cells ended") from None

    async def close(self) -> None:
        """Let the last cells out, then be sure that the sender is gone."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        loop.remove_reader(self._trouble)
        self._socket.close()
        pacer = self._pacer
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
            assert pacer.stdout is not None
            pacer.stdout.close()

    def _drain(self) -> None:
        for _ in range(DRAIN_AT_ONCE):
            try:
                datagram = self._socket.recv(CELL_SIZE + 1)
            except OSError:
                return
            self._on_cell(datagram)

    def _hear(self) -> None:
        """The sender says something only when a cell has no way out; and at its end."""
        try:
            said = os.read(self._trouble, 4096)
        except OSError:
            return
        if said:
            self.no_way = True
        else:
            asyncio.get_running_loop().remove_reader(self._trouble)


def _open(reflector: tuple[str, int], local_address: str) -> socket.socket:
    family = _family(reflector)
    endpoint = socket.socket(family, socket.SOCK_DGRAM)
    try:
        endpoint.setblocking(False)
        if family == socket.AF_INET:
            # No fragmentation, and no counter in the IP header that would tell this machine's lines apart.
            endpoint.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        endpoint.bind((local_address, 0))
        endpoint.connect(reflector)
    except OSError:
        endpoint.close()
        raise TransportUnavailable("no socket for a line; check line_address") from None
    return endpoint
