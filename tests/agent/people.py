"""Two agents with phones that do what a test says, a reflector in memory, and nothing else: no Tor, no contact point.

The agents are built whole; what would leave the machine is replaced: sealed messages go from hand to hand, cells
straight into the core of a reflector.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from relay.agent import Agent, AgentSettings, ChaffSettings, ContactBook, PlainFiles
from relay.agent.calls import Calls
from relay.agent.contact_file import Contact, IntroductionRequest, Place, Whereabouts
from relay.agent.events import Value
from relay.agent.flows import Flows
from relay.agent.inbox import PAUSE
from relay.agent.line import _NEVER_OPEN
from relay.agent.meeting import Meeting, choose_meeting
from relay.agent.phone import Answered, HungUp, IncomingInvite, PhoneCall
from relay.agent.reflectors import ReflectorPool
from relay.agent.surroundings import Surroundings
from relay.core import Clock, Entropy, ManualClock, SeededEntropy, SystemEntropy, TransportUnavailable
from relay.forward_publish import PERIOD, current_period
from relay.media_reflector import (
    Descriptor,
    LineClient,
    LineEvent,
    LineLost,
    Reflector,
    ReflectorKeys,
    Ticket,
)
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.forwarding.face import SLOT_SECONDS, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.resumption import BackupMint
from relay.media_reflector.ticket_messages import RequestKind, parse_answer, peer_request, ticket_request
from relay.rtp.cell import TICK
from relay.sip.opus_offer import neutral_offer
from relay.sip.sdp import SessionDescription
from relay.sip.uri import SipUri
from tests.agent.scripted_call import TONES, Microphone, ScriptedCall
from tests.agent.virtual_time import LoopClock

ONIONS = {"alice": "a" * 56, "bob": "b" * 56}
_REFLECTOR_STEP = 0.005


class MemoryPool:
    """The reflectors of a world, with as many tickets as anybody wants."""

    def __init__(self, world: "World", names: list[str]) -> None:
        self.world = world
        self.names = names
        self.taken: list[str] = []
        self.distrusted: list[str] = []
        self.accepts_backup = True
        self.fetched = 0

    def offer(self) -> tuple[str, ...]:
        return tuple(self.names)

    def meeting(self, offered: Sequence[str]) -> Meeting | None:
        guards = {name: self.world.trunks.get(name, {}) for name in self.names}
        return choose_meeting(offered, guards, self.world.entropy)

    def trunk(self, own: str, other: str) -> bytes | None:
        return self.world.trunks.get(own, {}).get(other)

    def take(self, name: str) -> tuple[Descriptor, Ticket]:
        if name not in self.names:
            raise TransportUnavailable("no ticket for the reflector")
        self.taken.append(name)
        return self.world.descriptor, self.world.ticket()

    async def take_soon(self, name: str, patience: float) -> tuple[Descriptor, Ticket]:
        await asyncio.sleep(self.world.tor_delay)
        if self.world.site.gone:
            raise TransportUnavailable("no ticket for the reflector")
        return self.take(name)

    def backup(self, name: str) -> Descriptor | None:
        there = self.accepts_backup and len(self.world.sites) > 1
        return self.world.sites[1].descriptor if there else None

    async def fetch_at(self, descriptor: Descriptor) -> Ticket:
        await asyncio.sleep(self.world.tor_delay)
        site = next(site for site in self.world.sites if site.descriptor == descriptor)
        if site.gone:
            raise TransportUnavailable("the reflector did not answer")
        self.fetched += 1
        return site.ticket()

    def distrust(self, name: str) -> None:
        self.distrusted.append(name)


class MemoryLine:
    """Stands in for `relay.agent.line.Line`: the same duty, without a socket."""

    world: "World"

    def __init__(self, client: LineClient, reflector: tuple[str, int], **named: Any) -> None:
        self.client = client
        self._source: Callable[[], bytes | None] = named["source"]
        self._on_event: Callable[[LineEvent], None] = named["on_event"]
        self._clock: Clock = named["clock"]
        self.address = pack_address("127.0.0.1", next(self.world.ports))
        self.cells = 0
        self.site = next(site for site in self.world.sites if site.address == reflector)
        self.lost = False

    async def run(self) -> None:
        self.world.lines.append(self)
        self.world.ever.append(self)
        try:
            while not self.client.closed and not self.lost:
                body = self._source()
                if body is not None:
                    self.client.submit(body)
                now = self._clock.monotonic()
                cell = self.client.next_cell(now)
                self.cells += 1
                if not self.site.gone and not self.world.severed(self) and not self.world.loses(cell):
                    self.site.forwarding.receive([(cell, self.address)], now)
                self.deliver(self.client.events())
                await asyncio.sleep(TICK)
        finally:
            self.world.lines.remove(self)

    def release(self) -> None:
        self.client.close()

    def deliver(self, events: list[LineEvent]) -> None:
        for event in events:
            if isinstance(event, LineLost) and event.cause in _NEVER_OPEN:
                self.lost = True
            self._on_event(event)


@dataclass
class Told:
    """One event for an agent's owner."""

    name: str
    at: float
    fields: dict[str, Value]


