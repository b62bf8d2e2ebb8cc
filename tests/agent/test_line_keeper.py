"""Lines that move, in whole calls: a reflector dies, starts anew or was never there, and the call goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.agent.call import PEER_SILENCE_SECONDS
from relay.agent.call_runner import CallRunner
from relay.agent.line_keeper import MOST_TRIES
from relay.agent.phone import HungUp
from relay.core import TransportUnavailable
from relay.media_reflector import Descriptor, JoinRefused, LineClient, Ticket
from relay.rtp.cell import TICK
from tests.agent.people import MemoryLine, Person, Site, World, open_world
from tests.agent.scripted_call import VOICE, ScriptedCall
from tests.agent.virtual_time import in_virtual_time

HANDED_OUT = 9.0
"""Seconds after its opening in which a line has got its tickets."""
MOVED = 5.0
SETTLED = 12.0


def runner_of(person: Person) -> CallRunner:
    return person.calls._runners[-1]


def lines_of(person: Person) -> list[MemoryLine]:
    keeper = runner_of(person).line._keeper
    held = [] if keeper is None else [one.line for one in keeper._held.values()]
    assert all(isinstance(line, MemoryLine) for line in held)
    return held  # type: ignore[return-value]


async def talk_long(world: World) -> tuple[ScriptedCall, ScriptedCall]:
    """A call on which both lines were handed their tickets."""
    calls = await world.talk()
    await asyncio.sleep(HANDED_OUT)
    for person in world.people.values():
        (line,) = lines_of(person)
        assert line.client.resumption is not None
        assert (line.client.backup is not None) == (len(world.sites) > 1)
    return calls


async def hear(world: World, calls: tuple[ScriptedCall, ScriptedCall], mark: int) -> None:
    """Both say something, and both hear all of it, but for what a reflector gave up."""
    given_up = world.given_up
    for number in range(20):
        for person, call in zip(world.people.values(), calls, strict=True):
            person.microphone.say(bytes((mark, number)) + VOICE[2:], call.agents_port)
        await asyncio.sleep(TICK)
    await asyncio.sleep(0.3)
    given_up = world.given_up - given_up
    assert given_up <= 2
    for person in world.people.values():
        heard = [one[1] for one in person.microphone.payloads if one[0] == mark and one[2:] == VOICE[2:]]
        assert heard == sorted(set(heard))
        assert len(heard) >= 20 - given_up


async def end(world: World, calls: tuple[ScriptedCall, ScriptedCall]) -> None:
    """The call was held until now; now it ends in the cells, and nothing is left."""
    for person, call in zip(world.people.values(), calls, strict=True):
        assert ("hang up", 0) not in call.said
        assert not person.events("call-ended")
        keyed = runner_of(person).voice.keyed
        assert keyed is not None
        assert keyed._opener.counters["replayed"] == 0
    sent = len(world.alice.sent) + len(world.bob.sent)
    world.alice.agent._phone_event(HungUp(calls[0].as_call))
    ended = await world.bob.wait("call-ended")
    assert ended.fields["reason"] == "hung up by the other side"
    await world.quiet()
    assert not world.lines
    assert len(world.alice.sent) + len(world.bob.sent) == sent, "the goodbye went in the cells"


def crossed(site: Site) -> int:
    return site.reflector.occupancy.crossed


@in_virtual_time
async def test_a_call_goes_on_at_the_backup_when_its_reflector_dies(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        await hear(world, calls, 1)
        died = world.clock.monotonic()
        world.site.gone = True
        for person in world.people.values():
            again = await person.wait("heard-again")
            assert again.at - died < MOVED
        assert crossed(backup) == 1
        await hear(world, calls, 2)
        for person in world.people.values():
            moved = await person.wait("line-moved")
            assert moved.at - died < SETTLED
            assert moved.fields["where"] == "at its backup"
        await asyncio.sleep(1.0)
        for person in world.people.values():
            assert len(lines_of(person)) == 1
            assert len(person.events("line-opening")) == 1
            assert not person.pool.distrusted
        await hear(world, calls, 3)
        await end(world, calls)


@in_virtual_time
async def test_a_reflector_that_drains_is_not_left_before_it_falls_silent(tmp_path: Path) -> None:
    """All of its lines move when it ends, as when it dies; before that nobody does anything because of its word."""
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        old = list(world.lines)
        told = [len(person.told) for person in world.people.values()]
        asked = [list(person.pool.taken) for person in world.people.values()]
        world.site.reflector.drain()
        await asyncio.sleep(120.0)
        assert all(line.client.draining for line in old)
        assert world.lines == old
        assert [len(person.told) for person in world.people.values()] == told
        assert [person.pool.taken for person in world.people.values()] == asked
        assert backup.reflector.counts()["handshakes"] == 0
        await hear(world, calls, 1)
        ended = world.clock.monotonic()
        world.site.gone = True
        for person in world.people.values():
            assert (await person.wait("heard-again")).at - ended < MOVED
        assert crossed(backup) == 1
        await asyncio.sleep(SETTLED)
        await hear(world, calls, 2)
        await end(world, calls)


@in_virtual_time
async def test_the_two_ends_move_at_times_of_their_own_and_the_old_lines_keep_their_pace(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        world.add_backup()
        calls = await talk_long(world)
        old = list(world.lines)
        before = [line.cells for line in old]
        world.site.gone = True
        await asyncio.sleep(MOVED)
        assert [line.cells - cells for line, cells in zip(old, before, strict=True)] == [250, 250]
        first, second = (person.events("line-moving")[0].at for person in world.people.values())
        # In virtual time, what one cause sets off at both ends happens at one moment.
        assert abs(first - second) > 0.001
        await asyncio.sleep(SETTLED - MOVED)
        assert not set(old) & set(world.lines)
        await end(world, calls)


@in_virtual_time
async def test_a_reflector_that_starts_anew_with_its_keys_keeps_its_lines(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        restarted = world.clock.monotonic()
        world.site.start(world.site.office.sealing_keys())
        for person in world.people.values():
            assert (await person.wait("heard-again")).at - restarted < MOVED
        await hear(world, calls, 2)
        for person in world.people.values():
            moved = await person.wait("line-moved")
            assert moved.fields["where"] == "at the same reflector"
            assert person.pool.taken == ["d" * 32], "no fetched ticket was needed"
        assert crossed(world.site) == 1
        assert backup.reflector.counts()["handshakes"] == 0
        await end(world, calls)


@in_virtual_time
async def test_one_without_its_keys_is_left_for_the_backup(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        restarted = world.clock.monotonic()
        world.site.start()
        for person in world.people.values():
            assert (await person.wait("heard-again")).at - restarted < MOVED
        assert crossed(backup) == 1
        await end(world, calls)


@in_virtual_time
async def test_a_void_ticket_of_one_end_brings_both_to_the_backup_all_the_same(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        lines_of(world.bob)[0].client.resumption = None
        world.site.start(world.site.office.sealing_keys())
        for person in world.people.values():
            await person.wait("heard-again")
        assert crossed(backup) == 1
        await asyncio.sleep(SETTLED)
        await hear(world, calls, 2)
        await end(world, calls)


@pytest.mark.parametrize("seconds", [1.7, 3.0, 4.5])
def test_an_outage_of_one_s_own_moves_nothing_for_good(tmp_path: Path, seconds: float) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            world.add_backup()
            calls = await talk_long(world)
            (line,) = lines_of(world.alice)
            world.severed = lambda one: one in lines_of(world.alice)
            await asyncio.sleep(seconds)
            world.severed = lambda one: False
            await hear(world, calls, 2)
            await asyncio.sleep(SETTLED)
            assert lines_of(world.alice) == [line]
            assert not world.alice.events("line-moved")
            assert not world.bob.events("line-moving")
            await hear(world, calls, 3)
            await end(world, calls)

    scenario()


@in_virtual_time
async def test_no_ticket_is_shown_on_the_wire_twice(tmp_path: Path) -> None:
    """A line that is lost twice, and heard again each time, has come to its reflector and to the backup each time."""
    async with open_world(tmp_path) as world:
        world.add_backup()
        calls = await talk_long(world)
        begun: list[bytes] = []

        class Recorded(LineClient):
            def __init__(self, descriptor: Descriptor, ticket: Ticket, *others: Any, **named: Any) -> None:
                begun.append(ticket.id)
                super().__init__(descriptor, ticket, *others, **named)

        patch = pytest.MonkeyPatch()
        patch.setattr("relay.agent.line_keeper.LineClient", Recorded)
        for _ in range(3):
            world.severed = lambda one: one in lines_of(world.alice)
            await asyncio.sleep(4.8)
            world.severed = lambda one: False
            await asyncio.sleep(SETTLED)
        patch.undo()
        assert len(begun) >= 4
        assert len(set(begun)) == len(begun)
        await end(world, calls)


@in_virtual_time
async def test_a_reflector_that_everybody_lost_for_a_while_is_gone_back_to(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.add_backup()
        calls = await talk_long(world)
        world.site.gone = True
        await asyncio.sleep(4.8)
        world.site.gone = False
        await asyncio.sleep(0.2)
        await hear(world, calls, 2)
        await asyncio.sleep(SETTLED)
        assert crossed(world.site) == 1
        assert len(world.lines) == 2
        await end(world, calls)


@in_virtual_time
async def test_an_idle_line_moves_as_one_in_a_call_does(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        for person in world.people.values():
            runner_of(person).call._stagger = 60.0
        world.alice.agent._phone_event(HungUp(calls[0].as_call))
        await world.alice.wait("call-ended")
        await world.bob.wait("call-ended")
        runners = [person.calls._runners[-1] for person in world.people.values() if person.calls._runners]
        assert all(runner.voice.keyed is None for runner in runners)
        died = world.clock.monotonic()
        world.site.gone = True
        for person in world.people.values():
            assert (await person.wait("line-moving")).at - died < MOVED
            await person.wait("line-moved")
        assert backup.reflector.occupancy.lines == 2
        assert crossed(backup) == 0
        await asyncio.sleep(1.0)
        assert len(world.lines) == 2
        await world.quiet()


@in_virtual_time
async def test_a_call_moves_on_again_when_the_backup_dies_too(tmp_path: Path) -> None:
    """The backup has none of its own; the way leads back to the guard, with a ticket that was fetched."""
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        world.site.gone = True
        for person in world.people.values():
            await person.wait("line-moved")
        world.site.start()
        world.site.gone, backup.gone = False, True
        died = world.clock.monotonic()
        for person in world.people.values():
            assert (await person.wait("heard-again", 2)).at - died < MOVED + 0.2
        assert crossed(world.site) == 1
        await end(world, calls)


@in_virtual_time
async def test_nobody_goes_to_a_backup_that_was_not_accepted(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        for person in world.people.values():
            person.pool.accepts_backup = False
        died = world.clock.monotonic()
        world.site.gone = True
        for person, call in zip(world.people.values(), calls, strict=True):
            ended = await person.wait("call-ended")
            assert ended.at - died < PEER_SILENCE_SECONDS + 4.0
            assert ("hang up", 0) in call.said
        await world.quiet()
        assert backup.reflector.counts()["strangers_received"] == 0


@in_virtual_time
async def test_a_line_without_a_backup_ticket_fetches_one(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        calls = await talk_long(world)
        for person in world.people.values():
            lines_of(person)[0].client.backup = None
        world.site.gone = True
        for person in world.people.values():
            await person.wait("heard-again")
            assert person.pool.fetched == 1
        assert crossed(backup) == 1
        await end(world, calls)


@in_virtual_time
async def test_a_void_ticket_is_replaced_inside_the_same_call(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:

        def void(name: str) -> tuple[Descriptor, Ticket]:
            ticket = Ticket.fresh(world.entropy.token(32), world.clock.monotonic() + 600.0)
            return world.descriptor, ticket

        pool = world.alice.pool
        good, pool.take = pool.take, void  # type: ignore[method-assign]

        async def take_soon(name: str, patience: float) -> tuple[Descriptor, Ticket]:
            await asyncio.sleep(1.0)
            return good(name)

        pool.take_soon = take_soon  # type: ignore[method-assign]
        calls = await world.talk()
        assert pool.distrusted == ["d" * 32]
        assert len(world.alice.events("line-open")) == 1
        await hear(world, calls, 1)
        await asyncio.sleep(SETTLED)
        assert [moved.fields["where"] for moved in world.alice.events("line-moved")] == [
            "at the same reflector, with another ticket"
        ]
        await end(world, calls)


@in_virtual_time
async def test_a_reflector_that_died_before_any_line_opened_is_passed_over(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        world.site.gone = True
        calls = await world.talk()
        assert crossed(backup) == 1
        await hear(world, calls, 1)
        await end(world, calls)


def recorded(patch: pytest.MonkeyPatch) -> list[tuple[bytes | None, bytes | None]]:
    """(join code, over which trunk) of every line that is opened from now on."""
    asked: list[tuple[bytes | None, bytes | None]] = []

    class Recorded(LineClient):
        def __init__(
            self,
            *arguments: object,
            join_code: bytes | None = None,
            via: bytes | None = None,
            **named: object,
        ) -> None:
            asked.append((join_code, via))
            super().__init__(*arguments, join_code=join_code, via=via, **named)  # type: ignore[arg-type]

    patch.setattr("relay.agent.line_keeper.LineClient", Recorded)
    return asked


@in_virtual_time
async def test_over_a_trunk_who_moved_comes_to_where_the_other_one_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        await talk_long(world)
        keyed = runner_of(world.alice).voice.keyed
        assert keyed is not None
        asked = recorded(monkeypatch)
        elsewhere = bytes(range(32))
        there = backup.descriptor.identity
        for person, other_end in ((world.alice, elsewhere), (world.bob, there)):
            runner_of(person).line.other_end = other_end
        world.site.gone = True
        for person in world.people.values():
            await person.wait("line-moved")
        assert sorted(asked, key=str) == sorted(
            [
                (keyed.join_code(elsewhere), elsewhere),
                (keyed.join_code(elsewhere), elsewhere),
                (keyed.join_code(there), there),
                # The backup is the very reflector at which the other line is.
                (keyed.join_code(there), None),
            ],
            key=str,
        )
        await world.quiet()


@in_virtual_time
async def test_when_the_trunk_breaks_a_line_waits_where_it_is_for_the_other_one(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        calls = await talk_long(world)
        site = world.site
        for person in world.people.values():
            # Both are at one reflector here, and each believes that the other one is not.
            runner_of(person).line.other_end = bytes(range(32))
        for line in list(site.reflector._lines.values()):
            site.reflector._crossings.leave(line)
        for person in world.people.values():
            keeper = runner_of(person).line._keeper
            assert keeper is not None
            keeper._event(0, JoinRefused("the trunk broke", 30))
        await world.alice.wait("trunk-broke")
        await asyncio.sleep(1.0)
        assert crossed(site) == 1
        await hear(world, calls, 1)
        await end(world, calls)


@in_virtual_time
async def test_a_line_that_was_never_crossed_over_its_trunk_does_not_wait(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await talk_long(world)
        keeper = runner_of(world.alice).line._keeper
        assert keeper is not None
        runner_of(world.alice).line.other_end = bytes(range(32))
        keeper._was_crossed = False
        keeper._event(0, JoinRefused("no slot is free", 30))
        assert (await world.alice.wait("call-ended")).fields["reason"] == "no slot is free"
        await world.quiet()


@in_virtual_time
async def test_a_line_that_moved_asks_for_its_trunk_a_few_times(tmp_path: Path) -> None:
    """The reflectors of this world keep none: the call ends, and says why."""
    async with open_world(tmp_path) as world:
        world.add_backup()
        await talk_long(world)
        for person in world.people.values():
            runner_of(person).line.other_end = bytes(range(32))
        world.site.gone = True
        for person in world.people.values():
            ended = await person.wait("call-ended")
            assert ended.fields["reason"]
        refused = world.sites[1].reflector.counts()["joins_refused"]
        assert 2 <= refused <= 2 * (MOST_TRIES + 1)
        await world.quiet()


@in_virtual_time
async def test_an_agent_that_stops_says_goodbye_on_every_line(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        backup = world.add_backup()
        await talk_long(world)
        world.site.gone = True
        for person in world.people.values():
            await person.wait("heard-again")
        tasks = [task for person in world.people.values() for task in person.agent._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert not world.lines
        assert backup.reflector.occupancy.lines == 0


@in_virtual_time
async def test_a_line_whose_sender_ends_moves_on_but_the_other_end_stays_where_it_is(tmp_path: Path) -> None:
    """Only this end knows; the other one hears its reflector as ever.  The call ends, and in order."""
    async with open_world(tmp_path) as world:
        calls = await talk_long(world)
        (line,) = lines_of(world.alice)

        def broken() -> bytes | None:
            raise TransportUnavailable("the sender of a line's cells ended")

        line._source = broken
        moved = await world.alice.wait("line-moved")
        assert moved.fields["where"] == "at the same reflector"
        for person, call in zip(world.people.values(), calls, strict=True):
            await person.wait("call-ended")
            assert ("hang up", 0) in call.said
        await world.quiet()
        assert not world.lines
