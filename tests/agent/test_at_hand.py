"""One reflector at hand: tickets used once and replaced in time, and no try where it says that it takes no lines."""

import asyncio

import pytest

from relay.agent.at_hand import DESCRIPTOR_AGE, SHUT_AGE, TICKET_MARGIN, TICKETS_AHEAD, AtHand
from relay.core import PeerError, SeededEntropy, TransportUnavailable
from relay.media_reflector import ComeAgainLater
from relay.media_reflector.tickets import LIFETIME
from tests.agent.ticket_services import CLOCK, Dialer, Service
from tests.agent.virtual_time import in_virtual_time


class Bench:
    """One service, and what an agent has at hand of it."""

    def __init__(self, versions: tuple[int, ...] = (4, 6)) -> None:
        self.service = Service("a" * 56)
        self.other = Service("b" * 56)
        self.dialer = Dialer(self.service, self.other)
        self.changed = asyncio.Event()
        self.hand = AtHand(self.service.reference, versions, CLOCK, SeededEntropy("at hand"), self.changed)

    async def refresh(self) -> None:
        await self.hand.refresh(self.dialer)


@in_virtual_time
async def test_a_descriptor_and_tickets_each_by_a_circuit_of_its_own() -> None:
    bench = Bench()
    assert not bench.hand.ready
    with pytest.raises(TransportUnavailable):
        bench.hand.take()
    await bench.refresh()
    assert bench.hand.ready
    assert bench.changed.is_set()
    labels = [isolation for _, isolation in bench.dialer.opened]
    assert len(set(labels)) == len(labels) == 1 + TICKETS_AHEAD
    await bench.refresh()
    assert len(bench.dialer.opened) == 1 + TICKETS_AHEAD, "nothing is asked twice"


@in_virtual_time
async def test_a_ticket_is_used_once() -> None:
    bench = Bench()
    await bench.refresh()
    taken = {bench.hand.take()[1].secret for _ in range(TICKETS_AHEAD)}
    assert len(taken) == TICKETS_AHEAD
    assert not bench.hand.ready
    await bench.refresh()
    assert bench.hand.take()[1].secret not in taken


@in_virtual_time
async def test_one_that_ran_out_is_not_given_away() -> None:
    bench = Bench()
    await bench.refresh()
    await asyncio.sleep(601.0)
    assert not bench.hand.ready
    with pytest.raises(TransportUnavailable):
        bench.hand.take()


