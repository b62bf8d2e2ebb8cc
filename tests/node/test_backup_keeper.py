"""One reflector leaves keys at another: a real ticket office at the other end, no Tor in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.media_reflector import (
    BackupReceived,
    ReflectorKeys,
    ReflectorReference,
    Ticket,
    TicketKind,
    TicketServer,
    fetch_descriptor,
    fetch_ticket,
    handouts,
    server,
)
from relay.media_reflector.fetch import leave_backup_key
from relay.node import backup_keeper as module
from relay.node.backup_keeper import BackupKeeper
from tests.node.fake_tor import FakeTor, until
from tests.node.lines import Line
from tests.node.running import Start, settings_for

CLOCK, ENTROPY = SystemClock(), SystemEntropy()


class Gate:
    """Knows what the other reflector's data plane would hand up."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def permit(self, ticket_id: bytes) -> None:
        pass

    def forbid(self, ticket_id: bytes) -> None:
        pass

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        self.keys = [*own, *left]


class Other:
    """The backup reflector, as far as its onion service goes."""

    def __init__(self, onion: str) -> None:
        self.keys = ReflectorKeys.generate(ENTROPY)
        self.gate = Gate()
        self.office = self.keys.office(10, ENTROPY, self.gate)
        self.reference = ReflectorReference(onion, self.keys.public_identity)
        self.server = TicketServer(self.office, self._descriptor, CLOCK)

    def _descriptor(self) -> bytes:
        return self.keys.signed_descriptor(
            self.reference.onion, [("192.0.2.1", 7210)], CLOCK.wall(), capacity=10
        )

    def takes(self, ticket: Ticket) -> bool:
        found = self.office.find(ticket.id, CLOCK.monotonic())
        return found is not None and (found.secret, found.kind) == (ticket.secret, TicketKind.BACKUP)