class Person:
    """An agent, its phone, its owner; also the agent's way to send."""

    def __init__(self, world: "World", name: str, directory: Path, reflectors: list[str]) -> None:
        self.world = world
        self.name = name
        self.told: list[Told] = []
        self.sent: list[tuple[str, str, bytes]] = []
        self.waited = 0
        self.unbound = False
        self.rung: list[ScriptedCall] = []
        self.registered = True
        self.why_not = ""
        self.lose_messages = False
        self.microphone = Microphone()
        self.pool = MemoryPool(world, reflectors)
        settings = AgentSettings(
            state_directory=str(directory / name),
            name=name,
            contact_points=(ONIONS[name],),
            chaff=ChaffSettings(start_delay=world.start_delay, staggered_teardown=6.0),
        )
        self.state = PlainFiles(settings.directory)
        self.agent = Agent(settings, world.clock, SystemEntropy(), self.report)
        self.agent.build(self.state)
        around = Surroundings(
            identity=self.agent._identity,
            clock=world.clock,
            entropy=SystemEntropy(),
            pool=cast(ReflectorPool, self.pool),
            messenger=self.agent._correspondence,
            report=self.report,
            tones=TONES,
            line_address="",
            media_host="127.0.0.1",
            spawn=self.agent._spawn,
            zids=self.agent._zids,
            listener=self.agent._verification,
        )
        self.calls = Calls(
            settings,
            around,
            self.agent._book,
            place=self._place,
            usable=lambda: self.why_not,
            doubt=self.agent._domains.doubt,
        )
        self.agent._calls = self.calls
        self.agent._correspondence.join(cast(Flows, self), self.calls)

    # -- what the agent needs ------------------------------------------------------------------------------------

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append(Told(event, self.world.clock.monotonic(), fields))

    async def send(self, onion: str, token: str, body: bytes) -> None:
        await asyncio.sleep(self.world.tor_delay)
        if self.lose_messages or onion in self.world.silent:
            raise TransportUnavailable("the contact point did not answer; try again")
        self.sent.append((onion, token, body))
        self.world.post(onion, token, body)

    def bound(self, onion: str, token: str) -> bool:
        return not self.unbound

    async def wait_bound(self, tokens: Sequence[tuple[str, str]], timeout: float) -> None:
        self.waited += 1
        self.unbound = False

    def _place(self, caller: str, display: str, offer: SessionDescription) -> PhoneCall | None:
        if not self.registered:
            return None
        self.rung.append(ScriptedCall(offer))
        return self.rung[-1].as_call

    # -- what a test does ----------------------------------------------------------------------------------------

    def phone_socket(self) -> Microphone:
        return self.microphone

    @property
    def book(self) -> ContactBook:
        return self.agent._book

    @property
    def dropped(self) -> int:
        """Messages that were counted and thrown away."""
        counters = self.agent._correspondence.counters
        return counters["refused"] + counters["unknown token"]

    async def receive(self, token: str, body: bytes) -> None:
        """A message comes down the flow, and is read."""
        self.agent._correspondence.receive(ONIONS[self.name], token, body)
        await asyncio.sleep(2 * PAUSE)

    def contact(self, name: str) -> Contact:
        """As it is in the book now."""
        return self.book.named(name)

    def found_as(self, name: str, account: str) -> None:
        """That contact was found at a domain, which calls it so."""
        with self.book._changing():
            self.book._replace(self.contact(name), account=account)

    def token_for(self, name: str) -> str:
        """What this person gave to that contact, for now."""
        period = current_period(self.world.clock.wall())
        return self.contact(name).token(ONIONS[self.name], period).token

    @property
    def address(self) -> str:
        return self.agent._identity.address

    def whereabouts_for(self, name: str, *more: Place) -> Whereabouts:
        """What this person's record for that contact would say now."""
        wall = self.world.clock.wall()
        period = current_period(wall)
        prekey = self.agent._prekeys.current(wall).public
        places = (*more, Place(ONIONS[self.name], self.token_for(name)))
        return Whereabouts(places, prekey, period, int(wall), int(wall) + 2 * PERIOD, int(wall))

    def offer(self) -> SessionDescription:
        return neutral_offer(address="127.0.0.1", port=self.microphone.port, session_id=7)

    def dial(
        self, name: str, offer: SessionDescription | None = None, *, host: str = "127.0.0.1"
    ) -> ScriptedCall:
        call = ScriptedCall()
        dialled = SipUri.parse(f"sip:{name}@{host}")
        self.agent._phone_event(IncomingInvite(call.as_call, dialled, offer or self.offer()))
        return call

    def pick_up(self, call: ScriptedCall) -> None:
        self.agent._phone_event(Answered(call.as_call, self.offer()))

    def events(self, name: str) -> list[Told]:
        return [told for told in self.told if told.name == name]

    async def wait(self, name: str, count: int = 1, limit: float = 90.0) -> Told:
        """The latest of `count` events `name`."""
        deadline = self.world.clock.monotonic() + limit
        while len(self.events(name)) < count:
            assert self.world.clock.monotonic() < deadline, f"{self.name} waits for {name}: {self.told}"
            await asyncio.sleep(0.01)
        return self.events(name)[-1]


