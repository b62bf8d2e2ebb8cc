"""What a phone dials and what a ring asks, in every way in which it can go wrong."""

import asyncio
import dataclasses
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from relay.agent.calls import HEAD_START, MAX_CALLS
from relay.agent.phone import Cancelled, HungUp, Refused, Ringing
from relay.agent.sealed_dialog import SealedDialog
from relay.core import SystemEntropy, configure_logging
from relay.forward_publish import MOST_SIP, Peer, Reply, seal_note, seal_ring
from relay.sip import parse_message
from relay.sip.opus_offer import neutral_offer
from tests.agent.people import ONIONS, Person, ScriptedCall, World, open_world
from tests.agent.virtual_time import in_virtual_time

CODE = bytes(16)
PLACE = "d" * 32


def untouched(person: Person) -> bool:
    """Whether nothing was sent, nor about to be."""
    return not person.sent and not person.bound and not person.agent._tasks


def ring_from_alice(
    world: World,
    *,
    places: tuple[str, ...] = (PLACE,),
    sip: Callable[[bytes], bytes] = lambda sip: sip,
    reply: Reply | None = None,
) -> bytes:
    """A ring as alice's agent would seal it, or a hostile one of her making."""
    alice, bob = world.alice, world.bob
    contact = alice.book.find("bob")
    assert contact is not None
    assert contact.whereabouts is not None
    uris = [f"sip:{person.address}.bayonne.alt" for person in (alice, bob)]
    dialog = SealedDialog(uris[0], uris[1], SystemEntropy())
    offer = neutral_offer(address="192.0.2.1", port=9, session_id=1)
    body, _ = seal_ring(
        alice.agent._identity,
        Peer(contact.public_key, contact.secret),
        contact.whereabouts.prekey,
        sip(dialog.invite(offer, places, CODE, 28.0)),
        reply or Reply(ONIONS["alice"], contact.token.token),
        world.clock,
        SystemEntropy(),
    )
    return body


async def to_bob(world: World, body: bytes) -> None:
    await world.bob.receive(token_for_alice(world), body)


def token_for_alice(world: World) -> str:
    contact = world.bob.book.find("alice")
    assert contact is not None
    return contact.token.token


def note_from_alice(world: World, sip: bytes) -> bytes:
    contact = world.alice.book.find("bob")
    assert contact is not None
    return world.alice.agent._correspondence.seal_note(contact, sip)


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


@pytest.mark.parametrize("why", ["Tor is not running", "no reflector is within reach"])
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
        world.alice.book.invite(
            "carol", (ONIONS["alice"],), world.alice.agent._identity.public_key, SystemEntropy()
        )
        call = world.alice.dial("carol")
        assert call.said == [("refuse", 480)]
        assert untouched(world.alice)


@in_virtual_time
async def test_a_contact_whose_record_expired_is_480(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        bob = world.alice.book.find("bob")
        assert bob is not None
        assert bob.whereabouts is not None
        old = msgspec.structs.replace(bob.whereabouts, expires=int(world.clock.wall()) - 1)
        world.alice.book.found(bob, bob.public_key, old)
        call = world.alice.dial("bob")
        assert call.said == [("refuse", 480)]
        assert untouched(world.alice)


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
async def test_no_reflector_in_common_is_480_and_opens_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path, reflectors={"alice": ["e" * 32], "bob": ["f" * 32]}) as world:
        dialled = world.alice.dial("bob")
        await world.alice.wait("call-ended")
        assert dialled.said[-1] == ("refuse", 480)
        assert not world.bob.rung
        assert not world.ever


@in_virtual_time
async def test_a_reflector_that_was_not_offered_is_never_used(tmp_path: Path) -> None:
    places = [letter * 32 for letter in "ef01"]
    async with open_world(tmp_path, reflectors={"alice": places, "bob": places}) as world:
        _, rung = await world.ring()
        runner = world.bob.calls._runners[0]
        offered = world.alice.calls._runners[0].offered
        (hidden,) = set(places) - set(offered)
        runner.take_over(runner._join_code, hidden)
        world.bob.pick_up(rung)
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "the answer made no sense"
        assert world.alice.dropped == 1
        assert not world.alice.events("line-opening")
        assert world.alice.calls._runners == [] or not world.alice.calls.any
        await world.quiet()


