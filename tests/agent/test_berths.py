"""Where a line can be opened: tickets that ran out, backups nobody accepted, addresses of the wrong kind."""

from pathlib import Path
from typing import cast

import pytest

from relay.agent.berths import Berths
from relay.agent.reflectors import ReflectorPool
from relay.core import ManualClock, TransportUnavailable
from relay.media_reflector import Ticket
from tests.agent.people import MemoryPool, Site, World

GUARD = "d" * 32


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, clock=ManualClock())
    made.add_backup()
    return made


def berths(world: World, line_address: str = "127.0.0.1") -> Berths:
    pool = cast(ReflectorPool, MemoryPool(world, [GUARD]))
    return Berths(pool, GUARD, line_address, world.clock)


def test_the_first_is_at_the_guard(world: World) -> None:
    berth = berths(world).first()
    assert (berth.name, berth.address) == (GUARD, world.site.address)


def test_an_address_of_the_other_kind_is_no_berth(world: World) -> None:
    with pytest.raises(TransportUnavailable, match="line_address"):
        berths(world, "::1").first()


def test_the_same_reflector_again_takes_the_ticket_that_it_gave(world: World) -> None:
    found = berths(world)
    first = found.first()
    now = world.clock.monotonic()
    ticket = Ticket(bytes(16), bytes(32), now + 1.0)
    again = found.here(first, ticket)
    assert (again.ticket, again.name) == (ticket, first.name)
    for void in (None, Ticket(b"another number: ", bytes(32), now)):
        with pytest.raises(TransportUnavailable):
            found.here(first, void)


def test_a_backup_has_to_be_accepted_and_its_ticket_good(world: World) -> None:
    found = berths(world)
    first = found.first()
    good, over = _ticket(world, 1), _ticket(world, 2, 0.0)
    identity = world.sites[1].keys.public_identity
    for handed in (None, (identity, over), (bytes(32), good)):
        with pytest.raises(TransportUnavailable):
            found.backup(first, handed)
    assert found.backup(first, (identity, good)).address == world.sites[1].address


def _ticket(world: World, number: int, life: float = 1.0) -> Ticket:
    return Ticket(number.to_bytes(16), bytes(32), world.clock.monotonic() + life)


def test_no_ticket_is_shown_twice_however_often_it_is_handed_out(world: World) -> None:
    found = berths(world)
    first = found.first()
    here, there = _ticket(world, 1), _ticket(world, 2)
    identity = world.sites[1].keys.public_identity
    found.here(first, here)
    found.backup(first, (identity, there))
    with pytest.raises(TransportUnavailable, match="used before"):
        found.here(first, here)
    with pytest.raises(TransportUnavailable, match="used before"):
        found.backup(first, (identity, there))


def test_a_guard_sends_its_lines_to_its_own_backup_and_to_no_other_guard(world: World) -> None:
    other = Site(world, "f" * 56, 7212)
    found = berths(world)
    first = found.first()
    elsewhere = other.keys.public_identity
    with pytest.raises(TransportUnavailable, match="not accepted"):
        found.backup(first, (elsewhere, _ticket(world, 1)))
    with pytest.raises(TransportUnavailable, match="not accepted"):
        found.backup(first, (world.site.keys.public_identity, _ticket(world, 2)))
    away = found.backup(first, (world.sites[1].keys.public_identity, _ticket(world, 3)))
    with pytest.raises(TransportUnavailable, match="not accepted"):
        found.backup(away, (elsewhere, _ticket(world, 4)))
    home = found.backup(away, (world.site.keys.public_identity, _ticket(world, 5)))
    assert home.address == world.site.address
