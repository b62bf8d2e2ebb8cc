"""A phone without Opus, packet by packet: neutral towards the cells, continuous towards the phone, keys both ways."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.agent.phone_stream import EVENT_TYPE_IN_CELLS, PAYLOAD_TYPE_IN_CELLS, PhoneStream
from relay.agent.transcoded_stream import LARGEST_VOICE, TranscodedStream
from relay.core import SeededEntropy
from relay.rtp import (
    CONTENT_SIZE,
    Codec,
    ContentPacker,
    Datagram,
    Kind,
    OpusEncoder,
    PhoneFormat,
    RtpPacket,
    TelephoneEvent,
    coder,
)
from relay.rtp.opus import FRAME_SIZE

FORMAT = PhoneFormat(8, Codec.PCMA, 20, event_type=101)


def stream(agreed: PhoneFormat = FORMAT) -> TranscodedStream:
    return TranscodedStream(SeededEntropy("transcoded"), agreed)


def packet(number: int, payload: bytes, payload_type: int = 8, timestamp: int | None = None) -> bytes:
    stamp = 160 * number if timestamp is None else timestamp
    return RtpPacket(payload_type, number, stamp, 0xABCDEF01, payload).to_bytes()


def sound(kind: str, seconds: float) -> list[bytes]:
    """What a phone with the A law sends: packets of 20 ms, or (with `quiet`) none in silence."""
    count = round(seconds * 8000)
    at = np.arange(count) / 8000
    samples = {
        "speech": 9000 * np.sin(2 * np.pi * 180 * at) * (np.sin(2 * np.pi * 3 * at) > 0),
        "silence": np.zeros(count),
        "tone": 9000 * np.sin(2 * np.pi * 425 * at),
        "noise": np.random.default_rng(2).normal(0, 5000, count),
    }[kind]
    coded = coder(Codec.PCMA).encode(np.clip(samples, -32768, 32767).astype("<i2").tobytes())
    return [coded[start : start + 160] for start in range(0, len(coded), 160)]


def test_nothing_of_the_phone_is_left_but_its_sound() -> None:
    phone = stream()
    assert phone.from_phone(packet(1, bytes(160))) == []
    said = [RtpPacket.parse(phone.tick()[0].data) for _ in range(5)]
    for earlier, later in itertools.pairwise(said):
        assert (later.sequence_number - earlier.sequence_number) & 0xFFFF == 1
        assert (later.timestamp - earlier.timestamp) & 0xFFFFFFFF == 960
    assert {one.ssrc for one in said}.isdisjoint({0xABCDEF01})
    assert {one.payload_type for one in said} == {PAYLOAD_TYPE_IN_CELLS}
    assert {len(one.payload) for one in said} == {FRAME_SIZE}
    assert not any(one.marker for one in said)


def cells(kind: str | None, leaky: bool = False) -> list[tuple[int, int]]:
    """(tick, bytes of voice in the content) for 2 s of a phone's sound; None is a phone that sends nothing at all."""
    phone, packer = stream(), ContentPacker()
    if leaky:
        phone.microphone._encoder = OpusEncoder(8000, leaky=True)
    said = [] if kind is None else sound(kind, 2.0)
    seen = []
    for tick in range(100):
        if tick < len(said):
            phone.from_phone(packet(tick, said[tick]))
        datagram, _ = phone.tick()
        packer.offer_voice(datagram.data)
        content = packer.next()
        assert len(content) == CONTENT_SIZE
        assert packer.idle
        seen.append((tick, content[1] if content[0] else 0))
    return seen


def test_speech_silence_tones_and_no_sound_at_all_fill_cells_alike() -> None:
    """RFC 6562: sizes and times inside the cells are one and the same list, so nothing outside could differ by them."""
    expected = [(tick, 12 + FRAME_SIZE) for tick in range(100)]
    for kind in ("speech", "silence", "tone", "noise", None):
        assert cells(kind) == expected, kind


def test_an_encoder_with_variable_rate_is_caught() -> None:
    assert cells("speech", leaky=True) != cells("silence", leaky=True)
    assert len(set(cells("speech", leaky=True))) > 1


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "malformed"),
        (packet(1, bytes(160), payload_type=0), "other payload type"),
        (packet(1, bytes(LARGEST_VOICE + 1)), "oversized"),
        (packet(1, b"\x63\x0a\x00\xa0", payload_type=101), "malformed"),
    ],
)
def test_what_is_no_voice_is_counted_and_dropped(datagram: bytes, reason: str) -> None:
    phone = stream()
    assert phone.from_phone(datagram) is None
    assert phone.counters[reason] == 1


def key(number: int, timestamp: int, duration: int, payload_type: int = 101) -> bytes:
    return packet(number, TelephoneEvent(7, duration).to_bytes(), payload_type, timestamp)


