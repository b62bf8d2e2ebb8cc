"""Twenty agents and one contact point, all real but for Tor: a hundred contacts published, looked up and called.

In Tor's place stands a `Door` for each agent: it leads straight to the contact point's sockets, and writes down what a
contact point sees of Tor, which connection came by which circuit, and all that passed there.  When things happen is
another test's matter (`make linking`): here everything happens as fast as it can.
"""

import asyncio
import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from relay.agent import ContactBook, PlainFiles, regrouping
from relay.agent.circuits import CircuitTimes
from relay.agent.contact_file import Contact, Whereabouts
from relay.agent.credentials import own_identity
from relay.agent.directory import RECORD_PORT, Directory
from relay.agent.flow import SIP_PORT
from relay.agent.flows import Flows
from relay.agent.lookups import Lookups, where_to_ask
from relay.agent.prekeys import PrekeyRing
from relay.agent.publications import Content, publications
from relay.agent.publishing import Sealer
from relay.agent.tokens_at import TokensAt
from relay.contact_cache import Row
from relay.core import Clock, Entropy, SystemClock, SystemEntropy, configure_logging
from relay.forward_publish import (
    ContactPointLimits,
    EntryKind,
    OpenedNote,
    OpenedRing,
    Peer,
    ReplayCache,
    Reply,
    current_period,
    open_message,
    seal_note,
    seal_ring,
)
from relay.identity import format_address
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.tor import OnionKey, OnionService
from tests.agent.people import acquaint
from tests.knowledge.needles import files_below, memory_of, spellings

MIDDAY = 86400.0 * 20_833 + 43_200.0
"""Far from where one period gives way to the next: which tokens are bound then is another test's matter."""
INVITE = b"INVITE sip:x@sealed.invalid SIP/2.0\r\n\r\n"
RINGING = b"SIP/2.0 180 Ringing\r\n\r\n"


class MiddayClock(SystemClock):
    """The real clock, on a day of its own."""

    def __init__(self) -> None:
        self._began = super().monotonic()

    def wall(self) -> float:
        return MIDDAY + self.monotonic() - self._began


@dataclass
class Passed:
    """What went over one circuit: `said` by the agent, `heard` by it."""

    port: int
    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)


@dataclass
class Door:
    """One agent's way out.  `passed` by label of circuit; a careless one has one circuit for everything."""

    sockets: Mapping[int, Path]
    careless: bool = False
    passed: dict[str, Passed] = field(default_factory=dict)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.sockets[port])
        label = "everything" if self.careless else f"{port} {isolation}"
        passed = self.passed.setdefault(label, Passed(port))
        write, feed = writer.write, reader.feed_data

        def writing(data: bytes) -> None:
            passed.said += data
            write(data)

        def feeding(data: bytes) -> None:
            passed.heard += data
            feed(data)

        writer.write = writing  # type: ignore[assignment,method-assign]
        reader.feed_data = feeding  # type: ignore[assignment,method-assign]
        return reader, writer


class OnionsOfPaper:
    """An onion service that nobody outside this process knows of."""

    def __init__(self) -> None:
        self.sockets: dict[int, Path] = {}

    async def publish(
        self, key: OnionKey | None, ports: Mapping[int, object], *, proof_of_work: bool = False
    ) -> OnionService:
        self.sockets = {port: path for port, path in ports.items() if isinstance(path, Path)}

        async def remove() -> None:
            pass

        return OnionService("a" * 56, OnionKey.from_bytes(bytes(range(64))), remove)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise OSError("there is no other contact point")


