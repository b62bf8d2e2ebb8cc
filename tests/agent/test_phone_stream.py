"""RTP between a phone and the cells: neutral towards the cells, continuous towards the phone."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.agent.phone_stream import (
    EVENT_TYPE_IN_CELLS,
    LARGEST_VOICE,
    PAYLOAD_TYPE_IN_CELLS,
    PhoneStream,
    TonePlayer,
)
from relay.core import SeededEntropy
from relay.rtp import Kind, PhoneFormat, RtpPacket, TelephoneEvent


def stream(payload_type: int | None = 107) -> PhoneStream:
    made = PhoneStream(SeededEntropy("stream"))
    made.format = None if payload_type is None else PhoneFormat(payload_type, event_type=101)
    return made


def packet(sequence: int, payload: bytes = b"opus", payload_type: int = 107, ssrc: int = 0xABCDEF01) -> bytes:
    return RtpPacket(payload_type, sequence & 0xFFFF, 960 * sequence & 0xFFFFFFFF, ssrc, payload).to_bytes()


def test_nothing_of_the_phone_is_left_but_its_frames() -> None:
    phone = stream()
    with_extension = b"\x90\xeb" + packet(7)[2:12] + b"\xbe\xde\x00\x01secr" + b"frame"
    (said,) = phone.from_phone(with_extension) or []
    assert said.kind is Kind.VOICE
    out = said.data
    read = RtpPacket.parse(out)
    assert read.payload == b"frame"
    assert read.payload_type == PAYLOAD_TYPE_IN_CELLS
    assert read.ssrc != 0xABCDEF01
    assert not read.marker
    assert len(out) == 12 + len(b"frame")


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "malformed"),
        (b"\x00" * 40, "malformed"),
        (packet(1, payload_type=0), "other payload type"),
        (packet(1, bytes(LARGEST_VOICE + 1)), "oversized"),
    ],
)
def test_what_is_no_voice_is_counted_and_dropped(datagram: bytes, reason: str) -> None:
    phone = stream()
    assert phone.from_phone(datagram) is None
    assert phone.counters[reason] == 1


def test_the_phone_hears_one_stream_through_tone_voice_and_tone() -> None:
    phone = stream()
    heard = [phone.tone(b"beep") for _ in range(3)]
    heard += [phone.hear(packet(n, payload_type=96, ssrc=5)) for n in (65534, 65535, 65536, 65537)]
    heard += [phone.tone(b"busy") for _ in range(2)]
    packets = [RtpPacket.parse(data) for some in heard for data in some]
    assert len(packets) == 9
    assert len({read.ssrc for read in packets}) == 1
    first = packets[0]
    for step, read in enumerate(packets):
        assert read.sequence_number == (first.sequence_number + step) & 0xFFFF
        assert read.timestamp == (first.timestamp + 960 * step) & 0xFFFFFFFF


def test_a_lost_packet_stays_a_gap() -> None:
    phone = stream()
    first, later = (RtpPacket.parse(phone.hear(packet(n, payload_type=96))[0]) for n in (10, 13))
    assert (later.sequence_number - first.sequence_number) & 0xFFFF == 3
    assert (later.timestamp - first.timestamp) & 0xFFFFFFFF == 3 * 960


def test_nothing_is_sent_before_the_phone_said_where_and_what() -> None:
    assert stream(payload_type=None).tone(b"beep") == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=1500))
def test_hostile_datagrams_never_raise(datagram: bytes) -> None:
    phone = stream()
    phone.from_phone(datagram)
    phone.hear(datagram)


def test_a_tone_repeats() -> None:
    player = TonePlayer([b"a", b"b"])
    assert [player.next_frame() for _ in range(5)] == [b"a", b"b", b"a", b"b", b"a"]


def test_two_calls_of_one_phone_share_no_ssrc() -> None:
    class Entropy(SeededEntropy):
        def token(self, size: int) -> bytes:
            return os.urandom(size)

    ssrcs = set()
    for _ in range(8):
        phone = PhoneStream(Entropy("unused"))
        phone.format = PhoneFormat(107)
        (said,) = phone.from_phone(packet(1)) or []
        ssrcs.add(RtpPacket.parse(said.data).ssrc)
    assert len(ssrcs) == 8


def key_packet(sequence: int, payload: bytes, marker: bool = False) -> bytes:
    return RtpPacket(101, sequence, 5000, 0xABCDEF01, payload, marker).to_bytes()


def test_a_key_pressed_keeps_what_and_how_long_and_nothing_else() -> None:
    phone = stream()
    # Volume 63, the reserved bit set, and a byte too many: none of it goes further.
    (said,) = phone.from_phone(key_packet(9, b"\x05\x7f\x03\x20x", marker=True)) or []
    assert said.kind is Kind.EVENT
    packet_in_cells = RtpPacket.parse(said.data)
    assert packet_in_cells.payload_type == EVENT_TYPE_IN_CELLS
    assert packet_in_cells.marker
    assert packet_in_cells.payload == TelephoneEvent(5, 800).to_bytes()
    assert len(said.data) == 16


def test_keys_reach_the_other_phone_under_its_own_number_and_clock() -> None:
    sender, receiver = stream(), PhoneStream(SeededEntropy("other"))
    receiver.format = PhoneFormat(120, event_type=97, event_rate=48_000)
    receiver.hear(sender.from_phone(packet(1))[0].data)  # type: ignore[index]
    pressed = [(b"\x0b\x0a\x00\xa0", True), (b"\x0b\x0a\x01\x40", False), (b"\x0b\x8a\x01\xe0", False)]
    heard = []
    for number, (payload, marker) in enumerate(pressed):
        (said,) = sender.from_phone(key_packet(2 + number, payload, marker)) or []
        heard += [RtpPacket.parse(data) for data in receiver.hear(said.data)]
    assert [one.payload_type for one in heard] == [97] * 3
    assert [one.marker for one in heard] == [True, False, False]
    assert len({one.timestamp for one in heard}) == 1, "one key, one timestamp"
    read = [TelephoneEvent.parse(one.payload, 48_000) for one in heard]
    assert read == [TelephoneEvent(11, 160), TelephoneEvent(11, 320), TelephoneEvent(11, 480, end=True)]


def test_a_phone_that_takes_no_keys_is_sent_none() -> None:
    sender, receiver = stream(), PhoneStream(SeededEntropy("other"))
    receiver.format = PhoneFormat(120)
    (said,) = sender.from_phone(key_packet(1, b"\x01\x0a\x00\xa0")) or []
    assert receiver.hear(said.data) == []
    assert receiver.counters["keys not taken"] == 1


@pytest.mark.parametrize("payload", [b"", b"\x01\x0a\x00", b"\x10\x0a\x00\xa0"])
def test_what_is_no_key_is_dropped(payload: bytes) -> None:
    phone = stream()
    assert phone.from_phone(key_packet(1, payload)) is None
    assert phone.counters["malformed"] == 1
