"""The RTP socket towards a phone: loopback alone, and the phone is heard where it speaks."""

import asyncio

import pytest

from relay.agent.commands import Tone
from relay.agent.phone_leg import MOST_PIPS, PhoneLeg, countdown, encoded_pips
from relay.core import SeededEntropy, TransportUnavailable
from relay.rtp import PhoneFormat
from relay.rtp.cell import TICK
from tests.agent.scripted_call import TONES, VOICE, Microphone
from tests.agent.virtual_time import LoopClock, in_virtual_time


async def leg_and_phone() -> tuple[PhoneLeg, int, list[bytes], Microphone]:
    said: list[bytes] = []
    leg = PhoneLeg(SeededEntropy(1), LoopClock(), TONES, lambda one: said.append(one.data), lambda: None)
    port = await leg.open("127.0.0.1")
    phone = Microphone()
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: phone, local_addr=("127.0.0.1", 0))
    return leg, port, said, phone


def end(leg: PhoneLeg, phone: Microphone) -> None:
    leg.close()
    leg.close()
    assert phone.transport is not None
    phone.transport.close()


@in_virtual_time
async def test_nothing_is_taken_before_the_phone_said_where_it_is() -> None:
    leg, port, said, phone = await leg_and_phone()
    phone.say(VOICE, port)
    await asyncio.sleep(0.1)
    assert not said
    assert leg.strangers == 1
    end(leg, phone)


@in_virtual_time
async def test_a_phone_that_names_another_address_is_still_served_here() -> None:
    leg, port, said, phone = await leg_and_phone()
    leg.connect("192.0.2.1", phone.port, PhoneFormat(107))
    phone.say(VOICE, port, 107)
    await asyncio.sleep(0.1)
    leg.hear(said[0])
    await asyncio.sleep(0.1)
    assert phone.payloads == [VOICE]
    assert phone.heard[0].payload_type == 107
    end(leg, phone)


@in_virtual_time
async def test_what_it_hears_follows_where_it_speaks_from() -> None:
    leg, port, said, phone = await leg_and_phone()
    leg.connect("127.0.0.1", 9, PhoneFormat(96))
    phone.say(b"not opus", port, 0)
    await asyncio.sleep(0.1)
    assert not said
    phone.say(VOICE, port)
    await asyncio.sleep(0.1)
    leg.play(Tone.WAITING)
    await asyncio.sleep(10 * TICK)
    leg.play(Tone.NONE)
    await asyncio.sleep(0.1)
    assert phone.payloads[:10] == TONES[Tone.WAITING][:10]
    assert len(phone.payloads) <= 11
    end(leg, phone)


@in_virtual_time
async def test_pips_then_the_tone_over_and_over() -> None:
    leg, _, _, phone = await leg_and_phone()
    leg.connect("127.0.0.1", phone.port, PhoneFormat(96))
    first = countdown(2.5)
    leg.play_first(first, Tone.WAITING)
    await asyncio.sleep(len(first) * TICK + 3.0)
    leg.play(Tone.NONE)
    await asyncio.sleep(0.1)
    heard = phone.payloads
    assert heard[: len(first)] == first
    after = heard[len(first) :]
    assert len(after) >= 150
    assert after == (4 * TONES[Tone.WAITING])[: len(after)], "never the pips again"
    end(leg, phone)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.5, 9.0, 60.0])
def test_a_countdown_lasts_as_long_as_the_wait_and_a_group_more_at_most(seconds: float) -> None:
    frames = countdown(seconds)
    longest = max(len(encoded_pips(count)) for count in range(1, MOST_PIPS + 1))
    assert seconds <= len(frames) * TICK + 1e-9 <= seconds + longest * TICK
    assert {len(frame) for frame in frames} <= {60}


@in_virtual_time
async def test_a_host_that_is_not_ours_is_one_sentence() -> None:
    leg = PhoneLeg(SeededEntropy(1), LoopClock(), TONES, lambda voice: None, lambda: None)
    with pytest.raises(TransportUnavailable, match="no port"):
        await leg.open("192.0.2.1")
    leg.close()


@in_virtual_time
async def test_datagrams_from_elsewhere_are_counted_and_dropped() -> None:
    leg, _, said, phone = await leg_and_phone()
    leg.connect("127.0.0.1", phone.port, PhoneFormat(96))
    leg.datagram_received(b"\x80" * 40, ("192.0.2.7", 4000))
    assert leg.strangers == 1
    assert not said
    end(leg, phone)