def acquaint(book: ContactBook, name: str, public_key: bytes, secret: bytes, wall: float) -> Contact:
    """A contact whose whereabouts are to be found yet."""
    period = current_period(wall)
    nowhere = Whereabouts((), b"", period, 0, 0, int(wall))
    request = IntroductionRequest("0" * 8, name, public_key, secret, nowhere, "", int(wall))
    assert book.asked(request)
    return book.accept(request.id, name, SystemEntropy())


class Site:
    """One reflector in memory: its keys outlive its process, which can be gone, or another one (`start`)."""

    def __init__(self, world: "World", onion: str, port: int) -> None:
        self.entropy = world.entropy
        self.clock = world.clock
        self.gone = False
        self.address = ("127.0.0.1", port)
        self.keys = ReflectorKeys.generate(self.entropy)
        wall = self.clock.wall()
        self.reference = ReflectorReference(onion, self.keys.public_identity)
        self.signed = self.keys.signed_descriptor(onion, [self.address], wall, capacity=100)
        self.descriptor = verify_descriptor(self.signed, self.reference, wall)
        self.start()

    def start(self, sealing_keys: bytes = b"") -> None:
        """A fresh process, with the keys of tickets that were kept for it, if any."""
        self.forwarding = PlainForwarding(ManualClock())
        self.office = self.keys.office(100, self.entropy, self.forwarding)
        if sealing_keys:
            assert self.office.restore(sealing_keys)
        self.reflector = Reflector(
            self.keys.static_key, self.office, self.forwarding, self.entropy, capacity=100
        )

    def back_up(self, other: "Site", now: float) -> None:
        """Leave a key at another reflector, and hand our lines tickets for that one."""
        key = self.entropy.token(32)
        other.office.accept_peers([self.keys.public_identity])
        request = peer_request(RequestKind.BACKUP_KEY, key, other.descriptor, self.keys.identity_key)
        assert parse_answer(other.office.answer(request, lambda: other.signed, now)).seconds
        self.reflector.backup = BackupMint(key, other.keys.public_identity, self.entropy, now)

    def ticket(self) -> Ticket:
        now = self.clock.monotonic()
        request, secret = ticket_request(self.descriptor, self.entropy)
        answer = parse_answer(self.office.answer(request, lambda: self.signed, now))
        return Ticket.fresh(secret, now + answer.seconds)


