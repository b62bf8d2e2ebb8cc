"""Guards at hand before anybody calls: tickets fetched apart, used once, replaced in time; at guards alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.agent.accepted import Accepted
from relay.agent.at_hand import TICKET_MARGIN, TICKETS_AHEAD
from relay.agent.events import Value
from relay.agent.guards import DAY, GUARDS, kept_guards
from relay.agent.kept import PlainFiles
from relay.agent.meeting import Meeting
from relay.agent.reflectors import REVIEW_EVERY, ReflectorPool, reflector_id
from relay.core import ConfigurationError, SeededEntropy, TransportUnavailable
from relay.media_reflector import ReflectorReference
from relay.media_reflector.tickets import LIFETIME
from tests.agent.full_disk import FullDisk
from tests.agent.ticket_services import CLOCK, Dialer, Service
from tests.agent.virtual_time import in_virtual_time

MISSED_DAYS = 4


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path / "state")


@contextlib.asynccontextmanager
async def running(pool: ReflectorPool, dialer: Dialer, *, online: bool = True) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.run(dialer, lambda: online))
    try:
        yield
        assert not task.done(), "whatever happens, it goes on"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Accepting:
    """What is accepted, as a test says."""

    def __init__(self, *services: Service) -> None:
        self.now = Accepted({})
        self.only(*services)

    def only(self, *services: Service, **fields: Any) -> None:
        self.now = Accepted(
            {service.keys.public_identity: service.reference for service in services}, **fields
        )

    def __call__(self, wall: float) -> Accepted:
        return self.now


class Told:
    """What the owner was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Value]]] = []

    def __call__(self, event: str, /, **fields: Value) -> None:
        self.events.append((event, fields))


def pool_with(
    accepting: Accepting, state: PlainFiles, *, line_address: str = "", seed: str = "pool"
) -> ReflectorPool:
    return ReflectorPool(
        accepting, state, CLOCK, SeededEntropy(seed), report=Told(), line_address=line_address
    )


def pool_of(state: PlainFiles, *services: Service) -> ReflectorPool:
    return pool_with(Accepting(*services), state)


@in_virtual_time
async def test_tickets_are_there_before_anybody_calls_each_by_a_circuit_of_its_own(
    state: PlainFiles,
) -> None:
    first, second = Service("a" * 56), Service("b" * 56)
    dialer, pool = Dialer(first, second), pool_of(state, first, second)
    assert pool.ready() == []
    async with running(pool, dialer):
        await asyncio.wait_for(pool.wait_ready(), 10.0)
        await asyncio.sleep(5.0)
        assert set(pool.ready()) == {first.id, second.id}
        assert len(first.office) == len(second.office) == TICKETS_AHEAD
        labels = [isolation for _, isolation in dialer.opened]
        assert len(labels) == len(set(labels)) == 2 * (1 + TICKETS_AHEAD)


@in_virtual_time
async def test_a_ticket_is_used_once_and_another_is_fetched(state: PlainFiles) -> None:
    service = Service("a" * 56)
    pool = pool_of(state, service)
    async with running(pool, Dialer(service)):
        await asyncio.sleep(5.0)
        taken = [pool.take(service.id) for _ in range(TICKETS_AHEAD)]
        assert len({ticket.secret for _, ticket in taken}) == TICKETS_AHEAD
        assert {descriptor.identity for descriptor, _ in taken} == {service.keys.public_identity}
        assert pool.ready() == []
        with pytest.raises(TransportUnavailable):
            pool.take(service.id)
        await asyncio.sleep(30.0)
        assert pool.ready() == [service.id]
        assert pool.take(service.id)[1] not in [ticket for _, ticket in taken]


@in_virtual_time
async def test_over_a_day_there_is_always_a_ticket_that_outlives_a_ring(state: PlainFiles) -> None:
    service = Service("a" * 56)
    pool, dialer = pool_of(state, service), Dialer(service)
    async with running(pool, dialer):
        await asyncio.sleep(10.0)
        for _ in range(24 * 60):
            await asyncio.sleep(60.0)
            assert pool.ready()
            tickets = pool._reflectors[service.id]._tickets
            assert tickets[0].expires - CLOCK.monotonic() > TICKET_MARGIN / 2
        fetched = len(dialer.opened)
        assert fetched < 24 * 3600 / (LIFETIME - TICKET_MARGIN) * TICKETS_AHEAD * 2.5, (
            "and no more than that needs"
        )


