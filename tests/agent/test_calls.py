"""What a phone dials and what a ring asks, in every way in which it can go wrong."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.agent.calls import HEAD_START, MAX_CALLS
from relay.agent.contact_file import Place
from relay.agent.domain_pins import DomainPins
from relay.agent.domains import Account, Found
from relay.agent.meeting import NOTHING_IN_COMMON, Meeting
from relay.agent.missed_calls import NOTED_AFTER
from relay.agent.permissions import MINUTES_OF_A_DAY, minute_of_day
from relay.agent.phone import Cancelled, HungUp, Refused, Ringing
from relay.core import SystemEntropy
from relay.identity import Identity
from relay.media_reflector import LineClient
from tests.agent.people import ONIONS, Person, acquaint, open_world
from tests.agent.virtual_time import in_virtual_time


def untouched(person: Person) -> bool:
    """Whether nothing was sent, nor about to be."""
    return not person.sent and not person.waited and not person.agent._tasks


# -- dialling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["carol", "%62o", "bobb", "bob%00", "%FF", "%C3%BC"])
def test_an_unknown_name_is_404_at_once_and_nothing_leaves(tmp_path: Path, name: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            world.alice.why_not = "Tor is not running"
            call = world.alice.dial(name)
            assert call.said == [("refuse", 404)], "before anything else could happen"
            assert untouched(world.alice)
            assert not world.alice.told, "nobody was called"

    scenario()


@pytest.mark.parametrize("name", ["bob", "BOB", "%62ob"])
def test_a_name_is_found_however_the_phone_writes_it(tmp_path: Path, name: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            call = world.alice.dial(name)
            await world.alice.wait("ring-sent")
            assert call.said == [("progress", 180)]

    scenario()


@in_virtual_time
async def test_a_name_outside_ascii_can_be_dialled(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        bob = world.alice.book.find("bob")
        assert bob is not None
        position = world.alice.book._book.contacts.index(bob)
        world.alice.book._book.contacts[position] = msgspec.structs.replace(bob, name="Jürgen")
        call = world.alice.dial("j%C3%BCrgen")
        await world.alice.wait("ring-sent")
        assert call.said == [("progress", 180)]


@pytest.mark.parametrize("why", ["Tor is not running", "none of your guards takes a line just now"])
def test_without_tor_or_reflector_it_is_503_and_nothing_leaves(tmp_path: Path, why: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            world.alice.why_not = why
            call = world.alice.dial("bob")
            assert call.said == [("refuse", 503)]
            assert untouched(world.alice)
            assert world.alice.events("failed")[0].fields["reason"] == why

    scenario()


@in_virtual_time
async def test_a_contact_not_heard_of_is_480(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        acquaint(world.alice.book, "carol", bytes(32), bytes(32), world.clock.wall())
        call = world.alice.dial("carol")
        assert call.said == [("refuse", 480)]
        assert untouched(world.alice)


@in_virtual_time
async def test_a_contact_whose_record_expired_is_480(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        bob = world.alice.contact("bob")
        assert bob.whereabouts is not None
        old = msgspec.structs.replace(bob.whereabouts, expires=int(world.clock.wall()) - 1)
        world.alice.book.found(bob, old)
        call = world.alice.dial("bob")
        assert call.said == [("refuse", 480)]
        assert untouched(world.alice)
        await asyncio.sleep(NOTED_AFTER[1])
        assert len(world.alice.contact("bob").tries) == 1, "bob hears of it when he is back"


@in_virtual_time
async def test_a_contact_that_one_blocked_oneself_is_480(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.alice.book.block("bob", SystemEntropy())
        call = world.alice.dial("bob")
        assert call.said == [("refuse", 480)]
        assert untouched(world.alice)
        assert world.alice.events("failed")[0].fields["reason"] == "you blocked bob"


@in_virtual_time
async def test_a_contact_whose_domain_names_somebody_else_is_403_and_nothing_leaves(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        bob = world.alice.contact("bob")
        account = Account("bob", "example.org")
        contacts = world.alice.book._book.contacts
        contacts[contacts.index(bob)] = msgspec.structs.replace(bob, account=account.text)
        pins = DomainPins(world.alice.state)
        pins.note(Found(account, bob.public_key, ""), 0.0)
        pins.note(Found(account, Identity.generate(SystemEntropy()).public_key, ""), 0.0)
        call = world.alice.dial("bob")
        assert call.said == [("refuse", 403)]
        assert untouched(world.alice)
        (failed,) = world.alice.events("failed")
        assert "accept-change" in str(failed.fields["reason"])
        pins.note(Found(account, bob.public_key, ""), 0.0)
        call = world.alice.dial("bob")
        await world.alice.wait("ring-sent")
        assert call.said == [("progress", 180)]


@in_virtual_time
async def test_a_contact_point_that_does_not_take_the_ring_gives_way_to_the_next(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        bob = world.alice.contact("bob")
        dead = Place("f" * 56, "g" * 52)
        world.alice.book.found(bob, world.bob.whereabouts_for("alice", dead))
        world.silent.add(dead.onion)
        dialled = world.alice.dial("bob")
        await world.alice.wait("ring-sent")
        assert [onion for onion, _, _ in world.alice.sent] == [ONIONS["bob"]]
        await asyncio.sleep(1.0)
        assert len(world.bob.rung) == 1
        asked = world.clock.monotonic()
        world.alice.agent._phone_event(Cancelled(dialled.as_call))
        await world.bob.wait("call-ended")
        assert world.clock.monotonic() - asked < 1.0, "the CANCEL goes to where the ring was taken, at once"


@in_virtual_time
async def test_a_ring_waits_for_a_token_of_ours_to_be_bound(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.alice.unbound = True
        await world.ring()
        assert world.alice.waited == 1
        await world.alice.calls.stop(3.0)


@in_virtual_time
async def test_a_phone_without_opus_is_488(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        call = world.alice.dial("bob", dataclasses.replace(world.alice.offer(), media=()))
        assert call.said == [("refuse", 488)]
        assert untouched(world.alice)


@in_virtual_time
async def test_the_reflectors_vanish_between_dialling_and_ringing(tmp_path: Path) -> None:
    async with open_world(tmp_path, reflectors={"alice": []}) as world:
        call = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert call.said == [("refuse", 503)]
        assert not world.alice.sent


@in_virtual_time
async def test_a_contact_point_that_does_not_answer_is_503(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.alice.lose_messages = True
        call = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert call.said == [("refuse", 503)]


@in_virtual_time
async def test_tor_lost_while_it_rings_is_503(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        world.alice.agent._tor_lost("the tor process ended")
        world.bob.agent._tor_lost("the tor process ended")
        assert dialled.said[-1] == ("refuse", 503)
        assert rung.said == [("hang up", 0)]
        sent = len(world.alice.sent)
        await asyncio.sleep(60.0)
        assert len(world.alice.sent) == sent
        assert not world.ever


@in_virtual_time
async def test_nobody_answers_480_within_thirty_seconds_and_the_other_phone_stops_first(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        started = world.clock.monotonic()
        dialled, rung = await world.ring()
        here = await world.alice.wait("call-ended")
        there = await world.bob.wait("call-ended")
        assert dialled.said == [("progress", 180), ("refuse", 480)]
        assert rung.said == [("hang up", 0)]
        assert here.at - started <= 30.0
        assert here.at - there.at >= HEAD_START - 0.5


@in_virtual_time
async def test_giving_up_silences_the_other_phone(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        world.alice.agent._phone_event(Cancelled(dialled.as_call))
        await world.bob.wait("call-ended")
        assert rung.said == [("hang up", 0)]


@in_virtual_time
async def test_giving_up_at_once_rings_nobody(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled = world.alice.dial("bob")
        world.alice.agent._phone_event(Cancelled(dialled.as_call))
        await world.quiet()
        assert not world.bob.rung
        assert len(world.alice.sent) <= 1, "a CANCEL, and no ring"


@in_virtual_time
async def test_only_so_many_calls_at_a_time(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.bob.registered = False
        world.bob.lose_messages = True
        calls = [world.alice.dial("bob") for _ in range(MAX_CALLS + 1)]
        assert calls[-1].said == [("refuse", 486)]
        for call in calls[:-1]:
            world.alice.agent._phone_event(Cancelled(call.as_call))
        await world.quiet()
        assert not world.alice.calls.any


# -- being rung --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "heard"), [(486, 486), (603, 603), (408, 480)])
def test_what_the_callees_phone_says_reaches_the_caller(tmp_path: Path, said: int, heard: int) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            dialled, rung = await world.ring()
            world.bob.agent._phone_event(Ringing(rung.as_call, 180))
            world.bob.agent._phone_event(Refused(rung.as_call, said))
            await world.alice.wait("call-ended")
            assert dialled.said == [("progress", 180), ("refuse", heard)]
            assert world.bob.events("ringing")

    scenario()


@in_virtual_time
async def test_no_phone_there_is_480(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.bob.registered = False
        dialled = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert dialled.said[-1] == ("refuse", 480)


@in_virtual_time
async def test_a_busy_callee_answers_486_and_its_call_goes_on(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        first, rung = await world.talk()
        second = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert second.said[-1] == ("refuse", 486)
        assert len(world.bob.rung) == 1
        assert not first.said[2:]
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()


@in_virtual_time
async def test_who_calls_back_at_once_finds_nobody_busy_with_the_goodbye(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        first, _ = await world.talk()
        world.alice.agent._phone_event(HungUp(first.as_call))
        await world.bob.wait("hang-up")
        world.alice.dial("bob")
        for _ in range(200):
            if len(world.bob.rung) == 2:
                break
            await asyncio.sleep(0.01)
        assert len(world.bob.rung) == 2, (
            "bob's phone rings although his side of the last call still says goodbye"
        )
        world.bob.agent._phone_event(Refused(world.bob.rung[1].as_call, 603))
        await world.quiet()


@in_virtual_time
async def test_two_who_ring_each_other_at_once_are_both_busy(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        calls = world.alice.dial("bob"), world.bob.dial("alice")
        for person in world.people.values():
            await person.wait("call-ended")
        assert [call.said[-1] for call in calls] == [("refuse", 486)] * 2
        assert not world.alice.rung
        assert not world.bob.rung


@in_virtual_time
async def test_two_rings_at_once_ring_the_phone_once(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        first, second = world.alice.dial("bob"), world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert len(world.bob.rung) == 1
        assert sorted(call.said[-1] for call in (first, second)) == [("progress", 180), ("refuse", 486)]
        world.bob.pick_up(world.bob.rung[0])
        await world.alice.wait("crossed")
        world.bob.agent._phone_event(HungUp(world.bob.rung[0].as_call))
        await world.quiet()


@in_virtual_time
async def test_no_reflector_in_common_is_480_opens_nothing_and_both_are_told_why(tmp_path: Path) -> None:
    async with open_world(tmp_path, reflectors={"alice": ["e" * 32], "bob": ["f" * 32]}) as world:
        dialled = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert dialled.said[-1] == ("refuse", 480)
        assert not world.bob.rung
        assert not world.ever
        for person, other in ((world.alice, "bob"), (world.bob, "alice")):
            (failed,) = person.events("failed")
            assert failed.fields["reason"] == NOTHING_IN_COMMON.format(contact=other)


HERS, HIS = "e" * 32, "f" * 32
IDENTITY = b"his".ljust(32)


@in_virtual_time
async def test_over_a_trunk_each_opens_a_line_at_a_guard_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[bytes | None] = []

    class Recorded(LineClient):
        def __init__(self, *arguments: Any, via: bytes | None = None, **named: Any) -> None:
            joined.append(via)
            # Both ends of the trunk are one reflector here, so that the plain join crosses the two lines.
            super().__init__(*arguments, **named)

    monkeypatch.setattr("relay.agent.line_keeper.LineClient", Recorded)
    places = {"alice": ["d" * 32, HERS], "bob": [HIS]}
    async with open_world(tmp_path, reflectors=places) as world:
        world.trunks = {HIS: {HERS: b"hers".ljust(32)}, HERS: {HIS: IDENTITY}}
        await world.talk()
        assert world.alice.pool.taken == [HERS]
        assert world.bob.pool.taken == [HIS]
        assert sorted(joined, key=str) == [None, IDENTITY], (
            "she asks for the way over the trunk, he just waits"
        )
        assert world.alice.calls._runners[0].line.trunk == IDENTITY
        await world.alice.calls.stop(3.0)
        await world.quiet()


@in_virtual_time
async def test_a_trunk_that_cannot_be_had_ends_the_call_for_both_at_once(tmp_path: Path) -> None:
    """The reflector of this world has no trunk at all: it refuses, and says so in the line's cells."""
    async with open_world(tmp_path, reflectors={"alice": [HERS], "bob": [HIS]}) as world:
        world.trunks = {HIS: {HERS: b"hers".ljust(32)}, HERS: {HIS: IDENTITY}}
        dialled, rung = await world.ring()
        world.alice.calls._runners[-1].call._start_delay = 0.5
        world.bob.calls._runners[-1].call._start_delay = 4.0
        world.bob.pick_up(rung)
        ended = await world.alice.wait("call-ended", limit=5.0)
        assert "does not cross" in str(ended.fields["reason"])
        await world.bob.wait("call-ended", limit=5.0)
        assert ("hang up", 0) in dialled.said
        assert ("hang up", 0) in rung.said
        assert len(world.lines) == 1, "hers lingers as any other does"
        assert world.bob.events("line-unopened")
        await world.quiet()


