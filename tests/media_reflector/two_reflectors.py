"""Two reflectors with a trunk and their agents on virtual time: no sockets, no waiting, one millisecond a step."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.core import ManualClock, SeededEntropy
from relay.media_reflector import (
    BodyReceived,
    JoinRefused,
    LineClient,
    LineEvent,
    Reflector,
    ReflectorKeys,
    Ticket,
    TicketKind,
    verify_descriptor,
)
from relay.media_reflector.descriptor import ReflectorReference
from relay.media_reflector.forwarding.face import Address, Forwarding, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.ticket_messages import RequestKind, parse_answer, peer_request, ticket_request
from relay.media_reflector.trunk import Trunks
from relay.rtp.cell import BODY_SIZE

ONION = "a" * 56
WALL = 1_800_000_000.0
CODE = b"join code of 16 "
OTHER_CODE = b"another code: 16"
STEPS = 1000


@dataclass
class Agent:
    """One line's far end, its slot in the tick, and everything it saw."""

    name: str
    site: "Site"
    line: LineClient
    slot: int
    address: Address
    events: list[tuple[float, LineEvent]] = field(default_factory=list)
    speak: Callable[[], bytes] | None = None
    silent: bool = False

    @property
    def bodies(self) -> list[tuple[float, bytes]]:
        return [(at, event.body) for at, event in self.events if isinstance(event, BodyReceived)]

    @property
    def refusals(self) -> list[JoinRefused]:
        return [event for _, event in self.events if isinstance(event, JoinRefused)]


def numbered() -> Callable[[], bytes]:
    """Bodies that count up."""
    numbers = itertools.count()
    return lambda: (b"number %d" % next(numbers)).ljust(BODY_SIZE, b".")


def heard(agent: Agent) -> list[int]:
    """The numbers of those that arrived."""
    marked = [body.rstrip(b".") for _, body in agent.bodies if body.startswith(b"number ")]
    return [int(body.removeprefix(b"number ")) for body in marked]


class Site:
    """One reflector: long-lived keys and an address; `start` makes the process."""

    def __init__(self, number: int, pair: "Pair", slots: int, capacity: int) -> None:
        self.name = f"reflector {number}"
        self.address = pack_address(f"10.9.0.{number}", 7210)
        self.entropy = pair.entropy
        self.keys = ReflectorKeys.generate(pair.entropy)
        self.identity = self.keys.public_identity
        self.slots = slots
        self.capacity = capacity
        self.dead = False
        self.starts = 0
        signed = self.keys.signed_descriptor(ONION, [(f"10.9.0.{number}", 7210)], WALL, capacity=capacity)
        self.signed = signed
        self.descriptor = verify_descriptor(signed, ReflectorReference(ONION, self.identity), WALL)

    def start(self, other: "Site", make: Callable[[], Forwarding]) -> None:
        self.dead = False
        self.starts += 1
        self.forwarding = make()
        self.office = self.keys.office(self.capacity, self.entropy, self.forwarding)
        self.office.accept_peers([other.identity])
        self.trunks = Trunks(self.keys.static_key, self.office, self.forwarding, self.entropy)
        self.reflector = Reflector(
            self.keys.static_key,
            self.office,
            self.forwarding,
            self.entropy,
            capacity=self.capacity,
            trunks=self.trunks,
        )
        self.trunks.serve(self.reflector)
        self.trunks.aim({other.identity: self.slots})
        self.trunks.know(other.identity, other.descriptor.static_key)

    def count(self, name: str) -> int:
        return self.reflector.counts()[name]


