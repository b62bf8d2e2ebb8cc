"""RTP packets (RFC 3550 section 5.1): parsing with strict bounds, and the plain twelve-byte header that cells
carry."""

import struct
from dataclasses import dataclass

from relay.core import PeerError

_FIXED = struct.Struct("!BBHII")
_SECTION = "RFC 3550 section 5.1"
VERSION_BYTE = 0x80
"""First byte of a header with version 2, no padding, no extension and no CSRC."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """What is left of an RTP packet once CSRC list, header extension and padding are stripped."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> "RtpPacket":
        """Read one packet.  Raises `PeerError` ("truncated", "wrong version", "bad padding")."""
        start = header_size(data)
        first, second, sequence_number, timestamp, ssrc = _FIXED.unpack_from(data)
        end = len(data)
        if first & 0x20:
            padding = data[-1] if end > start else 0
            if not 0 < padding <= end - start:
                raise PeerError("bad padding", _SECTION)
            end -= padding
        return cls(
            second & 0x7F, sequence_number, timestamp, ssrc, bytes(data[start:end]), bool(second & 0x80)
        )

    def to_bytes(self) -> bytes:
        """Header without CSRC, extension or padding, then the payload."""
        second = self.payload_type | (0x80 if self.marker else 0)
        header = _FIXED.pack(VERSION_BYTE, second, self.sequence_number, self.timestamp, self.ssrc)
        return header + self.payload


def header_size(data: bytes) -> int:
    """Bytes of header, CSRC list and extension included.  Raises `PeerError`."""
    if len(data) < _FIXED.size:
        raise PeerError("truncated", _SECTION)
    if data[0] >> 6 != 2:
        raise PeerError("wrong version", _SECTION)
    size = _FIXED.size + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if len(data) < size + 4:
            raise PeerError("truncated", "RFC 3550 section 5.3.1")
        size += 4 + 4 * int.from_bytes(data[size + 2 : size + 4])
    if size > len(data):
        raise PeerError("truncated", _SECTION)
    return size


def pack_header(payload_type: int, sequence_number: int, timestamp: int, ssrc: int) -> bytes:
    """The twelve bytes at the front of a cell."""
    return _FIXED.pack(VERSION_BYTE, payload_type, sequence_number, timestamp, ssrc)
