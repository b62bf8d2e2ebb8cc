"""Who the two ends of a call are, that they agree, what each side is told, and what ends a call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from relay.agent.call_security import NOT_SECURED
from relay.agent.phone_end import AGREE_SECONDS
from relay.agent.sealed_voice import SealedVoice
from relay.agent.voice_security import End, Mode
from relay.core import SeededEntropy
from relay.rtp import CONTENT_SIZE, Kind, TelephoneEvent
from relay.rtp.cell import BODY_SIZE, TICK
from relay.sip.line_voice import LineVoice
from relay.zrtp import Continuity
from tests.agent.amnesic_zids import AmnesicZids
from tests.agent.secured_sides import SPOKEN, Side, SocketPhone, cross, keys, meet
from tests.agent.virtual_time import LoopClock, in_virtual_time


def side(name: str, *, zrtp: bool, codec: str = "opus", zids: AmnesicZids | None = None) -> Side:
    clock = LoopClock()
    phone = SocketPhone(name, clock, zrtp=zrtp, codec=codec)
    return Side(name, phone, zids or AmnesicZids(clock, SeededEntropy(f"zids of {name}")))


@asynccontextmanager
async def called(alice: Side, bob: Side, seed: str = "call") -> AsyncIterator[tuple[Side, Side]]:
    """Both are known to each other; no cell has crossed yet."""
    try:
        await meet(alice, bob)
        for one, key in zip((alice, bob), keys(seed), strict=True):
            one.voice.key(key)
        yield alice, bob
    finally:
        alice.close()
        bob.close()


async def speak(speaker: Side, listener: Side, frames: int = 10) -> list[bytes]:
    """What the other phone hears of it."""
    listener.phone.heard.clear()
    for number in range(frames):
        speaker.phone.say(bytes([number]) + SPOKEN[1:])
        await cross(speaker, listener, TICK)
    await cross(speaker, listener, 0.1)
    return [packet.payload for packet in listener.phone.heard]


SPEECH = [bytes([number]) + SPOKEN[1:] for number in range(10)]
ENDS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize("ends", ENDS)
def test_the_two_ends_agree_and_are_told_as_what_they_are(ends: tuple[bool, bool]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with called(side("alice", zrtp=ends[0]), side("bob", zrtp=ends[1])) as (alice, bob):
            await cross(alice, bob, 3.0)
            wanted = [End.PHONE if zrtp else End.AGENT for zrtp in ends]
            for one, own, peer in ((alice, wanted[0], wanted[1]), (bob, wanted[1], wanted[0])):
                (told,) = one.secured
                assert (told.own_end, told.peer_end, told.mode) == (own, peer, Mode.of(own, peer))
                assert (told.agreement is None) is (own is End.PHONE), "an agent knows what it is an end of"
                if told.agreement is not None:
                    assert told.agreement.signalled
                    assert told.agreement.authenticated
                    assert told.agreement.continuity is Continuity.FIRST
                assert not one.alarms
                assert not one.broken
            assert alice.sas is not None
            assert alice.sas == bob.sas
            assert await speak(alice, bob) == SPEECH
            assert await speak(bob, alice) == SPEECH
        assert (alice.over, bob.over) == (1, 1)

    scenario()


@pytest.mark.parametrize("ends", ENDS)
def test_keys_pressed_pass_on_whatever_clock_the_other_end_has(ends: tuple[bool, bool]) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with called(side("alice", zrtp=ends[0]), side("bob", zrtp=ends[1])) as (alice, bob):
            await cross(alice, bob, 3.0)
            for presser, other in ((alice, bob), (bob, alice)):
                assert presser.phone.peer is not None
                assert presser.phone.peer.line is not None
                payload_type, rate = presser.phone.peer.line.events[0]
                other.phone.heard.clear()
                presser.phone.say()
                presser.phone.say(TelephoneEvent(5, 800).to_bytes(rate), payload_type)
                await cross(alice, bob, 0.2)
                assert other.phone.peer is not None
                told = [one for one in other.phone.heard if other.phone.line.event_rate(one.payload_type)]
                (key,) = told
                clock = other.phone.line.event_rate(key.payload_type)
                assert clock is not None
                assert TelephoneEvent.parse(key.payload, clock) == TelephoneEvent(5, 800)

    scenario()


@in_virtual_time
async def test_nothing_is_heard_before_there_are_keys() -> None:
    """Not in the clear inside cells either: who holds the cells' keys alone hears nothing."""
    for ends in ENDS:
        async with called(side("alice", zrtp=ends[0]), side("bob", zrtp=ends[1])) as (alice, bob):
            offered: list[bytes] = []

            def lost(sender: Side, body: bytes, offered: list[bytes] = offered) -> bytes | None:
                offered.append(body)
                return None

            await cross(alice, bob, 0.0)
            for _ in range(20):
                alice.phone.say()
                await cross(alice, bob, TICK, lost)
            assert {len(body) for body in offered} == {BODY_SIZE}
            packer = alice.voice.keyed.packer if alice.voice.keyed else None
            assert packer is not None
            assert packer.next() == bytes(CONTENT_SIZE), "nothing of it waits"


