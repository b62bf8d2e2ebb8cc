"""An agent's line over real UDP, for tests of a running reflector."""

import asyncio
import socket

from relay.media_reflector import Descriptor, LineClient, LineEvent, Ticket
from relay.rtp.cell import BODY_SIZE, TICK
from tests.node.running import CLOCK, ENTROPY


class Line:
    """Runs until it is closed; what it was told is in `events`."""

    def __init__(self, descriptor: Descriptor, ticket: Ticket, code: bytes) -> None:
        self.events: list[LineEvent] = []
        self.client = LineClient(descriptor, ticket, ENTROPY, join_code=code)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(descriptor.addresses[0])
        self._task = asyncio.create_task(self._run())

    def heard(self, kind: type[LineEvent]) -> int:
        """How often it was told that."""
        return sum(isinstance(event, kind) for event in self.events)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._receive)
        start, number = CLOCK.monotonic(), 0
        while not self.client.closed:
            number += 1
            await asyncio.sleep(max(0.0, start + number * TICK - CLOCK.monotonic()))
            if self.client.crossed:
                self.client.submit(ENTROPY.token(BODY_SIZE))
            try:
                self._socket.send(self.client.next_cell(CLOCK.monotonic()))
            except ConnectionRefusedError:
                return  # Nobody is there any more.

    def _receive(self) -> None:
        try:
            datagram = self._socket.recv(2048)
        except OSError:
            return
        self.events += self.client.receive(datagram, CLOCK.monotonic())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
