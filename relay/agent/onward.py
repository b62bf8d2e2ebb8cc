"""RTP that goes on by its numbers although what feeds it begins anew: SRTP must never see a number twice."""

import struct

from relay.core import Entropy
from relay.rtp.cell import TIMESTAMP_STEP

_HEADER = struct.Struct("!BBHII")
_MARKER = 0x80
_HALF = 1 << 15
_FIRST_NUMBERS = 1 << 14
"""Sequence numbers begin low, so that a receiver that missed the first ones is right about the rollover counter (RFC
3711 section 3.3.1)."""


class Onward:
    """Packets of one source after another, under one SSRC of ours; gaps within a source stay gaps.

    They are ours, made by a stream: with the plain header of twelve bytes.
    """

    def __init__(self, entropy: Entropy) -> None:
        self.ssrc = int.from_bytes(entropy.token(4))
        self._sequence_number = entropy.below(_FIRST_NUMBERS)
        self._timestamp = int.from_bytes(entropy.token(4))
        self._source: int | None = None
        self._offsets = (0, 0)

    def renumber(self, packet: bytes, payload_type: int | None = None) -> bytes:
        """The same packet in our numbers, and under another type where one is given; the marker stays."""
        first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(packet)
        if ssrc != self._source:
            self._source = ssrc
            self._offsets = (
                self._sequence_number + 1 - sequence_number,
                self._timestamp + TIMESTAMP_STEP - timestamp,
            )
        sequence_offset, timestamp_offset = self._offsets
        sequence_number = (sequence_number + sequence_offset) & 0xFFFF
        timestamp = (timestamp + timestamp_offset) & 0xFFFFFFFF
        if (sequence_number - self._sequence_number) & 0xFFFF < _HALF:
            # The next source goes on from the highest, not from one that came late.
            self._sequence_number, self._timestamp = sequence_number, timestamp
        if payload_type is not None:
            second = second & _MARKER | payload_type
        header = _HEADER.pack(first, second, sequence_number, timestamp, self.ssrc)
        return header + packet[_HEADER.size :]