@in_virtual_time
async def test_failures_of_every_kind_are_tried_again_ever_more_slowly(state: PlainFiles) -> None:
    service = Service("a" * 56)
    pool, dialer = pool_of(state, service), Dialer(service)
    dialer.failure = TransportUnavailable("Tor is not running")
    async with running(pool, dialer):
        await asyncio.sleep(3600.0)
        assert 20 < len(dialer.opened) < 100
        dialer.failure = OSError("no route")
        await asyncio.sleep(600.0)
        dialer.failure = None
        service.garbage = True
        await asyncio.sleep(600.0)
        assert pool.ready() == []
        service.garbage = False
        await asyncio.wait_for(pool.wait_ready(), 200.0)


@in_virtual_time
async def test_a_reflector_that_lies_about_its_identity_is_not_used(state: PlainFiles) -> None:
    service, liar = Service("a" * 56), Service("a" * 56)
    pool = pool_of(state, service)
    async with running(pool, Dialer(liar)):
        await asyncio.sleep(600.0)
        assert pool.ready() == []
        assert not len(liar.office)


@in_virtual_time
async def test_a_reflector_that_a_list_says_to_be_elsewhere_is_found_where_it_is(
    state: PlainFiles,
) -> None:
    service, false = Service("a" * 56), Service("b" * 56)
    identity = service.keys.public_identity
    accepting = Accepting(service)
    accepting.now = Accepted(
        {identity: ReflectorReference(false.reference.onion, identity)},
        elsewhere={identity: (service.reference,)},
    )
    pool = pool_with(accepting, state)
    async with running(pool, Dialer(service, false)):
        await asyncio.sleep(10.0)
        assert pool.ready() == [service.id]
        await asyncio.sleep(REVIEW_EVERY)
        assert pool.ready() == [service.id], "and stays, though the other place comes first"


@in_virtual_time
async def test_after_a_line_that_did_not_open_all_is_asked_anew(state: PlainFiles) -> None:
    service = Service("a" * 56)
    pool = pool_of(state, service)
    async with running(pool, Dialer(service)):
        await asyncio.sleep(5.0)
        old = pool._reflectors[service.id]._tickets[0]
        pool.distrust(service.id)
        pool.distrust("0" * 32)
        assert pool.ready() == []
        await asyncio.sleep(30.0)
        assert pool.ready() == [service.id]
        assert pool.take(service.id)[1] != old


@in_virtual_time
async def test_only_accepted_reflectors_are_ever_used(state: PlainFiles) -> None:
    service, other = Service("a" * 56), Service("b" * 56)
    pool, dialer = pool_of(state, service), Dialer(service, other)
    async with running(pool, dialer):
        await asyncio.sleep(1000.0)
        with pytest.raises(TransportUnavailable):
            pool.take(other.id)
        assert {onion for onion, _ in dialer.opened} == {service.reference.onion}


def test_the_id_in_offers_is_short_and_differs() -> None:
    names = {reflector_id(bytes([number]) * 32) for number in range(50)}
    assert len(names) == 50
    assert {len(name) for name in names} == {32}


