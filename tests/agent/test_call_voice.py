"""The voice of whole calls in which a phone has no Opus: translated, with keys, and told to the owner."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from relay.agent.phone import Answered
from relay.rtp import Codec, OpusDecoder, OpusEncoder, TelephoneEvent, coder
from relay.rtp.cell import TICK
from relay.rtp.opus import FRAME_SIZE
from relay.sip.sdp import SessionDescription
from tests.agent.people import Person, open_world
from tests.agent.scripted_call import ScriptedCall
from tests.agent.virtual_time import in_virtual_time

PITCH = 425.0


def telephone(person: Person, payload_type: int, *more: str) -> SessionDescription:
    """What a phone with one old codec and keys says of itself."""
    lines = [
        *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"),
        f"m=audio {person.microphone.port} RTP/AVP {payload_type} 97",
        "a=rtpmap:97 telephone-event/8000",
        *more,
    ]
    return SessionDescription.parse("\r\n".join(lines).encode())


def tone(rate: int, seconds: float = 1.6) -> bytes:
    at = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * PITCH * at)).astype("<i2").tobytes()


def pitch(sound: bytes, rate: int) -> float:
    samples = np.frombuffer(sound, "<i2")[rate // 2 :].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


async def say(person: Person, call: ScriptedCall, payloads: list[bytes], payload_type: int) -> None:
    for payload in payloads:
        person.microphone.say(payload, call.agents_port, payload_type)
        await asyncio.sleep(TICK)
    await asyncio.sleep(0.2)


@in_virtual_time
async def test_a_phone_that_cannot_be_translated_for_any_more_is_not_left_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_world(tmp_path) as world:
        dialled, rung = await world.ring(telephone(world.alice, 0))
        world.bob.pick_up(rung)
        for person in (world.alice, world.bob):
            await person.wait("secured")
        stream = world.alice.calls._runners[-1].leg.stream

        def broken() -> None:
            raise RuntimeError("a secret of the codec's")

        setattr(stream, "tick", broken)  # noqa: B010 - a method
        for person, reason in (
            (world.alice, "your phone's sound could not be translated"),
            (world.bob, "hung up by the other side"),
        ):
            assert (await person.wait("call-ended")).fields["reason"] == reason
        assert ("hang up", 0) in dialled.said
        await world.quiet()
        assert not world.lines
    told = "".join(capfd.readouterr())
    assert told.count("could not be translated") == 1
    assert "secret" not in told


@in_virtual_time
async def test_a_telephone_with_g711_and_a_phone_with_opus_hear_each_other(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        alice, bob = world.alice, world.bob
        dialled, rung = await world.ring(telephone(alice, 0))
        bob.pick_up(rung)
        for person in (alice, bob):
            await person.wait("secured")
        assert dialled.answered_with is not None
        assert dialled.answered_with.media[0].formats == ("0", "97")
        assert alice.events("transcoding")[-1].fields == {"codec": "G.711 (mu law)"}
        assert not bob.events("transcoding")

        coded = coder(Codec.PCMU).encode(tone(8000))
        bob.microphone.heard.clear()
        await say(alice, dialled, [coded[at : at + 160] for at in range(0, len(coded), 160)], 0)
        decoder = OpusDecoder(8000)
        frames = [one.payload for one in bob.microphone.heard if one.payload_type == 96]
        assert {len(frame) for frame in frames} == {FRAME_SIZE}
        assert abs(pitch(b"".join(map(decoder.decode, frames)), 8000) - PITCH) < 8

        encoder, sound = OpusEncoder(48_000), tone(48_000)
        alice.microphone.heard.clear()
        await say(bob, rung, [encoder.encode(sound[at : at + 1920]) for at in range(0, len(sound), 1920)], 96)
        heard = [one.payload for one in alice.microphone.heard if one.payload_type == 0]
        assert {len(payload) for payload in heard} == {160}
        assert abs(pitch(coder(Codec.PCMU).decode(b"".join(heard[:80])), 8000) - PITCH) < 8

        await say(alice, dialled, [TelephoneEvent(5, 160 * number).to_bytes() for number in (1, 2, 3)], 97)
        keys = [one for one in bob.microphone.heard if one.payload_type == 101]
        assert [TelephoneEvent.parse(one.payload).event for one in keys] == [5, 5, 5]
        await world.hang_up(alice, dialled)


@in_virtual_time
async def test_two_telephones_without_opus_and_the_keys_they_press(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        alice, bob = world.alice, world.bob
        dialled, rung = await world.ring(telephone(alice, 8))
        assert rung.offered is not None
        assert rung.offered.media[0].formats == ("96", "9", "8", "0", "101"), "bob's phone may choose"
        bob.agent._phone_event(Answered(rung.as_call, telephone(bob, 9, "a=ptime:40")))
        for person in (alice, bob):
            await person.wait("secured")
        assert bob.events("transcoding")[-1].fields == {"codec": "G.722"}
        coded = coder(Codec.PCMA).encode(tone(8000))
        bob.microphone.heard.clear()
        await say(alice, dialled, [coded[at : at + 160] for at in range(0, len(coded), 160)], 8)
        heard = [one.payload for one in bob.microphone.heard if one.payload_type == 9]
        assert {len(payload) for payload in heard} == {320}, "40 ms each"
        assert abs(pitch(coder(Codec.G722).decode(b"".join(heard[:40])), 16_000) - PITCH) < 8

        await say(alice, dialled, [TelephoneEvent(5, 160 * number).to_bytes() for number in (1, 2, 3)], 97)
        keys = [one for one in bob.microphone.heard if one.payload_type == 97]
        assert [TelephoneEvent.parse(one.payload).event for one in keys] == [5, 5, 5]
        await world.hang_up(alice, dialled)


@in_virtual_time
async def test_a_telephone_that_sends_nothing_is_asked_whether_it_is_there(tmp_path: Path) -> None:
    """Its agent goes on sending frames for it, which must not be taken for the phone's own."""
    async with open_world(tmp_path) as world:
        alice = world.alice
        dialled, rung = await world.ring(telephone(alice, 8))
        world.bob.pick_up(rung)
        await alice.wait("secured")
        await asyncio.sleep(31.0)
        assert ("probe", 0) in dialled.said
        await world.hang_up(alice, dialled)


@in_virtual_time
async def test_signatures_travel_beside_the_voice_and_only_while_there_are_keys(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        dialled, _ = await world.talk()
        (alice,), (bob,) = (person.calls._runners for person in (world.alice, world.bob))
        heard: list[bytes] = []
        bob.voice.on_signature = heard.append
        signature = bytes(range(256)) * 4
        for _ in range(3):
            # One that waits already keeps others out: they are said again anyway.
            alice.voice.say_signature(signature)
        await asyncio.sleep(2.0)
        assert heard == [signature]
        bob.voice.say_signature(b"nobody asked, and nothing comes of it")
        await world.hang_up(world.alice, dialled)
        alice.voice.say_signature(signature)
        assert heard == [signature]