def test_a_key_goes_at_once_on_the_timestamp_at_which_it_was_pressed() -> None:
    phone = stream()
    phone.tick()
    made: list[RtpPacket] = []
    for number in range(3):
        (said,) = phone.from_phone(key(number, 4000, 160 * number)) or []
        assert said.kind is Kind.EVENT
        made.append(RtpPacket.parse(said.data))
        phone.tick()
    assert {one.payload_type for one in made} == {EVENT_TYPE_IN_CELLS}
    assert len({one.timestamp for one in made}) == 1
    (other,) = phone.from_phone(key(9, 8000, 160)) or []
    assert RtpPacket.parse(other.data).timestamp != made[0].timestamp


def test_a_key_goes_from_any_phone_to_any_other() -> None:
    plain = PhoneStream(SeededEntropy("plain"))
    plain.format = PhoneFormat(96, event_type=99, event_rate=48_000)
    translated = stream(PhoneFormat(0, Codec.PCMU, 20, event_type=121))
    (from_opus,) = plain.from_phone(packet(4, TelephoneEvent(11, 400).to_bytes(48_000), 99, 77)) or []
    (heard,) = translated.hear(from_opus.data)
    read = RtpPacket.parse(heard)
    assert (read.payload_type, TelephoneEvent.parse(read.payload)) == (121, TelephoneEvent(11, 400))
    assert read.marker
    (again,) = translated.hear(from_opus.data)
    assert not RtpPacket.parse(again).marker, "the first packet of a key alone"
    (from_mu_law,) = translated.from_phone(key(1, 3, 320, payload_type=121)) or []
    (heard,) = plain.hear(from_mu_law.data)
    read = RtpPacket.parse(heard)
    assert (read.payload_type, TelephoneEvent.parse(read.payload, 48_000)) == (99, TelephoneEvent(7, 320))


def test_one_key_pressed_twice_in_silence_is_two_presses_and_voice_comes_after_them() -> None:
    phone, presses = stream(), []
    for number in (1, 60):
        (told,) = phone.hear(
            packet(number, TelephoneEvent(7, 1).to_bytes(), EVENT_TYPE_IN_CELLS, 960 * number)
        )
        presses.append(RtpPacket.parse(told).timestamp)
        for _ in range(59):
            assert phone.tick()[1] == []
    apart = (presses[1] - presses[0]) & 0xFFFFFFFF
    assert apart == 59 * 160, "milliseconds that passed, on the phone's clock"
    frame = OpusEncoder(48_000).encode(bytes(1920))
    heard: list[bytes] = []
    for number in range(100, 110):
        phone.hear(packet(number, frame, PAYLOAD_TYPE_IN_CELLS, 960 * number))
        heard += phone.tick()[1]
    stamps = [(RtpPacket.parse(data).timestamp - presses[1]) & 0xFFFFFFFF for data in heard]
    assert 59 * 160 <= stamps[0] <= 70 * 160
    assert [after - before for before, after in itertools.pairwise(stamps)] == [160] * (len(stamps) - 1)


def test_a_phone_that_takes_no_keys_is_sent_none() -> None:
    phone = stream(PhoneFormat(8, Codec.PCMA))
    assert (
        phone.hear(RtpPacket(EVENT_TYPE_IN_CELLS, 1, 1, 1, TelephoneEvent(1, 1).to_bytes()).to_bytes()) == []
    )
    assert phone.counters["keys not taken"] == 1


@pytest.mark.parametrize(("milliseconds", "step"), [(10, 80), (20, 160), (30, 240), (60, 480)])
def test_the_phone_hears_one_stream_through_tone_voice_and_key(milliseconds: int, step: int) -> None:
    phone = stream(PhoneFormat(9, Codec.G722, milliseconds, event_type=101))
    encoder = OpusEncoder(48_000)
    frames = [encoder.encode(bytes(1920)) for _ in range(40)]
    heard = list(itertools.chain.from_iterable(phone.tone(frame) for frame in frames[:12]))
    for number, frame in enumerate(frames[12:]):
        phone.hear(RtpPacket(PAYLOAD_TYPE_IN_CELLS, number, 960 * number, 5, frame).to_bytes())
        if number == 9:
            said = RtpPacket(EVENT_TYPE_IN_CELLS, 1, 9, 5, TelephoneEvent(1, 1).to_bytes())
            heard += phone.hear(said.to_bytes())
        heard += phone.tick()[1]
    read = [RtpPacket.parse(data) for data in heard]
    first = read[0]
    assert len({one.ssrc for one in read}) == 1
    numbers = [(one.sequence_number - first.sequence_number) & 0xFFFF for one in read]
    assert numbers == list(range(len(read)))
    voice = [one for one in read if one.payload_type == 9]
    stamps = [(one.timestamp - first.timestamp) & 0xFFFFFFFF for one in voice]
    assert stamps == [step * number for number in range(len(voice))]
    assert len(read) == len(voice) + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=600), max_size=8))
def test_hostile_datagrams_never_raise(datagrams: list[bytes]) -> None:
    phone = stream()
    for datagram in datagrams:
        phone.from_phone(datagram)
        phone.hear(datagram)
        phone.from_phone(b"\x80\x08" + datagram)
        phone.hear(b"\x80\x60" + datagram)
        said, _ = phone.tick()
        assert isinstance(said, Datagram)