# -- guards ------------------------------------------------------------------------------------------------------


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two weeks of tries take long to play when there is one every minute: four days here, one every few hours."""
    monkeypatch.setattr("relay.agent.guards.MISSED_DAYS", MISSED_DAYS)
    monkeypatch.setattr("relay.agent.reflectors.RETRY_LAST", 4 * 3600.0)


def services(count: int) -> list[Service]:
    return [Service("abcdefghijklmnop"[number] * 56) for number in range(count)]


@in_virtual_time
async def test_three_guards_are_kept_for_good_and_nobody_else_is_ever_asked(state: PlainFiles) -> None:
    all_of_them = services(8)
    dialer, pool = Dialer(*all_of_them), pool_of(state, *all_of_them)
    async with running(pool, dialer):
        await asyncio.sleep(3 * 3600.0)
        guards = set(pool.ready())
    assert len(guards) == GUARDS
    again = pool_with(Accepting(*all_of_them), state, seed="another start")
    async with running(again, dialer):
        await asyncio.sleep(86400.0)
        assert set(again.ready()) == guards
    asked = {service.id for service in all_of_them if dialer.asked(service)}
    assert asked == guards


@in_virtual_time
async def test_claims_of_reflectors_draw_nobody(state: PlainFiles) -> None:
    """The draw is over before any descriptor is seen, and none makes it happen again."""
    all_of_them = services(6)
    for service in all_of_them:
        service.says = {"occupancy": 4}
    dialer, pool = Dialer(*all_of_them), pool_of(state, *all_of_them)
    guards = {guard.identity for guard in kept_guards(state)}
    assert len(guards) == GUARDS
    for service in all_of_them:
        if service.keys.public_identity not in guards:
            service.says = {"occupancy": 0, "capacity": 1_000_000}
    async with running(pool, dialer):
        await asyncio.sleep(5 * 86400.0)
        assert pool.ready() == [], "all three are full, and so be it"
    assert {guard.identity for guard in kept_guards(state)} == guards


@in_virtual_time
async def test_a_guard_that_no_list_names_any_more_is_dropped_and_another_drawn(
    state: PlainFiles,
) -> None:
    all_of_them = services(5)
    accepting = Accepting(*all_of_them)
    dialer, pool = Dialer(*all_of_them), pool_with(accepting, state)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        before = pool.ready()
        gone = next(service for service in all_of_them if service.id == before[0])
        accepting.only(*[service for service in all_of_them if service is not gone])
        await asyncio.sleep(REVIEW_EVERY + 30.0)
        assert set(before[1:]) < set(pool.ready())
        assert gone.id not in pool.ready()
        with pytest.raises(TransportUnavailable):
            pool.take(gone.id)
        asked = dialer.asked(gone)
        await asyncio.sleep(86400.0)
        assert dialer.asked(gone) == asked


@in_virtual_time
async def test_a_list_that_is_late_suspends_its_guards_and_changes_none(state: PlainFiles) -> None:
    all_of_them = services(4)
    accepting = Accepting(*all_of_them)
    dialer, pool = Dialer(*all_of_them), pool_with(accepting, state)
    kept = kept_guards(state)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        lapsed = frozenset(service.keys.public_identity for service in all_of_them)
        accepting.only(lapsed=lapsed, troubles=("friends.txt: ran out",))
        await asyncio.sleep(REVIEW_EVERY)
        assert pool.ready() == []
        accepting.only(*all_of_them)
        await asyncio.sleep(REVIEW_EVERY + 30.0)
        assert len(pool.ready()) == GUARDS
    assert [guard.identity for guard in kept_guards(state)] == [guard.identity for guard in kept]


@in_virtual_time
async def test_the_owner_is_told_once_what_is_wrong_with_a_list(state: PlainFiles) -> None:
    service, told = Service("a" * 56), Told()
    accepting = Accepting()
    accepting.only(service, troubles=("friends.txt: ran out",))
    pool = ReflectorPool(accepting, state, CLOCK, SeededEntropy(1), report=told)
    for _ in range(3):
        pool.review()
    assert told.events == [("reflector-list", {"why": "friends.txt: ran out"})]


@in_virtual_time
async def test_nothing_to_draw_from_because_of_a_list_is_said_at_the_start(state: PlainFiles) -> None:
    accepting = Accepting()
    accepting.only(troubles=("friends.txt: ran out",))
    with pytest.raises(ConfigurationError, match=r"reflector_lists: friends.txt: ran out"):
        pool_with(accepting, state)


@pytest.mark.usefixtures("seldom")
@in_virtual_time
async def test_a_guard_that_is_gone_for_days_is_replaced_and_one_that_is_gone_for_less_is_not(
    state: PlainFiles,
) -> None:
    all_of_them = services(5)
    dialer, pool = Dialer(*all_of_them), pool_of(state, *all_of_them)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        before = pool.ready()
        dialer.gone = {next(one.reference.onion for one in all_of_them if one.id == before[0])}
        await asyncio.sleep((MISSED_DAYS - 2) * DAY)
        assert {reflector_id(guard.identity) for guard in kept_guards(state)} == set(before)
        await asyncio.sleep(4 * DAY)
        assert set(before[1:]) < set(pool.ready())
        assert before[0] not in pool.ready()


@pytest.mark.usefixtures("seldom")
@in_virtual_time
async def test_while_there_is_no_way_to_anybody_no_guard_is_to_blame(state: PlainFiles) -> None:
    all_of_them = services(5)
    dialer, pool = Dialer(*all_of_them), pool_of(state, *all_of_them)
    kept = kept_guards(state)
    dialer.failure = TransportUnavailable("Tor is not running")
    async with running(pool, dialer, online=False):
        await asyncio.sleep((MISSED_DAYS + 2) * DAY)
    assert kept_guards(state) == kept


@pytest.mark.usefixtures("seldom")
@in_virtual_time
async def test_one_without_an_address_for_us_is_replaced_like_one_that_is_gone(state: PlainFiles) -> None:
    all_of_them = services(4)
    six = {"addresses": [("2001:db8::1", 7210)]}
    all_of_them[0].says = all_of_them[1].says = six
    accepting = Accepting(*all_of_them[:3])
    dialer, pool = Dialer(*all_of_them), pool_with(accepting, state, line_address="192.0.2.7")
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        assert pool.ready() == [all_of_them[2].id]
        accepting.only(*all_of_them)
        await asyncio.sleep((MISSED_DAYS + 2) * DAY)
        assert set(pool.ready()) == {all_of_them[2].id, all_of_them[3].id}


@in_virtual_time
async def test_one_that_puts_us_off_is_asked_at_the_moment_it_named_and_counts_as_there(
    state: PlainFiles,
) -> None:
    service = Service("a" * 56)
    service.office.draining = True
    dialer, pool = Dialer(service), pool_of(state, service)
    async with running(pool, dialer):
        await asyncio.sleep(3600.0)
        assert 3600 / (120 * 1.5) / 2 < dialer.asked(service) < 1 + 3600 / 30
        assert pool.ready() == []
        await asyncio.sleep(3 * DAY)
        assert all(guard.missed == 0 for guard in kept_guards(state))
        service.office.draining = False
        await asyncio.wait_for(pool.wait_ready(), 200.0)


@in_virtual_time
async def test_a_backup_is_fetched_only_where_the_owner_accepted_it(state: PlainFiles) -> None:
    one, other, stranger = Service("a" * 56), Service("b" * 56), Service("c" * 56)
    one.says, other.says = {"backup": str(other.reference)}, {"backup": str(stranger.reference)}
    dialer, pool = Dialer(one, other, stranger), pool_of(state, one, other)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        backup = pool.backup(one.id)
        assert backup is not None
        assert backup.reference == other.reference
        assert pool.backup(other.id) is None
        assert pool.backup("0" * 32) is None
        await asyncio.sleep(86400.0)
    assert dialer.asked(stranger) == 0


# -- what contact points say -------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_a_guard_says_at_contact_points_is_used_without_asking_it(state: PlainFiles) -> None:
    one = Service("a" * 56)
    dialer, pool = Dialer(one), pool_of(state, one)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        asked = dialer.asked(one)
        pool.learn([one.entry(1, addresses=[("127.0.0.9", 7219)])])
        assert pool.take(one.id)[0].addresses == (("127.0.0.9", 7219),)
        pool.learn([one.entry(2, draining=True)])
        assert pool.ready() == []
        assert dialer.asked(one) == asked
        pool.learn([one.entry(1)])
        assert pool.ready() == [], "what is older is no news"


@in_virtual_time
async def test_nobody_becomes_a_guard_or_is_asked_by_what_contact_points_say(state: PlainFiles) -> None:
    one, other = Service("a" * 56), Service("b" * 56)
    dialer, pool = Dialer(one, other), pool_of(state, one)
    async with running(pool, dialer):
        pool.learn([other.entry(1, occupancy=0), one.entry(1, onion=other.reference.onion)])
        await asyncio.sleep(3600.0)
        pool.review()
        assert pool.ready() == [one.id]
        assert dialer.asked(other) == 0
    assert [guard.identity for guard in kept_guards(state)] == [one.reference.identity]


@in_virtual_time
async def test_after_a_restart_tickets_are_all_that_a_guard_is_asked_for(state: PlainFiles) -> None:
    one = Service("a" * 56)
    pool = pool_of(state, one)
    pool.learn([one.entry(1)])
    pool.known.keep(pool.known.kept(CLOCK.wall(), 1))
    again, dialer = pool_of(state, one), Dialer(one)
    async with running(again, dialer):
        await asyncio.sleep(10.0)
        assert again.ready() == [one.id]
        assert (dialer.asked(one), one.descriptors) == (TICKETS_AHEAD, 0)


@in_virtual_time
async def test_after_a_restart_one_that_took_no_lines_is_asked_itself(state: PlainFiles) -> None:
    one = Service("a" * 56)
    pool = pool_of(state, one)
    pool.learn([one.entry(1, draining=True)])
    pool.known.keep(pool.known.kept(CLOCK.wall(), 1))
    again, dialer = pool_of(state, one), Dialer(one)
    async with running(again, dialer):
        await asyncio.sleep(10.0)
        assert again.ready() == [one.id]
        assert one.descriptors == 1


@in_virtual_time
async def test_one_that_speaks_at_contact_points_alone_did_not_answer(state: PlainFiles) -> None:
    """Else a guard that cannot be reached would stay one for months by having descriptors handed round."""
    one = Service("a" * 56)
    dialer, pool = Dialer(one), pool_of(state, one)
    (drawn,) = kept_guards(state)
    dialer.gone = {one.reference.onion}
    await asyncio.sleep(DAY)
    pool.learn([one.entry(1, draining=True)])
    async with running(pool, dialer):
        await asyncio.sleep(400.0)
        assert dialer.asked(one) == 0, "what was said a moment ago need not be asked"
        assert kept_guards(state) == (drawn,), "but nobody was reached"
        await asyncio.sleep(3600.0)
        assert dialer.asked(one) > 0
    assert (kept_guards(state)[0].reached, kept_guards(state)[0].missed) == (drawn.reached, 1)


@in_virtual_time
async def test_an_accepted_backup_is_known_from_contact_points_and_a_stranger_is_not(
    state: PlainFiles,
) -> None:
    one, other, stranger = Service("a" * 56), Service("b" * 56), Service("c" * 56)
    one.says, other.says = {"backup": str(other.reference)}, {"backup": str(stranger.reference)}
    dialer, pool = Dialer(one, other, stranger), pool_of(state, one, other)
    entries = [one.entry(1, **one.says), other.entry(1, **other.says)]
    pool.learn([*entries, stranger.entry(1)])
    assert pool.backup(one.id) == entries[1].descriptor
    assert pool.backup(other.id) is None
    async with running(pool, dialer):
        await asyncio.sleep(3600.0)
        assert pool.backup(other.id) is None
    assert dialer.asked(stranger) == 0


# -- where to meet -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_offered_comes_in_any_order(state: PlainFiles) -> None:
    all_of_them = services(3)
    dialer, pool = Dialer(*all_of_them), pool_of(state, *all_of_them)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        offers = {pool.offer() for _ in range(200)}
        assert len(offers) == 6
        assert {frozenset(offer) for offer in offers} == {frozenset(pool.ready())}


@in_virtual_time
async def test_a_meeting_is_at_a_guard_in_common_else_over_a_trunk_else_nowhere(
    state: PlainFiles,
) -> None:
    one, hers = Service("a" * 56), Service("b" * 56)
    one.says = {"trunks": [(hers.keys.public_identity, 10)]}
    dialer, pool = Dialer(one), pool_of(state, one)
    assert pool.meeting([one.id]) is None, "nothing is ready"
    assert pool.trunk(one.id, hers.id) is None
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        assert pool.meeting(["0" * 32, one.id, hers.id]) == Meeting(one.id)
        assert pool.meeting(["0" * 32, hers.id]) == Meeting(one.id, via=hers.id)
        assert pool.meeting(["0" * 32]) is None
        assert pool.trunk(one.id, hers.id) == hers.keys.public_identity
        assert pool.trunk(one.id, "0" * 32) is None
        assert pool.trunk(hers.id, one.id) is None


# -- where a line goes on ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_ticket_that_is_on_its_way_is_waited_for(state: PlainFiles) -> None:
    guard = Service("a" * 56)
    dialer, pool = Dialer(guard), pool_of(state, guard)
    async with running(pool, dialer):
        await asyncio.sleep(30.0)
        pool.distrust(guard.id)
        with pytest.raises(TransportUnavailable):
            pool.take(guard.id)
        descriptor, ticket = await pool.take_soon(guard.id, 20.0)
        assert descriptor.reference == guard.reference
        assert guard.office.find(ticket.id, CLOCK.monotonic()) is not None
        dialer.gone.add(guard.reference.onion)
        pool.distrust(guard.id)
        began = CLOCK.monotonic()
        with pytest.raises(TransportUnavailable):
            await pool.take_soon(guard.id, 20.0)
        assert CLOCK.monotonic() - began == pytest.approx(20.0)


@in_virtual_time
async def test_a_ticket_can_be_fetched_where_none_is_kept(state: PlainFiles) -> None:
    guard, backup = Service("a" * 56), Service("b" * 56)
    guard.says = {"backup": str(backup.reference)}
    pool = pool_of(state, guard, backup)
    async with running(pool, Dialer(guard, backup)):
        await asyncio.sleep(60.0)
        descriptor = pool.backup(guard.id)
        assert descriptor is not None
        ticket = await pool.fetch_at(descriptor)
        assert backup.office.find(ticket.id, CLOCK.monotonic()) is not None


@in_virtual_time
async def test_guards_that_cannot_be_kept_are_used_all_the_same_and_kept_later(tmp_path: Path) -> None:
    disk = FullDisk(tmp_path)
    disk.full = True
    pool = pool_of(disk, *(Service(letter * 56) for letter in "abcde"))
    drawn = pool._guards.kept
    assert len(drawn) == 3
    assert kept_guards(disk) == ()
    pool.review()
    disk.full = False
    pool.review()
    assert kept_guards(disk) == drawn