class Person:
    """The parts of an agent that a contact point ever hears of."""

    def __init__(
        self, name: str, directory: Path, onion: str, door: Door, clock: Clock, news: asyncio.Event
    ) -> None:
        """`news` is set when a message came and was opened."""
        self.name = name
        self.door = door
        self.onion = onion
        self.clock = clock
        self.entropy: Entropy = SystemEntropy()
        state = PlainFiles(directory / name)
        self.identity = own_identity(state, self.entropy)
        self.book = ContactBook(state)
        self.prekeys = PrekeyRing(state, self.entropy)
        self.tokens = TokensAt(self.book, (onion,), clock)
        at_once = CircuitTimes(begin=(0.0, 0.0), after_use=(0.0, 0.0))
        self.flows = Flows(door, clock, self.entropy, self._receive, state=state, circuit_times=at_once)
        self.directory = Directory(door, clock, self.entropy)
        self.lookups = Lookups(self.directory, clock)
        self.heard: Counter[type[OpenedRing | OpenedNote]] = Counter()
        self._news = news
        self._replays = ReplayCache()

    async def bind(self) -> None:
        wanted = self.tokens.wanted()
        await self.flows.follow(wanted, alone=self.tokens.alone, periods=self.tokens.periods)
        self.flows.keep_warm([self.onion])
        for token in wanted[self.onion]:
            await self.flows.wait_bound([(self.onion, token)], 60.0)

    async def publish(self) -> None:
        """A record for each contact, as `relay.agent.publishing` makes it."""
        wall = self.clock.wall()
        period = current_period(wall)
        for publication in publications(self.book, wall):
            content = Content(publication.status, (), publication.places([self.onion], period))
            entry = Sealer(self.identity, self.prekeys, self.entropy).seal(publication, content, wall, 0)
            assert await self.directory.put(self.onion, entry)

    async def look_up(self) -> None:
        for contact in list(self.book):
            points = where_to_ask(contact, (self.onion,), self.clock.wall(), self.entropy) or [self.onion]
            found = await self.lookups.find(contact.public_key, [contact.secret], points)
            assert found is not None
            place = Whereabouts.of_record(found.record, found.period, self.clock.wall())
            self.book.found(self.book.named(contact.name), place)

    async def ring(self, contact: Contact) -> None:
        there = self._whereabouts(contact)
        own = contact.token(self.onion, current_period(self.clock.wall()))
        body, _ = seal_ring(
            self.identity,
            Peer(contact.public_key, contact.secret),
            there.prekey,
            INVITE,
            Reply(self.onion, own.token),
            self.clock,
            self.entropy,
        )
        await self.flows.send(self.onion, there.places[0].token, body)

    async def answer(self, contact: Contact) -> None:
        peer = Peer(contact.public_key, contact.secret)
        there = self._whereabouts(contact)
        body = seal_note(self.identity, peer, there.prekey, RINGING, self.clock, self.entropy)
        await self.flows.send(self.onion, there.places[0].token, body)

    def _whereabouts(self, contact: Contact) -> Whereabouts:
        assert contact.whereabouts is not None
        return contact.whereabouts

    def _receive(self, onion: str, token: str, body: bytes) -> None:
        owner = self.tokens.owner(token)
        assert isinstance(owner, Contact)
        peer, now = Peer(owner.public_key, owner.secret), self.clock.wall()
        opened = open_message(body, self.identity, peer, self.prekeys.usable(now), self._replays, now)
        self.heard[type(opened)] += 1
        self._news.set()


@dataclass(frozen=True)
class Seen:
    """All that a malicious contact point has at the end, and every identity that there is.

    `secrets` are pairwise secrets that it knows, none where all is as it should be.  `circuits` are in no order.
    """

    rows: tuple[Row, ...]
    places: dict[str, bytes]
    circuits: tuple[Passed, ...]
    identities: tuple[bytes, ...]
    secrets: tuple[bytes, ...]
    period: int


@dataclass(frozen=True)
class Truth:
    """What the adversary would like to know.  `circuits` by index in `Seen.circuits`."""

    records: dict[bytes, bytes]
    tokens: dict[str, bytes]
    circuits: tuple[bytes, ...]
    needles: dict[str, list[bytes]]


def public_secret(number: int) -> bytes:
    """No secret at all."""
    return hashlib.sha256(b"anybody knows %d" % number).digest()


