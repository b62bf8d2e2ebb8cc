"""RTP between a phone and the cells: neutral towards the cells, continuous towards the phone."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.agent.phone_stream import LARGEST_VOICE, PAYLOAD_TYPE_IN_CELLS, PhoneStream, TonePlayer
from relay.core import SeededEntropy
from relay.rtp import RtpPacket


def stream(payload_type: int | None = 107) -> PhoneStream:
    made = PhoneStream(SeededEntropy("stream"))
    made.payload_type = payload_type
    return made


def packet(sequence: int, payload: bytes = b"opus", payload_type: int = 107, ssrc: int = 0xABCDEF01) -> bytes:
    return RtpPacket(payload_type, sequence & 0xFFFF, 960 * sequence & 0xFFFFFFFF, ssrc, payload).to_bytes()


def test_nothing_of_the_phone_is_left_but_its_frames() -> None:
    phone = stream()
    with_extension = b"\x90\xeb" + packet(7)[2:12] + b"\xbe\xde\x00\x01secr" + b"frame"
    out = phone.from_phone(with_extension)
    assert out is not None
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
    heard += [phone.voice(packet(n, ssrc=5)) for n in (65534, 65535, 65536, 65537)]
    heard += [phone.tone(b"busy") for _ in range(2)]
    packets = [RtpPacket.parse(data) for data in heard if data is not None]
    assert len(packets) == 9
    assert len({read.ssrc for read in packets}) == 1
    first = packets[0]
    for step, read in enumerate(packets):
        assert read.sequence_number == (first.sequence_number + step) & 0xFFFF
        assert read.timestamp == (first.timestamp + 960 * step) & 0xFFFFFFFF


def test_a_lost_packet_stays_a_gap() -> None:
    phone = stream()
    first, later = (RtpPacket.parse(phone.voice(packet(n)) or b"") for n in (10, 13))
    assert (later.sequence_number - first.sequence_number) & 0xFFFF == 3
    assert (later.timestamp - first.timestamp) & 0xFFFFFFFF == 3 * 960


def test_nothing_is_sent_before_the_phone_said_where_and_what() -> None:
    assert stream(payload_type=None).tone(b"beep") is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=1500))
def test_hostile_datagrams_never_raise(datagram: bytes) -> None:
    phone = stream()
    phone.from_phone(datagram)
    phone.voice(datagram)


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
        phone.payload_type = 107
        ssrcs.add(RtpPacket.parse(phone.from_phone(packet(1)) or b"").ssrc)
    assert len(ssrcs) == 8
