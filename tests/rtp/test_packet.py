"""RTP parsing: what a telephone may add is stripped, what is broken raises `PeerError` and nothing else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.rtp.packet import RtpPacket, header_size, pack_header

PACKETS = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence_number=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=300),
    marker=st.booleans(),
)


@given(PACKETS)
def test_round_trip(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.to_bytes()) == packet


@given(
    PACKETS,
    st.lists(st.binary(min_size=4, max_size=4), max_size=15),
    st.none() | st.integers(0, 5),
    st.integers(0, 255),
)
def test_csrc_extension_and_padding_are_stripped(
    packet: RtpPacket, csrc: list[bytes], extension: int | None, padding: int
) -> None:
    plain = packet.to_bytes()
    first = 0x80 | len(csrc) | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    added = b"".join(csrc)
    if extension is not None:
        added += b"\xbe\xde" + extension.to_bytes(2) + bytes(4 * extension)
    filling = bytes(padding - 1) + bytes([padding]) if padding else b""
    data = bytes([first]) + plain[1:12] + added + plain[12:] + filling
    assert RtpPacket.parse(data) == packet
    assert header_size(data) == 12 + len(added)


@given(st.binary(max_size=64))
def test_noise_raises_only_the_peers_fault(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert RtpPacket.parse(data).to_bytes()[0] == 0x80


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (bytes(11), "truncated"),
        (bytes(12), "wrong version"),
        (b"\x8f" + bytes(11), "truncated"),
        (b"\x90" + bytes(11), "truncated"),
        (b"\x90" + bytes(13) + b"\xff\xff", "truncated"),
        (b"\xa0" + bytes(11), "bad padding"),
        (b"\xa0" + bytes(11) + b"\x00", "bad padding"),
        (b"\xa0" + bytes(11) + b"\x02", "bad padding"),
    ],
)
def test_what_is_broken_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        RtpPacket.parse(data)
    assert caught.value.reason == reason


def test_the_header_of_a_cell() -> None:
    assert pack_header(111, 1, 2, 3).hex() == "806f00010000000200000003"
