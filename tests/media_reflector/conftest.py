"""A reflector and its agents on virtual time: no sockets, no waiting, every step of one millisecond."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relay.core import ManualClock, SeededEntropy
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
from relay.media_reflector.forwarding.face import Address, Forwarding, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.handouts import BackupSource
from relay.media_reflector.line import Line
from relay.media_reflector.ticket_messages import parse_answer, ticket_request
from tests.media_reflector.two_reflectors import Pair
from tests.native_code import native_plane

ONION = "a" * 56
WALL = 1_800_000_000.0
CODE = b"join code of 16 "
STEPS = 1000
"""Steps in a second; each is one slot of the data plane."""


@dataclass
class Agent:
    """One line's far end: a client, its slot in the tick, and everything it saw.

    `place` is the name of the address that its cells leave from and that it hears.
    """

    name: str
    line: LineClient
    slot: int
    place: str
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

    def move(self, place: str) -> None:
        """Another network: nothing of the old one reaches it any more."""
        self.place = place
        self.line.move()


class World:
    """Drives reflector and data plane as sockets and a clock would.  Addresses have names.

    `delay` is the time that a cell takes, each way.  `loses(cell, to_reflector)` eats cells.
    """

    def __init__(
        self,
        *,
        capacity: int = 100,
        seed: int = 1,
        forwarding: Forwarding | None = None,
        backup: BackupSource | None = None,
    ) -> None:
        # Not at the edge of a tick, where rounding decides which one it is.
        self.steps = 1000 * STEPS + 7
        self.capacity = capacity
        self.entropy = SeededEntropy(seed)
        self.keys = ReflectorKeys.generate(self.entropy)
        self.backup = backup
        signed = self.keys.signed_descriptor(ONION, [("127.0.0.1", 7210)], WALL, capacity=capacity)
        self.signed = signed
        self.reference = ReflectorReference(ONION, self.keys.public_identity)
        self.descriptor: Descriptor = verify_descriptor(signed, self.reference, WALL)
        self.agents: dict[str, Agent] = {}
        self.stray: list[tuple[bytes, str]] = []
        """Cells that left for a place where no agent is."""
        self.delay = 0.0
        self.loses: Callable[[bytes, bool], bool] = lambda cell, to_reflector: False
        self._places: dict[str, Address] = {}
        self._names: dict[Address, str] = {}
        self._under_way: list[tuple[float, int, bytes, str, bool]] = []
        self._order = itertools.count()
        self.start(forwarding)

    def start(self, forwarding: Forwarding | None = None) -> None:
        """A fresh process: a new data plane, a new office, a new reflector, with the same long-lived keys."""
        self.forwarding = forwarding or PlainForwarding(ManualClock())
        self.office = self.keys.office(self.capacity, self.entropy, self.forwarding)
        self.reflector = Reflector(
            self.keys.static_key,
            self.office,
            self.forwarding,
            self.entropy,
            capacity=self.capacity,
            backup=self.backup,
        )

    @property
    def now(self) -> float:
        return self.steps / STEPS

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing runs."""
        self.steps += round(seconds * STEPS)

    def place(self, name: str) -> Address:
        """The address of that name."""
        if name not in self._places:
            number = len(self._places) + 1
            address = pack_address(f"10.0.{number >> 8}.{number & 255}", 4000 + number % 1000)
            self._places[name] = address
            self._names[address] = name
        return self._places[name]

    def ticket(self) -> Ticket:
        request, secret = ticket_request(self.descriptor, self.entropy)
        answer = parse_answer(self.office.answer(request, lambda: self.signed, self.now))
        return Ticket.fresh(secret, self.now + answer.seconds)

    def client(self, ticket: Ticket | None = None, code: bytes | None = None) -> LineClient:
        return LineClient(self.descriptor, ticket or self.ticket(), self.entropy, join_code=code)

    def agent(
        self, name: str, *, slot: int = 3, code: bytes | None = None, ticket: Ticket | None = None
    ) -> Agent:
        self.agents[name] = Agent(name, self.client(ticket, code), slot, name)
        return self.agents[name]

    def receive(self, datagram: bytes, place: str) -> None:
        """A datagram comes from `place`, and what it leads to is decided."""
        self.forwarding.receive([(datagram, self.place(place))], self.now)
        self.reflector.handle(self.forwarding.upcalls(), self.now)

    def step(self) -> None:
        """One millisecond."""
        self.steps += 1
        for agent in self.agents.values():
            if self.steps % 20 == agent.slot and not agent.silent and not agent.line.closed:
                self.emit(agent)
        if self.steps % 100 == 0:
            self.reflector.watch(self.now)
        for cell, destination in self.forwarding.slot(self.steps, self.now):
            self._send(cell, self._names[destination], to_reflector=False)
        # Upcalls may come of a slot too (expiry).
        self.reflector.handle(self.forwarding.upcalls(), self.now)
        while self._under_way and self._under_way[0][0] <= self.now:
            _, _, cell, place, to_reflector = heapq.heappop(self._under_way)
            self._deliver(cell, place, to_reflector)

    def emit(self, agent: Agent) -> None:
        if agent.speak is not None and agent.line.crossed:
            agent.line.submit(agent.speak())
        cell = agent.line.next_cell(self.now)
        agent.sent.append((self.now, cell))
        agent.events += agent.line.events()
        self._send(cell, agent.place, to_reflector=True)

    def _send(self, cell: bytes, place: str, *, to_reflector: bool) -> None:
        if self.loses(cell, to_reflector):
            return
        if self.delay:
            entry = (self.now + self.delay, next(self._order), cell, place, to_reflector)
            heapq.heappush(self._under_way, entry)
        else:
            self._deliver(cell, place, to_reflector)

    def _deliver(self, cell: bytes, place: str, to_reflector: bool) -> None:
        if to_reflector:
            self.receive(cell, place)
            return
        agent = next((agent for agent in self.agents.values() if agent.place == place), None)
        if agent is None:
            self.stray.append((cell, place))
            return
        agent.received.append((self.now, cell))
        agent.events += agent.line.receive(cell, self.now)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * STEPS)):
            self.step()

    def tick(self) -> list[tuple[bytes, str]]:
        """One tick in which nobody sends: what leaves in it, and for which place."""
        leaving: list[tuple[bytes, str]] = []
        for _ in range(20):
            self.steps += 1
            for cell, destination in self.forwarding.slot(self.steps, self.now):
                leaving.append((cell, self._names[destination]))
        return leaving

    def count(self, name: str) -> int:
        return self.reflector.counts()[name]

    def held(self, agent: Agent) -> Line:
        """The reflector's side of an agent's line."""
        address = self.place(agent.place)
        (line,) = [line for line in self.reflector._lines.values() if line.address == address]
        return line

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


def _plain() -> Forwarding:
    return PlainForwarding(ManualClock())


def _native() -> Forwarding:
    return native_plane()


@pytest.fixture(params=[_plain, _native], ids=["plain", "native"])
def make_plane(request: pytest.FixtureRequest) -> Callable[[], Forwarding]:
    """Makes a data plane, of the one kind and then of the other."""
    maker: Callable[[], Forwarding] = request.param
    return maker


@pytest.fixture
def pair() -> Pair:
    """Two reflectors whose trunk is open."""
    opened = Pair()
    opened.open()
    return opened
