"""What carries a ZRTP message between the ports of RTP: header, SSRC and CRC (RFC 6189 section 5).

A packet that does not pass is dropped with a reason and never answered: transmission errors and other protocols on
the same port are no fault of the peer.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

from relay.core import Entropy

_HEADER = struct.Struct("!HHII")
_CRC = struct.Struct("<I")
_VERSION = 0x1000
_COOKIE = 0x5A525450
_LEAST_MESSAGE = 12
MOST_MESSAGE = 4 * 600
"""Bytes.  The longest message that anybody sends is a Confirm with a signature of 511 words (section 5.7)."""
OVERHEAD = _HEADER.size + _CRC.size


class PacketDrop(StrEnum):
    """Why a datagram is no ZRTP packet."""

    NOT_ZRTP = "not_zrtp"
    WRONG_SIZE = "wrong_size"
    WRONG_CRC = "wrong_crc"


@dataclass(frozen=True, slots=True)
class Packet:
    """One message and the RTP stream (SSRC) that it is about."""

    sequence_number: int
    ssrc: int
    message: bytes


def looks_like_zrtp(datagram: bytes) -> bool:
    """Whether a datagram on an RTP port is for this package: neither RTP, RTCP nor STUN have these eight bytes."""
    return len(datagram) >= 8 and datagram[0] >> 4 == 1 and int.from_bytes(datagram[4:8]) == _COOKIE


def open_packet(datagram: bytes) -> Packet | PacketDrop:
    """The packet in a datagram, or why there is none."""
    if not looks_like_zrtp(datagram):
        return PacketDrop.NOT_ZRTP
    size = len(datagram) - OVERHEAD
    if not _LEAST_MESSAGE <= size <= MOST_MESSAGE or size % 4:
        return PacketDrop.WRONG_SIZE
    body = datagram[: -_CRC.size]
    if _CRC.unpack_from(datagram, len(body))[0] != crc32c(body):
        return PacketDrop.WRONG_CRC
    # Twelve bits beside the version "MUST be ignored when received".
    _, sequence_number, _, ssrc = _HEADER.unpack_from(body)
    return Packet(sequence_number, ssrc, bytes(body[_HEADER.size :]))


_FIRST_NUMBERS = 1 << 15
"""Sequence numbers start below this, so that no exchange wraps: bzrtp drops whatever is lower than the last one."""


class PacketWriter:
    """Wraps the messages of one stream; the sequence number starts at random and goes up with every packet."""

    __slots__ = ("_sequence_number", "ssrc")

    def __init__(self, ssrc: int, entropy: Entropy) -> None:
        self.ssrc = ssrc
        self._sequence_number = entropy.below(_FIRST_NUMBERS)

    def wrap(self, message: bytes) -> bytes:
        """The next packet.  A message that is sent again gets a new sequence number and stays what it was."""
        body = _HEADER.pack(_VERSION, self._sequence_number, _COOKIE, self.ssrc) + message
        self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        return body + _CRC.pack(crc32c(body))


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 4960 appendix B), which goes into a packet with its least significant byte first.

    An error-detecting code and no cryptography; no library that we keep has it.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
