"""A reflector and its agents on virtual time: no sockets, no waiting, every step of one millisecond."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relay.core import SeededEntropy
from relay.media_reflector import (
    BodyReceived,
    Descriptor,
    LineClient,
    LineEvent,
    Reflector,
    ReflectorKeys,
    Ticket,
)
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.tickets import parse_answer, ticket_request

ONION = "a" * 56
WALL = 1_800_000_000.0
CODE = b"join code of 16 "
STEP = 0.001


@dataclass
class Agent:
    """One line's far end: a client, its slot in the tick, and everything it saw."""

    name: str
    line: LineClient
    slot: int
    events: list[LineEvent] = field(default_factory=list)
    received: list[tuple[float, bytes]] = field(default_factory=list)
    sent: list[tuple[float, bytes]] = field(default_factory=list)
    silent: bool = False
    speak: Callable[[], bytes] | None = None

    @property
    def bodies(self) -> list[bytes]:
        return [event.body for event in self.events if isinstance(event, BodyReceived)]

    def saw(self, kind: type) -> bool:
        return any(isinstance(event, kind) for event in self.events)


class World:
    """Drives `receive` and `tick` as sockets and a clock would."""

    def __init__(self, *, capacity: int = 100, seed: int = 1) -> None:
        self.now = 1000.0
        self.entropy = SeededEntropy(seed)
        self.keys = ReflectorKeys.generate(self.entropy)
        self.office = self.keys.office(capacity)
        self.reflector = Reflector(self.keys.static_key, self.office, self.entropy, capacity=capacity)
        signed = self.keys.signed_descriptor(ONION, "127.0.0.1", 7210, WALL)
        self.signed = signed
        self.reference = ReflectorReference(ONION, self.keys.public_identity)
        self.descriptor: Descriptor = verify_descriptor(signed, self.reference, WALL)
        self.agents: dict[str, Agent] = {}
        self.stray: list[tuple[bytes, object]] = []
        """Cells that left for somebody who is no agent."""
        self._steps = 0

    def ticket(self) -> Ticket:
        request, secret = ticket_request(self.descriptor, self.entropy)
        answer = parse_answer(self.office.answer(request, lambda: self.signed, self.now))
        return Ticket(secret, self.now + answer.lifetime)

    def agent(self, name: str, *, slot: int = 3, code: bytes | None = None) -> Agent:
        line = LineClient(self.descriptor, self.ticket(), self.entropy, join_code=code)
        self.agents[name] = Agent(name, line, slot)
        return self.agents[name]

    def step(self) -> None:
        """One millisecond."""
        self.now += STEP
        self._steps += 1
        for agent in self.agents.values():
            if self._steps % 20 == agent.slot and not agent.silent and not agent.line.closed:
                self.emit(agent)
        for cell, destination in self.reflector.tick(self.now):
            self._deliver(cell, destination)

    def emit(self, agent: Agent) -> None:
        if agent.speak is not None and agent.line.crossed:
            agent.line.submit(agent.speak())
        cell = agent.line.next_cell(self.now)
        agent.sent.append((self.now, cell))
        agent.events += agent.line.events()
        self.reflector.receive(cell, agent.name, self.now)

    def _deliver(self, cell: bytes, destination: object) -> None:
        agent = self.agents.get(str(destination))
        if agent is None:
            self.stray.append((cell, destination))
            return
        agent.received.append((self.now, cell))
        agent.events += agent.line.receive(cell, self.now)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.step()

    def count(self, name: str) -> int:
        return self.reflector.counters[name]

    def crossed_pair(self) -> tuple[Agent, Agent]:
        alice, bob = self.agent("alice", slot=3, code=CODE), self.agent("bob", slot=11, code=CODE)
        self.run(0.5)
        assert alice.line.crossed
        assert bob.line.crossed
        return alice, bob


@pytest.fixture
def world() -> World:
    """A fresh world; its time is its own."""
    return World()


@pytest.fixture
def make_world() -> type[World]:
    """For tests that want another capacity or seed."""
    return World
