"""Both sides of whole calls, joined by a reflector in memory: voice, hang-up, losses, and what is forgotten."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from relay.agent.call import FAREWELL_SECONDS, PEER_SILENCE_SECONDS
from relay.agent.call_runner import CallRunner
from relay.agent.call_security import NOT_SECURED
from relay.agent.commands import Tone
from relay.agent.phone import Answered, HungUp, Reoffered
from relay.core import PeerError, SeededEntropy, TransportUnavailable
from relay.forward_publish import CallKeys
from relay.rtp.cell import TICK
from relay.sip.opus_offer import neutral_offer
from tests.agent.people import Person, open_world
from tests.agent.scripted_call import TONES, VOICE, Microphone, ScriptedCall
from tests.agent.virtual_time import in_virtual_time


def runner_of(person: Person) -> CallRunner:
    return person.calls._runners[-1]


async def speak(person: Person, call: ScriptedCall, frames: int, payload: bytes = VOICE) -> None:
    for number in range(frames):
        person.microphone.say(bytes([number]) + payload[1:], call.agents_port)
        await asyncio.sleep(TICK)
    await asyncio.sleep(0.2)


def frames_of(person: Person, payload: bytes = VOICE) -> list[int]:
    """The numbers of the spoken frames that this person's phone heard."""
    return [heard[0] for heard in person.microphone.payloads if heard[1:] == payload[1:]]


