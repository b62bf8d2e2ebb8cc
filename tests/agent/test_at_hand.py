"""One reflector at hand: tickets used once and replaced in time, and no try where it says that it takes no lines."""

import asyncio

import pytest

from relay.agent.at_hand import DESCRIPTOR_AGE, SHUT_AGE, TICKETS_AHEAD, AtHand
from relay.core import PeerError, SeededEntropy, TransportUnavailable
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
