"""The packet around a message: CRC-32C, and what is dropped before it is read."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.zrtp.messages import HELLO_ACK
from relay.zrtp.packet import (
    MOST_MESSAGE,
    OVERHEAD,
    Packet,
    PacketDrop,
    PacketWriter,
    crc32c,
    looks_like_zrtp,
    open_packet,
)

MESSAGES = st.integers(3, 60).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        # The check value of CRC-32C, and RFC 3720 appendix B.4.
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_checksums(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@given(MESSAGES, st.integers(0, 2**32 - 1))
def test_what_is_wrapped_is_opened(message: bytes, ssrc: int) -> None:
    writer = PacketWriter(ssrc, SeededEntropy("wrap"))
    first, second = open_packet(writer.wrap(message)), open_packet(writer.wrap(message))
    assert isinstance(first, Packet)
    assert isinstance(second, Packet)
    assert (first.ssrc, first.message) == (second.ssrc, second.message) == (ssrc, message)
    assert second.sequence_number == first.sequence_number + 1


def test_the_layout_is_figure_2() -> None:
    datagram = PacketWriter(0xA1B2C3D4, SeededEntropy("layout")).wrap(HELLO_ACK)
    flags, number, cookie, ssrc = struct.unpack_from("!HHII", datagram)
    assert (flags, cookie, ssrc) == (0x1000, 0x5A525450, 0xA1B2C3D4)
    assert number < 1 << 15
    assert datagram[12:-4] == HELLO_ACK
    # RFC 4960 appendix B: the least significant byte comes first.
    assert datagram[-4:] == crc32c(datagram[:-4]).to_bytes(4, "little")


def test_unused_bits_are_ignored() -> None:
    body = bytearray(PacketWriter(1, SeededEntropy("bits")).wrap(HELLO_ACK)[:-4])
    body[0:2] = b"\x1f\xff"
    opened = open_packet(bytes(body) + crc32c(bytes(body)).to_bytes(4, "little"))
    assert isinstance(opened, Packet)
    assert opened.message == HELLO_ACK


@given(MESSAGES, st.data())
def test_no_single_wrong_byte_passes(message: bytes, data: st.DataObject) -> None:
    datagram = bytearray(PacketWriter(7, SeededEntropy("wrong")).wrap(message))
    datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(open_packet(bytes(datagram)), PacketDrop)


@given(st.binary(max_size=200))
def test_anything_else_is_dropped_with_a_reason(data: bytes) -> None:
    assert isinstance(open_packet(data), PacketDrop)


@pytest.mark.parametrize("size", [0, 4, 8, 13, 14, MOST_MESSAGE + 4])
def test_sizes_that_no_message_has(size: int) -> None:
    datagram = PacketWriter(1, SeededEntropy("size")).wrap(bytes(size))
    assert len(datagram) == size + OVERHEAD
    assert open_packet(datagram) is PacketDrop.WRONG_SIZE


def test_other_protocols_on_the_port_are_told_apart() -> None:
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    rtp = b"\x80\x60" + bytes(30)
    rtcp = b"\x80\xc8" + bytes(26)
    assert not any(map(looks_like_zrtp, (stun, rtp, rtcp, b"", b"\x10")))
    assert looks_like_zrtp(PacketWriter(1, SeededEntropy("told")).wrap(HELLO_ACK))