@in_virtual_time
async def test_a_whole_call(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        assert dialled.said == [("progress", 180), ("answer", 200)]
        await speak(world.alice, dialled, 40)
        await speak(world.bob, rung, 40)
        # What came in a burst when the lines met, the reflector gives up, one in ten calls; it counts it.
        given_up = world.given_up
        assert given_up <= 2
        for person in (world.alice, world.bob):
            heard = frames_of(person)
            assert heard == sorted(set(heard))
            assert len(heard) >= 40 - given_up
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        ended = await world.bob.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        assert int(str(ended.fields["lost_cells"])) <= min(world.given_up, 2)
        assert int(str(ended.fields["cells_received"])) > 80
        assert ("hang up", 0) in rung.said
        assert len(world.alice.sent) + len(world.bob.sent) == 2, "ring and answer; the hang-up went in cells"
        await world.quiet()
        assert not world.lines
        for person in world.people.values():
            (opened,), (closed,) = person.events("line-opening"), person.events("line-closed")
            assert closed.at - opened.at >= 3.0, "a line lingers after its call"
        assert len(world.ever) == 2
        assert all(line.client.closed for line in world.ever)


@in_virtual_time
async def test_agents_that_are_not_in_the_same_call_hang_up_on_both_phones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody joined two calls, and passes on all that is in their cells."""
    fresh = SeededEntropy("another secret in each")
    monkeypatch.setattr(CallKeys, "auxsecret", lambda _: fresh.token(32))
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        world.bob.pick_up(rung)
        reasons = set()
        for person, call in ((world.alice, dialled), (world.bob, rung)):
            told = await person.wait("voice-alarm")
            assert (told.fields["kind"], told.fields["ends_call"]) == ("auxsecret_mismatch", True)
            await person.wait("call-ended")
            reasons.add(person.events("call-ended")[0].fields["reason"])
            assert ("hang up", 0) in call.said
            assert not person.events("secured")
            assert not person.events("voice")
        assert NOT_SECURED in reasons
        await world.quiet()


@in_virtual_time
async def test_a_line_lingers_with_a_cell_in_every_tick_and_no_key(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, _ = await world.talk()
        alice, bob = runner_of(world.alice), runner_of(world.bob)
        alice.call._stagger = bob.call._stagger = 6.0
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        await world.bob.wait("call-ended")
        await world.alice.wait("call-ended")
        assert len(world.lines) == 2
        before = [line.cells for line in world.lines]
        for runner in (alice, bob):
            assert runner.voice.keyed is None
            assert runner.ring is None
            assert runner.opened is None
            assert runner.voice.next_body() is None
        lines = list(world.lines)
        await asyncio.sleep(0.5)
        assert [line.cells - old for line, old in zip(lines, before, strict=True)] == [25, 25]
        await world.quiet()


@in_virtual_time
async def test_each_side_hears_a_tone_before_the_lines_meet_and_after_a_hang_up(tmp_path: Path) -> None:
    async with open_world(tmp_path, start_delay=1.9) as world:
        dialled, rung = await world.ring()
        world.bob.pick_up(rung)
        await asyncio.sleep(0.3)
        waiting, farewell = TONES[Tone.WAITING], TONES[Tone.FAREWELL]
        assert world.bob.microphone.payloads
        assert set(world.bob.microphone.payloads) <= set(waiting)
        assert set(world.alice.microphone.payloads) <= set(waiting)
        await world.bob.wait("crossed")
        await asyncio.sleep(0.1)
        world.bob.microphone.heard.clear()
        await asyncio.sleep(0.5)
        assert not world.bob.microphone.heard, "between the tones there is only what the other side says"
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        await world.bob.wait("hang-up")
        await asyncio.sleep(FAREWELL_SECONDS + 0.1)
        assert set(world.bob.microphone.payloads) == set(farewell)
        assert ("hang up", 0) in rung.said
        await world.quiet()


@in_virtual_time
async def test_a_long_wait_is_counted_down_in_pips(tmp_path: Path) -> None:
    async with open_world(tmp_path, start_delay=5.0) as world:
        _, rung = await world.ring()
        runner_of(world.bob).call._start_delay = 4.5
        world.bob.pick_up(rung)
        await asyncio.sleep(0.3)
        assert not set(world.bob.microphone.payloads) & set(TONES[Tone.WAITING][:10])
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.alice.wait("call-ended")
        await world.quiet()
        assert not [line for line in world.ever if line.client.opened and line.client.crossed]


@in_virtual_time
async def test_lost_cells_are_counted_and_the_rest_is_heard(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        chance = SeededEntropy("losses")
        world.loses = lambda cell: chance.below(10) == 0
        await speak(world.alice, dialled, 60)
        world.loses = lambda cell: False
        heard = frames_of(world.bob)
        assert 30 <= len(heard) < 60
        assert heard == sorted(heard)
        world.bob.agent._phone_event(HungUp(rung.as_call))
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        lost = await world.bob.wait("call-ended")
        assert 0 < int(str(lost.fields["lost_cells"])) < 60
        await world.quiet()


@in_virtual_time
async def test_a_reflector_that_dies_without_a_backup_ends_the_call_and_a_tone_says_so_before(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        died = world.clock.monotonic()
        world.reflector_gone = True
        await asyncio.sleep(3.0)
        for person, call in ((world.alice, dialled), (world.bob, rung)):
            assert ("hang up", 0) not in call.said
            assert set(person.microphone.payloads[-50:]) <= set(TONES[Tone.WAITING])
        for person, call in ((world.alice, dialled), (world.bob, rung)):
            ended = await person.wait("call-ended")
            assert ended.fields["reason"] in (
                "the other side went silent",
                "the reflector went silent",
                "hung up by the other side",
            )
            assert ("hang up", 0) in call.said
            assert ended.at - died < PEER_SILENCE_SECONDS + FAREWELL_SECONDS + 2.5
            assert not person.pool.distrusted, "it was open: the tickets are good"
        await world.quiet()


@in_virtual_time
async def test_a_reflector_that_never_answers_is_distrusted(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.reflector_gone = True
        dialled, rung = await world.ring()
        world.bob.pick_up(rung)
        for person, call in ((world.alice, dialled), (world.bob, rung)):
            await person.wait("call-ended")
            assert ("hang up", 0) in call.said
        assert world.bob.pool.distrusted or world.alice.pool.distrusted
        await world.quiet()


@in_virtual_time
async def test_one_line_is_late_and_the_other_waits_for_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, start_delay=2.0) as world:
        _, rung = await world.ring()
        runner_of(world.bob).call._start_delay = 30.0
        world.bob.pick_up(rung)
        await world.alice.wait("crossed")
        assert world.alice.events("crossed")[0].at - world.alice.events("line-open")[0].at > 25.0
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()


@in_virtual_time
async def test_a_peer_whose_line_never_comes_is_given_up(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        runner_of(world.bob).call._start_delay = 500.0
        world.bob.lose_messages = False
        world.bob.pick_up(rung)
        ended = await world.alice.wait("call-ended", limit=150.0)
        assert "did not come in time" in str(ended.fields["reason"])
        assert ("hang up", 0) in dialled.said
        await world.bob.wait("call-ended", limit=150.0)
        assert len(world.ever) == 1, "a line that was not open yet never opens"
        await world.quiet()


@in_virtual_time
async def test_a_peer_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, _ = await world.talk()
        runner_of(world.bob).voice.keyed = None  # it forgot the keys: its cells go on, random
        world.bob.lose_messages = True
        started = world.clock.monotonic()
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "the other side went silent"
        assert world.alice.events("line-lingering")[0].at - started < PEER_SILENCE_SECONDS + 1.0
        assert ("hang up", 0) in dialled.said
        world.bob.agent._phone_event(HungUp(world.bob.rung[0].as_call))
        await world.quiet()


@in_virtual_time
async def test_a_bye_that_the_cells_do_not_carry_goes_sealed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, _ = await world.talk()
        runner_of(world.bob).voice._on_control = lambda data: None
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        ended = await world.bob.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        assert len(world.alice.sent) == 2, "the ring and the BYE"
        await world.quiet()


@in_virtual_time
async def test_what_the_phone_hears_follows_its_new_port(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        moved = Microphone()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: moved, local_addr=("127.0.0.1", 0))
        offer = neutral_offer(address="127.0.0.1", port=moved.port, session_id=7, version=2)
        world.bob.agent._phone_event(Reoffered(rung.as_call, offer))
        world.bob.agent._phone_event(Reoffered(rung.as_call, dataclasses.replace(offer, media=())))
        await speak(world.alice, dialled, 5)
        assert [heard[1:] for heard in moved.payloads] == [VOICE[1:]] * 5
        transport.close()
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()


@in_virtual_time
async def test_a_phone_that_falls_silent_is_asked_and_one_that_is_gone_ends_the_call(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        for _ in range(40):
            await speak(world.bob, rung, 1)
            await asyncio.sleep(1.0)
        assert dialled.said.count(("probe", 0)) == 1
        assert ("probe", 0) not in rung.said
        world.alice.agent._phone_event(HungUp(dialled.as_call))
        ended = await world.bob.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        await world.quiet()


@in_virtual_time
async def test_hostile_cells_of_the_peer_do_no_harm(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        bob = runner_of(world.bob)
        assert bob.voice.keyed is not None
        long_via = b"".join(b"v:SIP/2.0/UDP a;branch=z9hG4bK%d\r\n" % number for number in range(90))
        bye = bob.dialog.request("BYE").replace(b"Via:", long_via + b"Via:", 1)
        for data in (b"\x00" * 300, b"BYE sip:x SIP/2.0\r\n\r\n", b"\xff" * 111, bye[:2000]):
            bob.voice.keyed.packer.offer_control(data)
        await asyncio.sleep(1.0)
        assert not world.alice.events("call-ended")
        given_up = world.given_up
        await speak(world.alice, dialled, 5)
        heard = frames_of(world.bob)
        assert heard == sorted(set(heard))
        assert len(heard) >= max(1, 5 - (world.given_up - given_up)), "the call goes on"
        for _ in range(5):
            # It fills forty cells, a reflector may trim one, and nothing but a transaction of SIP sends it again.
            bob.voice.keyed.packer.offer_control(bye)
            await asyncio.sleep(4.0)
            if world.alice.events("call-ended"):
                break
        (ended,) = world.alice.events("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        world.bob.agent._phone_event(HungUp(rung.as_call))
        await world.quiet()
        assert not world.lines, "whatever the answer to that BYE ran into, the line was released"


@in_virtual_time
async def test_a_part_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.talk()
        runner = runner_of(world.alice)

        def broken(what: str) -> None:
            raise PeerError("broken")

        runner._send_in_cells = broken  # type: ignore[method-assign]
        world.bob.agent._phone_event(HungUp(rung.as_call))
        ended = await world.alice.wait("call-ended")
        assert ended.fields["reason"] == "hung up by the other side"
        assert ("hang up", 0) in dialled.said
        await world.quiet()
        assert not world.lines


@in_virtual_time
async def test_a_ring_whose_keys_are_of_no_use_ends_when_it_is_answered(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        _, rung = await world.ring()
        runner = runner_of(world.bob)
        assert runner.opened is not None
        low_order = dataclasses.replace(
            runner.opened, _fresh=dataclasses.replace(runner.opened._fresh, x25519=zero_key())
        )
        runner.opened = low_order
        world.bob.pick_up(rung)
        ended = await world.bob.wait("call-ended")
        assert "cannot be answered" in str(ended.fields["reason"])
        assert ("hang up", 0) in rung.said
        await world.quiet()


def zero_key() -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(bytes(32))


@in_virtual_time
async def test_an_answer_that_cannot_be_sent_ends_the_call(tmp_path: Path) -> None:
    async with open_world(tmp_path, start_delay=5.0) as world:
        _, rung = await world.ring()
        runner_of(world.bob).call._start_delay = 4.0
        world.bob.lose_messages = True
        world.bob.pick_up(rung)
        await world.bob.wait("call-ended")
        assert ("hang up", 0) in rung.said
        assert not world.ever, "no line opened for a call that nobody knows of"


@pytest.mark.parametrize("error", [TransportUnavailable("no socket"), PeerError("bad descriptor key")])
def test_a_line_that_cannot_be_had_ends_the_call(tmp_path: Path, error: Exception) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            dialled, rung = await world.ring()

            def refuse(name: str) -> object:
                raise error

            world.bob.pool.take = refuse  # type: ignore[assignment,method-assign]
            world.bob.pick_up(rung)
            for person, call in ((world.alice, dialled), (world.bob, rung)):
                await person.wait("call-ended")
                assert ("hang up", 0) in call.said
            await world.quiet()

    scenario()


@in_virtual_time
async def test_an_answer_of_the_phone_without_opus_hangs_up_and_declines(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring()
        nothing = dataclasses.replace(world.bob.offer(), media=())
        world.bob.agent._phone_event(Answered(rung.as_call, nothing))
        await world.alice.wait("call-ended")
        assert ("hang up", 0) in rung.said
        assert ("refuse", 603) in dialled.said
