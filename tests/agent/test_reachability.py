"""Publishing and looking up, on a schedule, never at call time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from relay.agent.contacts import ContactBook
from relay.agent.events import Value
from relay.agent.prekeys import PrekeyRing
from relay.agent.reachability import LOOK_EVERY, Reachability
from relay.agent.state import StateDirectory
from relay.core import SystemEntropy, TransportUnavailable
from relay.forward_publish import PERIOD, StoredRecord, record_key
from relay.forward_publish.publication import EVERY
from tests.agent.virtual_time import LoopClock, in_virtual_time

FIRST, SECOND = "a" * 56, "b" * 56
CLOCK = LoopClock()


class Shelf:
    """Contact points in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, bytes], list[StoredRecord]] = {}
        self.puts: list[tuple[str, StoredRecord]] = []
        self.looks: list[bytes] = []
        self.down: set[str] = set()
        self.full = False

    async def put(self, onion: str, record: StoredRecord) -> bool:
        await asyncio.sleep(0.2)
        if onion in self.down:
            raise TransportUnavailable("the contact point is out of reach")
        if self.full:
            return False
        self.puts.append((onion, record))
        self.kept[onion, record.key] = [record]
        return True

    async def fetch(self, onion: str, key: bytes) -> Sequence[StoredRecord]:
        await asyncio.sleep(0.2)
        self.looks.append(key)
        if onion in self.down:
            raise TransportUnavailable("the contact point is out of reach")
        return self.kept.get((onion, key), [])


class Person:
    def __init__(self, directory: Path, name: str, shelf: Shelf) -> None:
        state = StateDirectory(directory / name)
        state.prepare()
        self.identity = state.identity(SystemEntropy())
        self.book = ContactBook(state)
        self.prekeys = PrekeyRing(state, SystemEntropy())
        self.bound = True
        self.told: list[tuple[str, dict[str, Value]]] = []
        self.task: asyncio.Task[None] | None = None
        self.reachability = Reachability(
            self.identity,
            self.book,
            self.prekeys,
            shelf,
            (FIRST,),
            bound=lambda token: self.bound,
            clock=CLOCK,
            entropy=SystemEntropy(),
            report=self.report,
        )

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append((event, fields))

    @property
    def knows(self) -> bool:
        return all(contact.whereabouts is not None for contact in self.book)


class World:
    def __init__(self, directory: Path, points: tuple[str, ...] = (FIRST,)) -> None:
        self.shelf = Shelf()
        self.alice, self.bob = Person(directory, "alice", self.shelf), Person(directory, "bob", self.shelf)
        made = self.alice.book.invite("bob", points, self.alice.identity.public_key, SystemEntropy())
        self.bob.book.accept("alice", made, SystemEntropy())

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for person in (self.alice, self.bob):
            assert person.task is None or not person.task.done(), "whatever happens, it goes on"

    def puts_of(self, person: Person) -> list[StoredRecord]:
        (contact,) = person.book
        keys = {
            record_key(contact.secret, contact.role, period)
            for period in range(int(CLOCK.wall()) // PERIOD - 5, int(CLOCK.wall()) // PERIOD + 2)
        }
        return [record for _, record in self.shelf.puts if record.key in keys]


@contextlib.asynccontextmanager
async def running(*people: Person) -> AsyncIterator[None]:
    for person in people:
        person.task = asyncio.create_task(person.reachability.run())
    try:
        yield
    finally:
        for person in people:
            assert person.task is not None
            person.task.cancel()
            await asyncio.gather(person.task, return_exceptions=True)
            person.task = None


@in_virtual_time
async def test_the_invitee_publishes_first_and_the_inviter_once_it_found_that(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world.alice):
        await world.pass_time(60.0)
        assert not world.shelf.puts, "she does not know whom to seal it for"
        async with running(world.bob):
            await world.pass_time(400.0)
    first, second = (world.puts_of(person)[0] for person in (world.bob, world.alice))
    assert world.shelf.puts.index((FIRST, first)) < world.shelf.puts.index((FIRST, second))
    assert world.alice.knows
    assert world.bob.knows
    (bob,) = world.alice.book
    assert bob.public_key == world.bob.identity.public_key
    assert bob.whereabouts is not None
    assert bob.whereabouts.prekey == world.bob.prekeys.current(CLOCK.wall()).public
    (alice,) = world.bob.book
    assert bob.whereabouts.token == alice.token.token
    assert world.alice.told == [("contact-ready", {"contact": "bob"})]


@in_virtual_time
async def test_nothing_is_published_before_its_token_is_taken_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.bob.bound = False
    async with running(world.bob):
        await world.pass_time(1800.0)
        assert not world.shelf.puts
        world.bob.bound = True
        await world.pass_time(130.0)
        assert len(world.puts_of(world.bob)) == 1


@in_virtual_time
async def test_records_are_renewed_in_time_and_each_period_has_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world.alice, world.bob):
        await world.pass_time(2 * PERIOD)
    for person in (world.alice, world.bob):
        records = world.puts_of(person)
        assert len({record.period for record in records}) == 3
        assert len(records) <= 2 * PERIOD / (EVERY / 2) + 6
        revisions = [record.revision for record in records]
        assert revisions == sorted(revisions)
    (bob,) = world.alice.book
    assert bob.whereabouts is not None
    assert CLOCK.wall() - bob.whereabouts.revision < EVERY + 2 * LOOK_EVERY + 3600.0
    assert bob.whereabouts.prekey in [key.public for key in world.bob.prekeys.usable(CLOCK.wall())]