@in_virtual_time
async def test_a_trunk_that_the_callers_guard_does_not_have_is_never_tried(tmp_path: Path) -> None:
    async with open_world(tmp_path, reflectors={"alice": [HERS], "bob": [HIS]}) as world:
        world.trunks = {HIS: {HERS: b"hers".ljust(32)}}
        _, rung = await world.ring()
        world.bob.pick_up(rung)
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "the answer made no sense"
        assert not world.alice.pool.taken
        await world.quiet()


@in_virtual_time
async def test_a_reflector_that_was_not_offered_is_never_used(tmp_path: Path) -> None:
    places = [letter * 32 for letter in "ef01"]
    async with open_world(tmp_path, reflectors={"alice": places, "bob": places}) as world:
        _, rung = await world.ring()
        runner = world.bob.calls._runners[0]
        offered = world.alice.calls._runners[0].offered
        (hidden,) = set(places) - set(offered)
        runner.take_over(runner.line.join_code, Meeting(hidden))
        world.bob.pick_up(rung)
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "the answer made no sense"
        assert world.alice.dropped == 1
        assert not world.alice.events("line-opening")
        assert world.alice.calls._runners == [] or not world.alice.calls.any
        await world.quiet()


# -- permissions -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_outside_its_hours_a_ring_is_as_if_nobody_were_there(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        now = minute_of_day(world.clock.wall())
        hours = (now + 60) % MINUTES_OF_A_DAY, (now + 120) % MINUTES_OF_A_DAY
        world.bob.book.set_hours("alice", hours)
        dialled = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert dialled.said == [("progress", 180), ("refuse", 480)]
        assert world.alice.events("call-ended")[0].fields["reason"] == "no answer"
        assert not world.bob.rung
        assert not world.bob.sent, "not even a word"
        assert [told.name for told in world.bob.told] == ["out-of-hours"]
        await asyncio.sleep(NOTED_AFTER[1])
        assert len(world.bob.contact("alice").missed) == 1
        world.bob.book.set_hours("alice", None)
        await world.ring()
        await world.alice.calls.stop(3.0)