@pytest.mark.parametrize("says", [{"draining": True}, {"occupancy": 4}])
def test_one_that_takes_no_lines_is_asked_for_no_ticket_and_soon_again(says: dict[str, object]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        bench = Bench()
        bench.service.says = says
        await bench.refresh()
        assert not bench.hand.ready
        assert len(bench.service.office) == 0
        await asyncio.sleep(SHUT_AGE)
        bench.service.says = {}
        await bench.refresh()
        assert bench.hand.ready

    scenario()


@in_virtual_time
async def test_a_waiting_ticket_is_not_used_at_one_that_is_drained() -> None:
    bench = Bench()
    await bench.refresh()
    bench.service.says = {"draining": True}
    await asyncio.sleep(DESCRIPTOR_AGE + 1)
    await bench.refresh()
    assert not bench.hand.ready


@in_virtual_time
async def test_nothing_opens_at_one_that_drains_once_its_tickets_ran_out() -> None:
    """Whatever is known of it: its descriptor is six hours old before it is asked for again."""
    bench = Bench()
    await bench.refresh()
    bench.service.says = {"draining": True}
    bench.service.office.draining = True
    await asyncio.sleep(LIFETIME - TICKET_MARGIN)
    for _ in range(3):
        with pytest.raises(ComeAgainLater):
            await bench.refresh()
        assert not bench.hand.ready
        with pytest.raises(TransportUnavailable):
            bench.hand.take()
        await asyncio.sleep(120.0)
    assert bench.service.descriptors == 1


@pytest.mark.parametrize(("versions", "without"), [((4,), False), ((6,), True), ((4, 6), False)])
def test_one_without_an_address_for_us_is_of_no_use(versions: tuple[int, ...], without: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        bench = Bench(versions)
        assert not bench.hand.without_address, "nothing is known yet"
        await bench.refresh()
        assert bench.hand.without_address is without
        assert bench.hand.ready is not without

    scenario()


@in_virtual_time
async def test_what_is_forgotten_while_a_ticket_is_on_its_way_stays_forgotten() -> None:
    bench = Bench()
    refreshing = asyncio.create_task(bench.refresh())
    await asyncio.sleep(0.15)
    assert bench.hand.descriptor is not None
    bench.hand.forget()
    await refreshing
    assert bench.hand.descriptor is None
    await asyncio.wait_for(bench.hand.wait_wanted(), 11.0)
    await bench.refresh()
    assert bench.hand.ready
    assert bench.service.descriptors == 2


@in_virtual_time
async def test_a_failure_is_the_callers_to_judge() -> None:
    bench = Bench()
    bench.service.garbage = True
    with pytest.raises(PeerError):
        await bench.refresh()


@in_virtual_time
async def test_the_backup_is_fetched_once_and_its_absence_hurts_nobody() -> None:
    bench = Bench()
    await bench.refresh()
    bench.dialer.gone = {"b" * 56}
    await bench.hand.refresh_backup(bench.other.reference, bench.dialer)
    assert bench.hand.backup is None
    bench.dialer.gone = set()
    for _ in range(3):
        await bench.hand.refresh_backup(bench.other.reference, bench.dialer)
    assert bench.hand.backup is not None
    assert bench.hand.backup.reference == bench.other.reference
    assert bench.other.descriptors == 1


@in_virtual_time
async def test_it_waits_until_a_ticket_is_taken() -> None:
    bench = Bench()
    await bench.refresh()
    waiting = asyncio.create_task(bench.hand.wait_wanted())
    await asyncio.sleep(100.0)
    assert not waiting.done()
    bench.hand.take()
    await asyncio.wait_for(waiting, 10.5)


# What contact points say of it.


@in_virtual_time
async def test_news_from_contact_points_counts_at_once_and_asks_nobody() -> None:
    bench = Bench()
    await bench.refresh()
    asked = len(bench.dialer.opened)
    bench.changed.clear()
    bench.hand.learn(bench.service.entry(1, addresses=[("127.0.0.9", 7219)]).descriptor)
    assert bench.changed.is_set()
    assert bench.hand.ready
    descriptor, ticket = bench.hand.take()
    assert descriptor.addresses == (("127.0.0.9", 7219),)
    assert bench.service.office.find(ticket.id, CLOCK.monotonic()) is not None, "tickets stay good"
    bench.hand.learn(bench.service.entry(2, draining=True).descriptor)
    assert not bench.hand.ready
    await asyncio.sleep(60.0)
    assert len(bench.dialer.opened) == asked


@in_virtual_time
async def test_what_is_older_is_no_news_even_where_all_was_forgotten() -> None:
    bench = Bench()
    bench.hand.learn(bench.service.entry(3).descriptor)
    for number in (3, 2, 0):
        bench.hand.learn(bench.service.entry(number, draining=True).descriptor)
    assert bench.hand.descriptor == bench.service.entry(3).descriptor
    bench.hand.forget()
    bench.hand.learn(bench.service.entry(3).descriptor)
    assert bench.hand.descriptor is None, "the line did not open with that"
    bench.hand.learn(bench.service.entry(4).descriptor)
    assert bench.hand.descriptor is not None


@in_virtual_time
async def test_what_the_reflector_says_itself_stands_until_there_is_something_later() -> None:
    bench = Bench()
    bench.hand.learn(bench.service.entry(5, draining=True).descriptor)
    await asyncio.sleep(SHUT_AGE)
    await bench.refresh()
    assert bench.hand.ready, "whatever a contact point said before"
    bench.hand.learn(bench.service.entry(5, draining=True).descriptor)
    assert bench.hand.ready


@in_virtual_time
async def test_a_descriptor_from_a_contact_point_spares_asking_and_only_as_long_as_its_date_says() -> None:
    bench = Bench()
    bench.hand.learn(bench.service.entry(hours=3).descriptor)
    await bench.refresh()
    assert bench.hand.ready
    assert bench.service.descriptors == 0
    await asyncio.sleep(DESCRIPTOR_AGE - 3 * 3600 - 60)
    await bench.refresh()
    assert bench.service.descriptors == 0
    await asyncio.sleep(120)
    await bench.refresh()
    assert bench.service.descriptors == 1, "a contact point can keep news back, for hours, not for ever"


@in_virtual_time
async def test_news_while_a_ticket_is_on_its_way_loses_no_ticket() -> None:
    bench = Bench()
    refreshing = asyncio.create_task(bench.refresh())
    await asyncio.sleep(0.15)
    bench.hand.learn(bench.service.entry(1).descriptor)
    await refreshing
    assert len(bench.service.office) == TICKETS_AHEAD
    taken = [bench.hand.take() for _ in range(TICKETS_AHEAD)]
    assert {descriptor.valid_from for descriptor, _ in taken} == {
        bench.service.entry(1).descriptor.valid_from
    }


@in_virtual_time
async def test_tickets_for_other_keys_are_dropped() -> None:
    bench, other = Bench(), Service("a" * 56)
    await bench.refresh()
    other.keys = type(other.keys)(1, bench.service.keys.identity, other.keys.static, other.keys.kem)
    bench.hand.learn(other.entry(1).descriptor)
    assert bench.hand.descriptor == other.entry(1).descriptor
    with pytest.raises(TransportUnavailable):
        bench.hand.take()


@in_virtual_time
async def test_another_place_is_taken_over() -> None:
    bench = Bench()
    bench.hand.learn(bench.service.entry(1, onion="b" * 56).descriptor)
    assert bench.hand.reference.onion == "b" * 56


@in_virtual_time
async def test_the_backup_s_descriptor_comes_the_same_way_and_is_asked_for_when_it_is_old() -> None:
    bench = Bench()
    await bench.refresh()
    bench.hand.learn_backup(bench.other.entry(hours=7).descriptor)
    assert bench.hand.backup is None, "older than what would be fetched"
    bench.hand.learn_backup(bench.other.entry(2).descriptor)
    bench.hand.learn_backup(bench.other.entry(1).descriptor)
    assert bench.hand.backup == bench.other.entry(2).descriptor
    await bench.hand.refresh_backup(bench.other.reference, bench.dialer)
    assert bench.other.descriptors == 0
    await asyncio.sleep(DESCRIPTOR_AGE + 1)
    await bench.hand.refresh_backup(bench.other.reference, bench.dialer)
    assert bench.other.descriptors == 1