class World:
    """One reflector, two that could be its backup."""

    def __init__(self) -> None:
        self.tor = FakeTor()
        self.keys = ReflectorKeys.generate(ENTROPY)
        self.others = [Other("b" * 56), Other("c" * 56)]
        self.keeper = BackupKeeper(self.keys, self.tor, CLOCK, ENTROPY)
        self.task = asyncio.create_task(self.keeper.run())

    async def open(self) -> None:
        for other in self.others:
            self.tor.targets[other.reference.onion] = await other.server.listen_loopback()

    async def ticket(self) -> Ticket:
        """The first one that there is."""
        await until(lambda: self.keeper.ticket(CLOCK.monotonic()))
        ticket = self.keeper.ticket(CLOCK.monotonic())
        assert ticket is not None
        return ticket


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(module, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(module, "RETRY_MOST", 0.05)
    built = World()
    await built.open()
    yield built
    built.task.cancel()
    await asyncio.gather(built.task, return_exceptions=True)
    for other in built.others:
        await other.server.close()


async def test_the_other_reflector_takes_our_tickets(world: World) -> None:
    one, _ = world.others
    one.office.accept_peers({world.keys.public_identity})
    assert world.keeper.identity == b""
    assert world.keeper.ticket(CLOCK.monotonic()) is None
    world.keeper.aim(one.reference)
    first = await world.ticket()
    second = await world.ticket()
    assert world.keeper.identity == one.reference.identity
    assert one.takes(first)
    assert one.takes(second)
    assert first.id != second.id
    assert len(set(world.tor.isolations)) == len(world.tor.isolations)


async def test_a_fresh_key_is_left_again_and_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE_EVERY", 0.05)
    one, _ = world.others
    one.office.accept_peers({world.keys.public_identity})
    world.keeper.aim(one.reference)
    await world.ticket()
    before = list(one.gate.keys)
    await until(lambda: one.office.counters["backup_keys_taken"] >= 4)
    assert not set(before) <= set(one.gate.keys), "the oldest are gone"
    assert one.takes(await world.ticket())


async def test_answers_that_are_lost_push_out_no_key_that_is_in_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_EVERY", 0.05)
    one, _ = world.others
    one.office.accept_peers({world.keys.public_identity})
    world.keeper.aim(one.reference)
    await world.ticket()

    async def lost(*arguments: Any, **named: Any) -> None:
        await leave_backup_key(*arguments, **named)
        raise TransportUnavailable("the answer was lost")

    monkeypatch.setattr(module, "leave_backup_key", lost)
    left = one.office.counters["backup_keys_taken"]
    await until(lambda: one.office.counters["backup_keys_taken"] >= left + 4)
    in_use = await world.ticket()
    assert one.takes(in_use)
    assert len(one.office._keys._left[world.keys.public_identity]) == 2
    monkeypatch.setattr(module, "leave_backup_key", leave_backup_key)
    monkeypatch.setattr(module, "LEAVE_EVERY", 1800.0)
    confirmed = one.office.counters["backup_keys_taken"]
    await until(
        lambda: one.office.counters["backup_keys_taken"] > confirmed and world.keeper._unconfirmed is None
    )
    after = await world.ticket()
    assert one.takes(after)
    assert one.takes(in_use), "and those that were handed out before are good for as long as their key"


async def test_one_that_does_not_know_us_takes_none_until_it_does(world: World) -> None:
    one, _ = world.others
    world.keeper.aim(one.reference)
    await until(lambda: one.office.counters["not_a_peer"] >= 2)
    assert world.keeper.ticket(CLOCK.monotonic()) is None
    one.office.accept_peers({world.keys.public_identity})
    assert one.takes(await world.ticket())


async def test_one_that_is_asked_too_much_is_not_taken_for_one_that_does_not_know_us(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    one, _ = world.others
    one.office.accept_peers({world.keys.public_identity})
    monkeypatch.setattr(server, "TICKET_STREAMS", 0)
    world.keeper.aim(one.reference)
    said = ""

    def told() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return said.count("no key could be left") >= 2

    await until(told)
    assert said.count("too many ask it at once") >= 2
    assert "peers" not in said
    monkeypatch.setattr(server, "TICKET_STREAMS", 64)
    assert one.takes(await world.ticket())


async def test_tor_that_is_away_is_waited_for(world: World) -> None:
    one, _ = world.others
    one.office.accept_peers({world.keys.public_identity})
    targets, world.tor.targets = world.tor.targets, {}
    world.keeper.aim(one.reference)
    await asyncio.sleep(0.2)
    assert len(world.tor.isolations) > 2
    assert world.keeper.ticket(CLOCK.monotonic()) is None
    world.tor.targets = targets
    assert one.takes(await world.ticket())


async def test_another_backup_from_now_on_or_none(world: World) -> None:
    one, two = world.others
    for other in world.others:
        other.office.accept_peers({world.keys.public_identity})
    world.keeper.aim(one.reference)
    await world.ticket()
    world.keeper.aim(one.reference)
    assert world.keeper.ticket(CLOCK.monotonic()) is not None, "the same again changes nothing"
    world.keeper.aim(two.reference)
    assert world.keeper.ticket(CLOCK.monotonic()) is None, "no ticket of the one goes to the other"
    ticket = await world.ticket()
    assert two.takes(ticket)
    assert not one.takes(ticket)
    world.keeper.aim(None)
    await asyncio.sleep(0.1)
    assert world.keeper.ticket(CLOCK.monotonic()) is None
    assert world.keeper.identity == b""


async def test_a_line_goes_on_at_the_backup_with_what_its_reflector_handed_it(
    start: Start, tor: FakeTor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real reflectors; the first one dies."""
    monkeypatch.setattr(module, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(handouts, "FIRST", (0.1, 0.2))
    monkeypatch.setattr(handouts, "PAIR", (0.1, 0.2))
    backup = await start(state_directory=str(tmp_path / "backup"))
    there = await backup.wait_ready()
    first = await start(backup=str(there))
    here = await first.wait_ready()
    backup.settings = settings_for(tmp_path / "backup", peers=[str(here)])
    backup.node.reload()
    await until(lambda: first.node._backup.ticket(CLOCK.monotonic()))

    descriptor = await fetch_descriptor(tor, here, isolation="x", wall=CLOCK.wall())
    ticket = await fetch_ticket(tor, descriptor, ENTROPY, isolation="y", now=CLOCK.monotonic())
    line = Line(descriptor, ticket, b"join code of 16 ")
    await until(lambda: line.heard(BackupReceived), seconds=20.0)
    handed = next(event for event in line.events if isinstance(event, BackupReceived))
    assert handed.identity == there.identity
    assert descriptor.backup == str(there)
    await first.end()
    await line.close()

    descriptor = await fetch_descriptor(tor, there, isolation="z", wall=CLOCK.wall())
    line = Line(descriptor, handed.ticket, b"join code of 16 ")
    await until(lambda: line.client.opened and backup.node.reflector.occupancy.lines == 1)
    await line.close()
    again = Line(descriptor, handed.ticket, b"join code of 16 ")
    await asyncio.sleep(0.5)
    assert not again.client.opened, "once"
    await again.close()