@dataclass
class Everybody:
    """The world; open it with `open_everybody`."""

    directory: Path
    people: list[Person]
    node: ContactPointNode
    log: io.StringIO
    clock: Clock
    news: asyncio.Event

    def heard(self, kind: type[OpenedRing | OpenedNote]) -> int:
        """How many messages of a kind came to whom they were for."""
        return sum(person.heard[kind] for person in self.people)

    def introduce(
        self, contacts: int, entropy: Entropy, secret_of: Callable[[int], bytes]
    ) -> list[tuple[int, int]]:
        """So many pairs who know each other; `secret_of` gives the pairwise secret of the n-th."""
        pairs = [(a, b) for a in range(len(self.people)) for b in range(a)]
        chosen = [pairs.pop(entropy.below(len(pairs))) for _ in range(contacts)]
        for number, pair in enumerate(chosen):
            secret = secret_of(number)
            for one, other in (pair, pair[::-1]):
                peer = self.people[other]
                book, wall = self.people[one].book, self.clock.wall()
                acquaint(book, peer.name, peer.identity.public_key, secret, wall)
        return chosen

    async def live(self, pairs: list[tuple[int, int]]) -> None:
        """Bind, publish, look up; then one of each pair rings the other, who answers."""
        await asyncio.gather(*(person.bind() for person in self.people))
        await asyncio.gather(*(person.publish() for person in self.people))
        await asyncio.gather(*(person.look_up() for person in self.people))
        for a, b in pairs:
            caller, callee = self.people[a], self.people[b]
            await caller.ring(caller.book.named(callee.name))
            await callee.answer(callee.book.named(caller.name))
        async with asyncio.timeout(60.0):
            while any(self.heard(kind) < len(pairs) for kind in (OpenedRing, OpenedNote)):
                self.news.clear()
                await self.news.wait()

    async def seen(self, secrets: tuple[bytes, ...] = ()) -> tuple[Seen, Truth]:
        """What the contact point has now, while everything is up."""
        store = self.node._store
        assert store is not None
        rows = await store.select(EntryKind.RECORD, bytes(32), b"\xff" * 32, limit=10_000)
        places = files_below(self.directory / "contact-point")
        places["memory"] = memory_of(self.node)
        places["log"] = self.log.getvalue().encode()
        circuits = [(one, person) for person in self.people for one in person.door.passed.values()]
        circuits.sort(key=lambda pair: hashlib.sha256(pair[0].said).digest())
        places["circuits"] = b" ".join(bytes(one.said) for one, _ in circuits)
        identities = tuple(person.identity.public_key for person in self.people)
        period = current_period(self.clock.wall())
        seen = Seen(tuple(rows), places, tuple(one for one, _ in circuits), identities, secrets, period)
        return seen, self._truth(tuple(person.identity.public_key for _, person in circuits))

    def _truth(self, circuits: tuple[bytes, ...]) -> Truth:
        records: dict[bytes, bytes] = {}
        tokens: dict[str, bytes] = {}
        needles: dict[str, list[bytes]] = {}
        wall = self.clock.wall()
        period = current_period(wall)
        for person in self.people:
            me = person.identity
            for publication in publications(person.book, wall):
                content = Content(publication.status, (), publication.places([person.onion], period))
                sealed = Sealer(me, person.prekeys, person.entropy).seal(publication, content, wall, 0)
                records[sealed.key] = me.public_key
            tokens |= dict.fromkeys(person.tokens.wanted()[person.onion], me.public_key)
            needles[f"identity of {person.name}"] = spellings(me.public_key)
            needles[f"seed of {person.name}"] = spellings(me.seed)
            needles[f"address of {person.name}"] = [format_address(me.public_key).encode()]
            for contact in person.book:
                needles[f"secret of {person.name} and {contact.name}"] = spellings(contact.secret)
        return Truth(records, tokens, circuits, needles)


@contextlib.asynccontextmanager
async def open_everybody(directory: Path, people: int, *, careless: bool = False) -> AsyncIterator[Everybody]:
    """Open until the block ends; the log of all roles is kept from here on."""
    log, clock, onions, news = io.StringIO(), MiddayClock(), OnionsOfPaper(), asyncio.Event()
    configure_logging(level="debug", stream=log)
    patch = pytest.MonkeyPatch()
    for name in ("FIRST_RISE", "RISE"):
        patch.setattr(regrouping, name, 0.5)
    # Work costs time and tells nothing.
    settings = ContactPointSettings(
        state_directory=str(directory / "contact-point"), limits=ContactPointLimits(work_bits=1)
    )
    node = ContactPointNode(settings, onions, clock, SystemEntropy())
    made: list[Person] = []
    try:
        await node.start()
        assert onions.sockets.keys() == {SIP_PORT, RECORD_PORT}
        for number in range(people):
            door = Door(onions.sockets, careless)
            made.append(Person(f"person{number:03}", directory, node.onion, door, clock, news))
        yield Everybody(directory, made, node, log, clock, news)
    finally:
        patch.undo()
        await asyncio.gather(*(person.flows.close() for person in made))
        await node.close()
        structlog.reset_defaults()