@in_virtual_time
async def test_from_call_to_call_the_ends_know_each_other() -> None:
    clock = LoopClock()
    zids = [AmnesicZids(clock, SeededEntropy(name)) for name in "ab"]
    for number in range(3):
        alice, bob = side("alice", zrtp=False, zids=zids[0]), side("bob", zrtp=False, zids=zids[1])
        async with called(alice, bob, f"call {number}"):
            await cross(alice, bob, 3.0)
            (told,) = alice.secured
            assert told.agreement is not None
            assert told.agreement.continuity is (Continuity.CONTINUED if number else Continuity.FIRST)
            assert told.agreement.verified is (number == 2)
            assert told.agreement.peer_verified is (number == 2)
            if number == 1:
                assert alice.comparing is not None
                assert bob.comparing is not None
                alice.comparing.verify_sas()
                bob.comparing.verify_sas()
    assert alice.comparing is not None
    alice.comparing.verify_sas()
    alice.comparing.reject_sas()
    assert not alice.broken, "over is over"


@in_virtual_time
async def test_who_is_rejected_is_unknown_the_next_time() -> None:
    clock = LoopClock()
    zids = [AmnesicZids(clock, SeededEntropy(name)) for name in "ab"]
    for number in range(2):
        alice, bob = side("alice", zrtp=False, zids=zids[0]), side("bob", zrtp=False, zids=zids[1])
        async with called(alice, bob, f"call {number}"):
            await cross(alice, bob, 3.0)
            (told,) = alice.secured
            assert told.agreement is not None
            assert told.agreement.continuity is Continuity.FIRST
            assert bob.alarm_kinds == (["cache_mismatch"] if number else [])
            assert not bob.broken, "loud, and the call goes on (RFC 6189 section 4.6.1.1)"
            assert alice.comparing is not None
            alice.comparing.reject_sas()


