"""Agents that open lines one after another: a real handshake each, proof of the address, first cell, farewell."""

import heapq
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from relay.core import Clock
from relay.media_reflector import LineClient
from relay.rtp.cell import TICK

_SOCKETS = 512
"""Each is one agent's address at a time; a line's last cells reach nobody who minds."""
_UNDER_WAY = 0.12
"""Seconds that a handshake may take: no more are begun than end in that time, so that agents whose own core is full
open fewer lines instead of repeating themselves."""
_ROOM = 256


@dataclass(slots=True)
class Opened:
    """How many handshakes were begun, and how many ended with a line whose cells came."""

    begun: int = 0
    opened: int = 0
    given_up: int = 0


@dataclass(slots=True)
class _Agent:
    client: LineClient
    began: float
    proved: bool = False


class Agents:
    """A crowd of agents towards one reflector.  Clients are made beforehand: their keys are not what is measured."""

    def __init__(self, port: int, clients: list[LineClient], clock: Clock) -> None:
        self._clients = deque(clients)
        self._clock = clock
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for number in range(_SOCKETS):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((f"127.2.{number >> 8}.{number & 255}", 0))
            one.connect(("127.0.0.1", port))
            one.setblocking(False)
            self._sockets[one.fileno()] = one
            self._epoll.register(one.fileno(), select.EPOLLIN)
        self._free = deque(self._sockets)
        self._busy: dict[int, _Agent] = {}
        self._due: list[tuple[float, int]] = []
        self._found = Opened()

    def open(self, rate: float) -> Callable[[float], None]:
        """Something to call with a moment: opens `rate` lines a second until then."""

        at_once = min(_SOCKETS, max(8, round(rate * _UNDER_WAY)))

        def until(moment: float) -> None:
            start = self._clock.monotonic()
            while (now := self._clock.monotonic()) < moment:
                due = round((now - start) * rate) - self._found.begun
                for _ in range(min(due, at_once - len(self._busy), len(self._clients))):
                    self._begin(now)
                self._send(now)
                for number, _ in self._epoll.poll(0.001, 64):
                    self._receive(number)

        return until

    def close(self) -> Opened:
        """End it; what was done."""
        self._epoll.close()
        for one in self._sockets.values():
            one.close()
        return self._found

    def _begin(self, now: float) -> None:
        number = self._free.popleft()
        self._busy[number] = _Agent(self._clients.popleft(), now)
        self._found.begun += 1
        heapq.heappush(self._due, (now, number))

    def _send(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            agent = self._busy[number]
            if agent.proved:
                agent.client.close()
            self._sockets[number].send(agent.client.next_cell(now))
            if agent.proved or agent.client.lost:
                # One farewell of three will do here; whoever stays silent expires.
                self._found.given_up += agent.client.lost
                del self._busy[number]
                self._free.append(number)
            else:
                heapq.heappush(self._due, (due + TICK, number))

    def _receive(self, number: int) -> None:
        datagram = self._sockets[number].recv(_ROOM)
        agent = self._busy.get(number)
        if agent is None:
            return
        opened = agent.client.opened
        agent.client.receive(datagram, self._clock.monotonic())
        if opened and not agent.proved and agent.client.counters["cells_received"] > 1:
            agent.proved = True
            self._found.opened += 1