@pytest.mark.parametrize(
    "damage",
    [
        lambda sip: b"",
        lambda sip: b"\x00" * 900,
        lambda sip: b"INVITE",
        lambda sip: sip[:-40],
        lambda sip: sip.replace(b"INVITE", b"REFER!"),
        lambda sip: sip.replace(b"Content-Length: ", b"Content-Length: 9"),
        lambda sip: sip.replace(b"m=audio", b"m="),
        lambda sip: sip.replace(PLACE.encode(), b""),
        lambda sip: sip.replace(b"Call-ID: ", b"Call-ID: \xed\xa0\x80"),
        lambda sip: sip.replace(b"From: ", b"From: \xff\xfe"),
        lambda sip: sip.replace(b"CSeq: 1", b"CSeq: 99999999999999"),
    ],
)
def test_a_ring_with_damaged_sip_is_counted_and_the_phone_stays_silent(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            await to_bob(world, ring_from_alice(world, sip=damage))
            await asyncio.sleep(1.0)
            assert not world.bob.rung
            assert not world.bob.sent
            assert world.bob.dropped == 1
            assert not world.bob.calls.any

    scenario()


@pytest.mark.parametrize(
    "reply",
    [
        Reply("", ""),
        Reply("a" * 55, "a" * 52),
        Reply("a" * 56, "a" * 51),
        Reply("a" * 56, "x@evil\r\nRoute: <sip:x>\r\n".ljust(52, "a")),
        Reply("203.0.113.9".ljust(56, "0"), "a" * 52),
    ],
)
def test_a_ring_that_wants_its_answer_nowhere_is_dropped(tmp_path: Path, reply: Reply) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            await to_bob(world, ring_from_alice(world, reply=reply))
            await asyncio.sleep(1.0)
            assert not world.bob.rung
            assert not world.bob.sent
            assert world.bob.dropped == 1

    scenario()


@in_virtual_time
async def test_a_ring_whose_answer_would_not_fit_ends_quietly(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:

        def swollen(sip: bytes) -> bytes:
            """As long as before, but more of it in headers that every answer repeats."""
            message = parse_message(sip)
            lines = message.body.split(b"\r\n")
            kept = [line for line in lines if b"bayonne" in line or not line.startswith(b"a=")]
            message.body = b"\r\n".join(kept)
            for name in ("Contact", "Expires", "Max-Forwards"):
                message.headers.remove(name)
            message.headers.add("Via", "SIP/2.0/UDP sealed.invalid;branch=z9hG4bK")
            branch = b"x" * (MOST_SIP - len(message.to_bytes()))
            return message.to_bytes().replace(b"z9hG4bK\r\n", b"z9hG4bK" + branch + b"\r\n")

        await to_bob(world, ring_from_alice(world, sip=swollen))
        await asyncio.sleep(0.1)
        (rung,) = world.bob.rung
        world.bob.pick_up(rung)
        await world.bob.wait("call-ended")
        assert ("hang up", 0) in rung.said
        assert not world.bob.sent
        await world.quiet()


@in_virtual_time
async def test_a_replayed_ring_rings_once(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        body = ring_from_alice(world)
        for _ in range(3):
            await to_bob(world, body)
            await asyncio.sleep(0.1)
        assert len(world.bob.rung) == 1
        world.bob.agent._phone_event(Refused(world.bob.rung[0].as_call, 603))
        await to_bob(world, body)
        await asyncio.sleep(0.1)
        assert len(world.bob.rung) == 1
        assert world.bob.dropped == 3


@in_virtual_time
async def test_a_cancel_that_overtakes_the_phone_lets_it_stay_silent(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        kept: list[bytes] = []

        def keep(sip: bytes) -> bytes:
            kept.append(sip)
            return sip

        read = world.bob.agent._correspondence._open
        read(token_for_alice(world), ring_from_alice(world, sip=keep))
        cancel = kept[0].split(b"Contact:")[0].replace(b"INVITE", b"CANCEL") + b"Content-Length: 0\r\n\r\n"
        read(token_for_alice(world), note_from_alice(world, cancel))
        await world.quiet()
        assert not world.bob.rung
        assert world.bob.events("call-ended")[0].fields["reason"] == "cancelled by the caller"


# -- answers and notes -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_answer_for_a_ring_that_ended_is_dropped(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        world.bob.calls._runners[0].call._start_delay = 5.0
        world.alice.agent._phone_event(Cancelled(dialled.as_call))
        world.bob.pick_up(rung)
        await world.bob.wait("answered")
        await world.bob.wait("call-ended")
        assert world.alice.dropped == 1
        assert dialled.said == [("progress", 180)]
        assert not world.alice.events("line-opening")
        await world.quiet()
        assert not world.ever, "the CANCEL found the callee before its line opened"


@in_virtual_time
async def test_an_answer_that_comes_twice_counts_once(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        token, body = world.posted[-1]
        await world.alice.receive(token, body)
        assert world.alice.dropped == 1
        assert dialled.said == [("progress", 180), ("answer", 200)]
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()


@in_virtual_time
async def test_a_note_for_another_call_is_ignored(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        _, rung = await world.ring()
        stranger = SealedDialog("sip:a.bayonne.alt", "sip:b.bayonne.alt", SystemEntropy())
        for sip in (stranger.request("CANCEL"), stranger.request("BYE"), b"nonsense", b""):
            await to_bob(world, note_from_alice(world, sip))
        assert rung.said == []
        assert world.bob.calls.any
        world.bob.agent._phone_event(Refused(rung.as_call, 603))
        await world.quiet()


@in_virtual_time
async def test_forged_notes_are_dropped(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        contact = world.alice.book.find("bob")
        assert contact is not None
        assert contact.whereabouts is not None
        bye = world.alice.calls._runners[0].dialog.request("BYE")
        eve = SystemEntropy().token(32)
        mallory = type(world.alice.agent._identity).from_seed(eve)
        good = note_from_alice(world, bye)
        forged = [
            seal_note(
                mallory,
                Peer(contact.public_key, contact.secret),
                contact.whereabouts.prekey,
                bye,
                world.clock,
                SystemEntropy(),
            ),
            seal_note(
                world.alice.agent._identity,
                Peer(contact.public_key, eve),
                contact.whereabouts.prekey,
                bye,
                world.clock,
                SystemEntropy(),
            ),
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:-1],
            bytes(4096),
        ]
        for body in forged:
            await to_bob(world, body)
        await world.bob.receive("a" * 52, good)
        assert world.bob.dropped == len(forged) + 1
        assert world.bob.calls.any
        assert rung.said == []
        await to_bob(world, good)
        assert world.bob.events("hang-up"), "the real one counts"
        await world.bob.wait("call-ended")
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        await world.quiet()


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


# -- the log -----------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that the process would log, unredacted words included."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(level="debug", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@in_virtual_time
async def test_no_log_line_of_calls_that_fail_names_anybody(tmp_path: Path, log: io.StringIO) -> None:
    async with open_world(tmp_path) as world:
        await to_bob(world, ring_from_alice(world, sip=lambda sip: sip[:-40]))
        await to_bob(world, bytes(4096))
        world.alice.dial("carol")
        world.alice.lose_messages = True
        world.alice.dial("bob")
        await world.alice.wait("call-ended")
        world.alice.lose_messages = False
        dialled, rung = await world.talk()
        assert await said_in_cells(world, dialled)
        world.reflector_gone = True
        await world.bob.wait("call-ended")
        await world.quiet()
        written = log.getvalue()
        assert "dropped" in written
        for secret in ("alice", "bob", "carol", "127.0.0.1", "192.0.2.1", *ONIONS.values(), "sip:", PLACE):
            assert secret not in written.lower()
        for person in world.people.values():
            assert person.address not in written
        assert rung.said


async def said_in_cells(world: World, dialled: ScriptedCall) -> bool:
    """Something in the cells that makes no sense, from alice to bob."""
    voice = world.alice.calls._runners[-1]._voice
    assert voice is not None
    offered = voice.packer.offer_control(b"BYE sip:alice@127.0.0.1 SIP/2.0\r\n\r\n")
    await asyncio.sleep(0.5)
    return offered