@pytest.mark.parametrize("caller", [True, False])
def test_a_telephone_with_zrtp_and_without_opus_has_it_with_its_agent(caller: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        old, new = side("old", zrtp=True, codec="g711"), side("new", zrtp=True)
        async with called(*((old, new) if caller else (new, old))):
            await cross(old, new, 4.0)
            (told,), (other,) = old.secured, new.secured
            assert (told.own_end, told.peer_end) == (End.AGENT, End.PHONE)
            assert other.own_end is End.PHONE
            assert told.agreement is not None
            assert told.agreement.sas.characters == new.phone.sas, "what the contact's phone shows"
            assert ("phone-secured", {"sas": old.phone.sas}) in old.events
            assert old.phone.sas != new.phone.sas
            assert not old.phone.alarms
            old.phone.raw.clear()
            new.phone.heard.clear()
            for _ in range(50):
                old.phone.say(bytes(160))
                new.phone.say()
                await cross(old, new, TICK)
            await cross(old, new, 0.2)
            assert (
                len([one for one in new.phone.heard if one.payload_type == new.phone.line.payload_type]) > 40
            )
            assert {len(one.payload) for one in old.phone.heard} == {160}
            assert {len(raw) for raw in old.phone.raw} == {12 + 160 + 10}, "SRTP, never in the clear"

    scenario()


@in_virtual_time
async def test_a_phone_that_announced_zrtp_and_then_does_without_ends_the_call() -> None:
    alice, bob = side("alice", zrtp=True), side("bob", zrtp=True)
    async with called(alice, bob):
        assert bob.phone.zrtp is not None
        bob.phone.zrtp.close()
        for _ in range(round(AGREE_SECONDS / 0.5) + 1):
            bob.phone.say()
            await cross(alice, bob, 0.5)
        assert not alice.phone.heard, "what it says in the clear goes nowhere"
        for one in (alice, bob):
            assert one.alarm_kinds == ["downgrade"]
            assert one.alarms[0].ends_call
            assert one.broken == [NOT_SECURED]
            assert not one.secured


@in_virtual_time
async def test_an_agent_whose_other_end_stays_silent_ends_the_call() -> None:
    alice, bob = side("alice", zrtp=False), side("bob", zrtp=False)
    async with called(alice, bob):
        await cross(alice, bob, 31.0, lambda sender, body: body if sender is bob else None)
        # Nothing of alice's arrives, so bob does not even begin.
        assert alice.alarm_kinds == ["downgrade"]
        assert alice.broken == [NOT_SECURED]


@in_virtual_time
async def test_agents_in_different_calls_are_told_apart_although_nothing_was_rewritten() -> None:
    """Somebody joins two calls and passes the ZRTP of both on: the agents' own keys do not fit."""
    alice, bob = side("alice", zrtp=False), side("bob", zrtp=False)
    async with called(alice, bob):
        alice.security.key(keys("one")[0])
        bob.security.key(keys("another")[1])
        await cross(alice, bob, 3.0)
        for one in (alice, bob):
            assert one.alarm_kinds == ["auxsecret_mismatch"]
            assert one.broken == [NOT_SECURED]
            assert not one.secured


@pytest.mark.parametrize("zrtp", [True, False])
@pytest.mark.parametrize("caller", [True, False])
def test_another_hello_than_the_announced_one_is_not_taken(zrtp: bool, caller: bool) -> None:
    """A phone that is rung is told no hash: its agent looks in its place."""

    @in_virtual_time
    async def scenario() -> None:
        alice, bob = side("alice", zrtp=zrtp), side("bob", zrtp=zrtp)

        def other(voice: SealedVoice) -> SealedVoice:
            return replace(voice, zrtp_hashes=(f"1.10 {1:064x}",))

        await (meet(alice, bob, to_caller=other) if caller else meet(alice, bob, to_callee=other))
        for one, key in zip((alice, bob), keys("call"), strict=True):
            one.voice.key(key)
        await cross(alice, bob, 1.0)
        deceived = alice if caller else bob
        assert deceived.alarm_kinds == ["hello_hash_mismatch"]
        assert deceived.broken == [NOT_SECURED]
        assert not deceived.secured
        if zrtp:
            assert not deceived.phone.raw, "its phone did not hear it"
        alice.close()
        bob.close()

    scenario()


@in_virtual_time
async def test_a_flood_of_a_phone_s_zrtp_is_bounded_and_leaves_room_for_the_rest() -> None:
    alice, bob = side("alice", zrtp=True), side("bob", zrtp=True)
    async with called(alice, bob):
        await cross(alice, bob, 3.0)
        assert alice.voice.keyed is not None
        hello = alice.phone.zrtp._exchange._own.hello if alice.phone.zrtp else b""
        assert hello
        wrapped = alice.phone.zrtp._exchange._outbox._writer.wrap(hello) if alice.phone.zrtp else b""
        for _ in range(500):
            alice.phone._send(wrapped)
            alice.phone._send(wrapped[:-1] + b"?")
            alice.phone._send(b"\x10\x00\x00\x00ZRTP" + bytes(2000))
            await asyncio.sleep(0.0)
            await asyncio.sleep(0.00001)
        packer = alice.voice.keyed.packer
        assert packer.counters["zrtp_dropped"] > 400
        assert packer.offer(Kind.CONTROL, b"BYE")
        assert await speak(alice, bob) == SPEECH


@in_virtual_time
async def test_phones_with_other_payload_types_understand_each_other() -> None:
    alice, bob = side("alice", zrtp=True), side("bob", zrtp=True)
    bob.phone.mirrors = False
    bob.phone.line = LineVoice(120, ((121, 48_000), (122, 8_000)))
    async with called(alice, bob):
        await cross(alice, bob, 3.0)
        assert await speak(alice, bob) == SPEECH
        assert {one.payload_type for one in bob.phone.heard} == {120}
        assert await speak(bob, alice) == SPEECH
        assert {one.payload_type for one in alice.phone.heard} == {98}