@in_virtual_time
async def test_a_record_that_does_not_open_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world.bob):
        await world.pass_time(60.0)
    ((place, (good,)),) = world.shelf.kept.items()
    bad = [
        msgspec.structs.replace(good, sealed=bytes(len(good.sealed)), revision=good.revision + 2),
        msgspec.structs.replace(good, revision=good.revision + 1),
        msgspec.structs.replace(good, signature=b""),
    ]
    world.shelf.kept[place] = bad
    async with running(world.alice):
        await world.pass_time(300.0)
        assert not world.alice.knows
        world.shelf.kept[place] = [*bad, good]
        await world.pass_time(300.0)
        assert world.alice.knows


@in_virtual_time
async def test_an_older_record_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world.alice, world.bob):
        await world.pass_time(60.0)
        old = dict(world.shelf.kept)
        await world.pass_time(EVERY + 2 * LOOK_EVERY)
        (bob,) = world.alice.book
        newer = bob.whereabouts
        world.bob.bound = False
        world.shelf.kept = old
        await world.pass_time(3 * LOOK_EVERY)
        (bob,) = world.alice.book
        assert bob.whereabouts == newer


@in_virtual_time
async def test_one_contact_point_that_is_down_does_not_hide_the_other(tmp_path: Path) -> None:
    world = World(tmp_path, (FIRST, SECOND))
    world.shelf.down = {FIRST}
    async with running(world.alice, world.bob):
        await world.pass_time(300.0)
        assert world.alice.knows
        assert world.bob.knows
    assert {onion for onion, _ in world.shelf.puts} == {SECOND}


@in_virtual_time
async def test_while_nothing_is_reached_it_asks_ever_more_slowly_and_then_succeeds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.shelf.down = {FIRST}
    async with running(world.alice, world.bob):
        await world.pass_time(6000.0)
        assert len(world.shelf.looks) < 300
        world.shelf.down = set()
        world.shelf.full = True
        await world.pass_time(300.0)
        world.shelf.full = False
        await world.pass_time(600.0)
        assert world.alice.knows
        assert world.bob.knows


@in_virtual_time
async def test_who_was_removed_is_not_looked_up_any_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world.alice):
        await world.pass_time(60.0)
        looks = len(world.shelf.looks)
        assert looks
        (bob,) = world.alice.book
        world.alice.book.remove("bob")
        await world.pass_time(10.0)
        looks = len(world.shelf.looks)
        await world.pass_time(3600.0)
        assert len(world.shelf.looks) == looks
        assert bob.secret