@in_virtual_time
async def test_a_blocked_contact_rings_nobody_and_hears_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.bob.book.block("alice", SystemEntropy())
        dialled = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert dialled.said == [("progress", 180), ("refuse", 480)]
        assert not world.bob.rung
        assert not world.bob.sent
        assert not world.bob.told


# -- missed calls ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_ring_that_nobody_answered_is_to_be_told_and_once_two_spoke_no_more(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, _ = await world.ring()
        await world.alice.wait("call-ended")
        await asyncio.sleep(NOTED_AFTER[1])
        assert len(world.alice.contact("bob").tries) == 1
        assert len(world.bob.contact("alice").missed) == 1, "its phone rang, and nobody took it"
        world.bob.rung.clear()
        await world.talk()
        await asyncio.sleep(NOTED_AFTER[1])
        assert not world.alice.contact("bob").tries
        await world.alice.calls.stop(3.0)
        await world.quiet()
        assert dialled.said


@pytest.mark.parametrize("status", [486, 603])
def test_a_call_that_was_answered_with_no_was_heard(tmp_path: Path, status: int) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            _, rung = await world.ring()
            world.bob.agent._phone_event(Refused(rung.as_call, status))
            await world.alice.wait("call-ended")
            await asyncio.sleep(NOTED_AFTER[1])
            assert not world.alice.contact("bob").tries
            assert len(world.bob.contact("alice").missed) == (status == 486)

    scenario()


# -- the agent stops ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_stopping_hangs_up_in_the_cells(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        await world.alice.calls.stop(3.0)
        ended = await world.bob.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        assert ("hang up", 0) in dialled.said
        assert ("hang up", 0) in rung.said
        await world.quiet()


@in_virtual_time
async def test_stopping_while_the_phone_rings_tells_the_caller(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        started = world.clock.monotonic()
        await world.bob.calls.stop(3.0)
        assert world.clock.monotonic() - started < 1.0
        await world.bob.agent._last_words()
        assert rung.said == [("hang up", 0)]
        assert dialled.said[-1] == ("refuse", 480)