class Pair:
    """`delay` is the path between the two reflectors, in seconds; `loses` eats cells on it.

    `wire` holds (moment, from which site, SSRC) of every cell between them.  Cells between agents and reflectors take
    no time.
    """

    def __init__(
        self,
        *,
        slots: tuple[int, int] = (4, 4),
        seed: int = 1,
        delay: float = 0.0,
        capacity: int = 100,
        make: Callable[[], Forwarding] = lambda: PlainForwarding(ManualClock()),
    ) -> None:
        self.steps = 1000 * STEPS
        self.entropy = SeededEntropy(seed)
        self.delay = delay
        self.loses: Callable[[Site, bytes], bool] = lambda source, cell: False
        self.wire: list[tuple[float, Site, int]] = []
        self.agents: dict[str, Agent] = {}
        self._make = make
        self._under_way: list[tuple[float, int, bytes, Site]] = []
        self._order = itertools.count()
        self.sites = [Site(number, self, slots[number - 1], capacity) for number in (1, 2)]
        self.one, self.two = self.sites
        self.restart(self.one)
        self.restart(self.two)

    @property
    def now(self) -> float:
        return self.steps / STEPS

    def other(self, site: Site) -> Site:
        return self.two if site is self.one else self.one

    def restart(self, site: Site) -> None:
        """A new process with the same long-lived keys."""
        site.start(self.other(site), self._make)

    def trunk_ticket(self, site: Site) -> Ticket:
        """What `site` fetches at the other one."""
        target = self.other(site)
        secret = self.entropy.token(32)
        request = peer_request(RequestKind.TRUNK_TICKET, secret, target.descriptor, site.keys.identity_key)
        answer = parse_answer(target.office.answer(request, lambda: target.signed, self.now))
        return Ticket.fresh(secret, self.now + answer.seconds, TicketKind.TRUNK, target.identity)

    def begin(self, site: Site | None = None) -> None:
        site = site or self.one
        target = self.other(site)
        site.trunks.begin(target.identity, self.trunk_ticket(site), target.address, self.now)

    def open(self) -> None:
        """The trunk, from the first one to the second."""
        self.begin()
        self.run(1.0)
        assert self.up

    @property
    def up(self) -> bool:
        return all(site.trunks.is_up(self.other(site).identity) for site in self.sites)

    def agent(
        self, name: str, site: Site, *, slot: int = 3, code: bytes | None = None, via: bool = False
    ) -> Agent:
        request, secret = ticket_request(site.descriptor, self.entropy)
        answer = parse_answer(site.office.answer(request, lambda: site.signed, self.now))
        ticket = Ticket.fresh(secret, self.now + answer.seconds)
        other = self.other(site).identity if via else None
        line = LineClient(site.descriptor, ticket, self.entropy, join_code=code, via=other)
        address = pack_address(f"10.8.0.{len(self.agents) + 1}", 4000)
        self.agents[name] = Agent(name, site, line, slot, address)
        return self.agents[name]

    def call(self, code: bytes = CODE, number: int = 0) -> tuple[Agent, Agent]:
        """Alice at the first, over the trunk to Bob at the second."""
        alice = self.agent(f"alice {number}", self.one, slot=(3 + number) % 20, code=code, via=True)
        bob = self.agent(f"bob {number}", self.two, slot=(11 + number) % 20, code=code)
        return alice, bob

    def crossed_pair(self) -> tuple[Agent, Agent]:
        alice, bob = self.call()
        self.run(1.0)
        assert alice.line.crossed
        assert bob.line.crossed
        return alice, bob

    # Time.

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * STEPS)):
            self.step()

    def run_until(self, condition: Callable[[], object], seconds: float) -> float:
        """Seconds until it held; fails when it does not in time."""
        start = self.now
        while not condition():
            assert self.now - start < seconds, "it does not come to pass"
            self.step()
        return self.now - start

    def step(self) -> None:
        self.steps += 1
        for agent in self.agents.values():
            if self.steps % 20 == agent.slot and not agent.silent and not agent.line.closed:
                self._emit(agent)
        for site in self.sites:
            if not site.dead:
                self._step_site(site)
        while self._under_way and self._under_way[0][0] <= self.now:
            _, _, cell, source = heapq.heappop(self._under_way)
            self._receive(self.other(source), cell, source.address)

    def _step_site(self, site: Site) -> None:
        if self.steps % 100 == 0:
            site.reflector.watch(self.now)
        for cell, destination in site.forwarding.slot(self.steps, self.now):
            if destination == self.other(site).address:
                self.wire.append((self.now, site, int.from_bytes(cell[8:12])))
                if not self.loses(site, cell):
                    entry = (self.now + self.delay, next(self._order), cell, site)
                    heapq.heappush(self._under_way, entry)
            else:
                for agent in self.agents.values():
                    if agent.address == destination:
                        self._note(agent, agent.line.receive(cell, self.now))
        site.reflector.handle(site.forwarding.upcalls(), self.now)

    def _emit(self, agent: Agent) -> None:
        if agent.speak is not None and agent.line.crossed:
            agent.line.submit(agent.speak())
        cell = agent.line.next_cell(self.now)
        self._note(agent, agent.line.events())
        self._receive(agent.site, cell, agent.address)

    def _receive(self, site: Site, cell: bytes, source: Address) -> None:
        if not site.dead:
            site.forwarding.receive([(cell, source)], self.now)
            site.reflector.handle(site.forwarding.upcalls(), self.now)

    def _note(self, agent: Agent, events: list[LineEvent]) -> None:
        agent.events += [(self.now, event) for event in events]
