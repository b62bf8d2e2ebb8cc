"""Sealed messages that are damaged, forged, late, repeated or somebody else's: counted, dropped, and nothing rings."""

import asyncio
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from relay.agent.phone import Cancelled, HungUp, Refused
from relay.agent.sealed_dialog import SealedDialog
from relay.core import SystemEntropy, configure_logging
from relay.forward_publish import MOST_SIP, Peer, Reply, seal_note
from relay.sip import parse_message
from tests.agent.people import ONIONS, World, open_world
from tests.agent.scripted_call import ScriptedCall
from tests.agent.sealed_post import PLACE, note_from_alice, ring_from_alice, to_bob, token_for_alice
from tests.agent.virtual_time import in_virtual_time


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
            needed = (b"bayonne", b"opus", b"zrtp-hash")
            kept = [
                line for line in lines if any(word in line for word in needed) or not line.startswith(b"a=")
            ]
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
    voice = world.alice.calls._runners[-1].voice.keyed
    assert voice is not None
    offered = voice.packer.offer_control(b"BYE sip:alice@127.0.0.1 SIP/2.0\r\n\r\n")
    await asyncio.sleep(0.5)
    return offered