@dataclass
class World:
    """Open with `open_world`.  `sites` are its reflectors: the guard, and where there is one its backup."""

    directory: Path
    start_delay: float = 1.0
    tor_delay: float = 0.05
    clock: Clock = field(default_factory=LoopClock)
    entropy: Entropy = field(default_factory=lambda: SeededEntropy("world"))
    people: dict[str, Person] = field(default_factory=dict)
    lines: list[MemoryLine] = field(default_factory=list)
    ever: list[MemoryLine] = field(default_factory=list)
    posted: list[tuple[str, bytes]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    """Contact points that take nothing."""
    loses: Callable[[bytes], bool] = lambda cell: False
    severed: Callable[[MemoryLine], bool] = lambda line: False
    """Lines whose path is broken, both ways."""
    ports: Iterator[int] = field(default_factory=lambda: itertools.count(20000))
    trunks: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The identities of the reflectors that each keeps a trunk with, all by id."""

    def __post_init__(self) -> None:
        self.sites = [Site(self, "c" * 56, 7210)]

    def add_backup(self) -> Site:
        """A second reflector, which takes the lines of the first one."""
        backup = Site(self, "e" * 56, 7211)
        self.sites.append(backup)
        self.site.back_up(backup, self.clock.monotonic())
        return backup

    @property
    def site(self) -> Site:
        return self.sites[0]

    @property
    def reflector(self) -> Reflector:
        return self.site.reflector

    @property
    def forwarding(self) -> PlainForwarding:
        return self.site.forwarding

    @property
    def given_up(self) -> int:
        """Cells that reflectors let go: of two that wait for one line the older one, where lines meet or stay so."""
        counts = [site.forwarding.counters() for site in self.sites]
        return sum(count[name] for count in counts for name in ("queue_trimmed", "queue_full"))

    @property
    def descriptor(self) -> Descriptor:
        return self.site.descriptor

    @property
    def reflector_gone(self) -> bool:
        return self.site.gone

    @reflector_gone.setter
    def reflector_gone(self, gone: bool) -> None:
        self.site.gone = gone

    def ticket(self) -> Ticket:
        return self.site.ticket()

    @property
    def alice(self) -> Person:
        return self.people["alice"]

    @property
    def bob(self) -> Person:
        return self.people["bob"]

    def post(self, onion: str, token: str, body: bytes) -> None:
        """What a contact point does: pass it on, or not."""
        self.posted.append((token, body))
        for person in self.people.values():
            if ONIONS[person.name] == onion:
                person.agent._correspondence.receive(onion, token, body)

    async def run_reflector(self) -> None:
        done = int(self.clock.monotonic() / SLOT_SECONDS)
        while True:
            now = self.clock.monotonic()
            due = int(now / SLOT_SECONDS)
            for number in range(done + 1, due + 1):
                for site in self.sites:
                    for cell, destination in site.forwarding.slot(number, now):
                        for line in list(self.lines):
                            here = line.address == destination and line.site is site
                            if here and not (site.gone or self.severed(line) or self.loses(cell)):
                                line.deliver(line.client.receive(cell, now))
            done = due
            for site in self.sites:
                site.reflector.handle(site.forwarding.upcalls(), now)
                site.reflector.watch(now)
            await asyncio.sleep(_REFLECTOR_STEP)

    def introduce(self) -> None:
        """Alice and bob share a secret, and each found the other's record."""
        secret, wall = SystemEntropy().token(32), self.clock.wall()
        for person, other in ((self.alice, self.bob), (self.bob, self.alice)):
            acquaint(person.book, other.name, other.agent._identity.public_key, secret, wall)
        for person, other in ((self.alice, self.bob), (self.bob, self.alice)):
            person.book.found(person.contact(other.name), other.whereabouts_for(person.name))
            person.agent._tokens.wanted()

    async def ring(self, offer: SessionDescription | None = None) -> tuple[ScriptedCall, ScriptedCall]:
        """Alice dials (her phone offers `offer`), bob's phone rings."""
        dialled = self.alice.dial("bob", offer)
        for _ in range(200):
            if self.bob.rung:
                return dialled, self.bob.rung[-1]
            await asyncio.sleep(0.01)
        pytest.fail(f"no phone rings: {self.alice.told}")

    async def talk(self) -> tuple[ScriptedCall, ScriptedCall]:
        """As `ring`; bob picks up, the lines meet, and the voice is secured."""
        dialled, rung = await self.ring()
        self.bob.pick_up(rung)
        for person in (self.alice, self.bob):
            await person.wait("crossed")
        for person in (self.alice, self.bob):
            await person.wait("secured", len(person.events("crossed")))
        return dialled, rung

    async def hang_up(self, person: Person, call: ScriptedCall) -> None:
        """One of the two hangs up; until nothing is left of the call."""
        person.agent._phone_event(HungUp(call.as_call))
        await self.quiet()

    async def quiet(self) -> None:
        """Until no call is on and no line is up."""
        for _ in range(4000):
            if not any(person.agent.busy for person in self.people.values()):
                return
            await asyncio.sleep(0.05)
        pytest.fail("something goes on for ever")


@contextlib.asynccontextmanager
async def open_world(
    directory: Path,
    *,
    start_delay: float = 1.0,
    reflectors: dict[str, list[str]] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[World]:
    """Both agents up and known to each other; afterwards no task is left.  `clock` where time is not virtual."""
    world = World(directory, start_delay, clock=clock or LoopClock())
    loop = asyncio.get_running_loop()
    accepted = reflectors or {}
    patch = pytest.MonkeyPatch()
    patch.setattr("relay.agent.line_keeper.Line", type("WorldLine", (MemoryLine,), {"world": world}))
    for name in ONIONS:
        person = Person(world, name, directory, accepted.get(name, ["d" * 32]))
        await loop.create_datagram_endpoint(person.phone_socket, local_addr=("127.0.0.1", 0))
        world.people[name] = person
    world.introduce()
    jobs = [person.agent._correspondence.read() for person in world.people.values()]
    running = [loop.create_task(job) for job in (world.run_reflector(), *jobs)]
    try:
        yield world
    finally:
        patch.undo()
        tasks = [*running, *(task for person in world.people.values() for task in person.agent._tasks)]
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        fallen = [repr(end) for end in ends if isinstance(end, Exception)]
        assert not fallen, fallen
        for person in world.people.values():
            person.calls.transport_lost("the test is over")
            assert person.microphone.transport is not None
            person.microphone.transport.close()
            for runner in person.calls._runners:
                if runner._timer is not None:
                    runner._timer.cancel()
                runner.leg.close()
        await asyncio.sleep(0)
