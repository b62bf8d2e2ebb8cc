"""Honest agents that open a line each, one after another, while somebody floods the reflector: do they get in?"""

import select
import socket
from dataclasses import dataclass, field

from relay.core import Clock, Entropy
from relay.media_reflector import Descriptor, LineClient, LineLost, Ticket
from relay.rtp.cell import CELL_SIZE, TICK

AT_ONCE = 3
"""Agents that try at the same time."""


@dataclass(slots=True)
class Openings:
    """What became of them: seconds until the line's own first cell came, one for each that got in."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    cookies: int = 0
    sent: int = 0

    @property
    def tried(self) -> int:
        return len(self.seconds) + self.failed

    @property
    def share(self) -> float:
        return len(self.seconds) / self.tried if self.tried else float("nan")


class _Newcomer:
    """One agent, from its first cell to its farewell."""

    def __init__(self, client: LineClient, port: int, now: float, first: float) -> None:
        self.client, self.began, self.due = client, now, first
        self.opened: float | None = None
        self.lost = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(("127.0.0.1", port))

    def send(self, now: float) -> None:
        self.socket.send(self.client.next_cell(now))
        self.lost = self.lost or any(isinstance(event, LineLost) for event in self.client.events())
        self.due += TICK

    def receive(self, now: float) -> None:
        try:
            self.client.receive(self.socket.recv(CELL_SIZE + 1), now)
        except (BlockingIOError, ConnectionRefusedError):
            return
        # The first authentic thing is the answer; the second is a cell of the line, which has proved itself.
        if self.opened is None and self.client.counters["cells_received"] > 1:
            self.opened = now - self.began
            self.client.close()

    @property
    def done(self) -> bool:
        return self.client.closed or (self.lost and self.opened is None)


def open_lines(
    descriptor: Descriptor, tickets: list[Ticket], port: int, until: float, clock: Clock, entropy: Entropy
) -> Openings:
    """Use up `tickets` from their end, until monotonic `until`; who is still at it then counts neither way."""
    found, active = Openings(), list[_Newcomer]()
    while (now := clock.monotonic()) < until:
        while len(active) < AT_ONCE and tickets:
            # Each at a moment of its own: agents do not know the reflector's ticks.
            start = now + entropy.uniform(0.0, TICK)
            active.append(_Newcomer(LineClient(descriptor, tickets.pop(), entropy), port, now, start))
        for one in active:
            if one.due <= now and not one.done:
                one.send(now)
                found.sent += 1
        for one in [one for one in active if one.done]:
            active.remove(one)
            _settle(one, found)
        sockets = {one.socket: one for one in active}
        soonest = min((one.due for one in active), default=now + TICK)
        for ready in select.select(list(sockets), [], [], max(0.0, soonest - clock.monotonic()))[0]:
            sockets[ready].receive(clock.monotonic())
    for one in active:
        one.socket.close()
    return found


def _settle(one: _Newcomer, found: Openings) -> None:
    one.socket.close()
    found.cookies += one.client.counters["cookies_received"]
    if one.opened is None:
        found.failed += 1
    else:
        found.seconds.append(one.opened)
