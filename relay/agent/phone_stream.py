"""The voice between one softphone and the cells: RTP made neutral, one continuous stream each way (RFC 3550).

Towards the cells nothing of the phone is left but its Opus frames: no CSRC, extension, padding, SSRC, numbers or
payload type of the phone's choice.  Towards the phone there is one SSRC with continuous numbers, whether a tone plays
or a voice.
"""

from collections.abc import Sequence

from relay.core import Counters, Entropy, PeerError
from relay.rtp import RtpPacket
from relay.rtp.cell import TIMESTAMP_STEP

PAYLOAD_TYPE_IN_CELLS = 96
LARGEST_VOICE = 1200
"""Bytes of Opus that one datagram of a phone may hold: what the largest Opus frame at 20 ms needs."""


class PhoneStream:
    """Rewrites what a phone sends and what it hears.  No sockets, no clock."""

    def __init__(self, entropy: Entropy) -> None:
        self.counters = Counters(("malformed", "other payload type", "oversized", "from phone", "to phone"))
        self.payload_type: int | None = None
        """The payload type that the phone's session description gives to Opus."""
        self._ssrc_in_cells = int.from_bytes(entropy.token(4))
        self._sequence_in_cells = int.from_bytes(entropy.token(2))
        self._timestamp_in_cells = int.from_bytes(entropy.token(4))
        self._ssrc_to_phone = int.from_bytes(entropy.token(4))
        self._sequence = int.from_bytes(entropy.token(2))
        self._timestamp = int.from_bytes(entropy.token(4))
        self._voice_origin: tuple[int, int] | None = None

    def from_phone(self, datagram: bytes) -> bytes | None:
        """The RTP packet to put into the cells, or None for what is dropped and counted."""
        try:
            packet = RtpPacket.parse(datagram)
        except PeerError:
            self.counters.count("malformed")
            return None
        if packet.payload_type != self.payload_type:
            self.counters.count("other payload type")
            return None
        if len(packet.payload) > LARGEST_VOICE:
            self.counters.count("oversized")
            return None
        self.counters.count("from phone")
        return RtpPacket(
            payload_type=PAYLOAD_TYPE_IN_CELLS,
            sequence_number=(packet.sequence_number + self._sequence_in_cells) & 0xFFFF,
            timestamp=(packet.timestamp + self._timestamp_in_cells) & 0xFFFFFFFF,
            ssrc=self._ssrc_in_cells,
            payload=packet.payload,
        ).to_bytes()

    def voice(self, datagram: bytes) -> bytes | None:
        """What the phone is to be sent for one RTP packet that came out of the cells; gaps stay gaps."""
        try:
            packet = RtpPacket.parse(datagram)
        except PeerError:
            self.counters.count("malformed")
            return None
        if self._voice_origin is None:
            self._voice_origin = (
                self._sequence + 1 - packet.sequence_number,
                self._timestamp + TIMESTAMP_STEP - packet.timestamp,
            )
        sequence_offset, timestamp_offset = self._voice_origin
        self._sequence = (packet.sequence_number + sequence_offset) & 0xFFFF
        self._timestamp = (packet.timestamp + timestamp_offset) & 0xFFFFFFFF
        return self._packet(packet.payload)

    def tone(self, frame: bytes) -> bytes | None:
        """What the phone is to be sent for the next 20 ms of a tone."""
        self._voice_origin = None
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + TIMESTAMP_STEP) & 0xFFFFFFFF
        return self._packet(frame)

    def _packet(self, payload: bytes) -> bytes | None:
        if self.payload_type is None:
            return None
        self.counters.count("to phone")
        return RtpPacket(
            payload_type=self.payload_type,
            sequence_number=self._sequence,
            timestamp=self._timestamp,
            ssrc=self._ssrc_to_phone,
            payload=payload,
        ).to_bytes()


class TonePlayer:
    """Walks through the frames of a tone, one every 20 ms, over and over; before that, once, through `first`."""

    def __init__(self, frames: Sequence[bytes], *, first: Sequence[bytes] = ()) -> None:
        self._frames = frames
        self._first = first
        self._position = 0

    def next_frame(self) -> bytes:
        position, start = self._position, len(self._first)
        self._position += 1
        return (
            self._first[position]
            if position < start
            else self._frames[(position - start) % len(self._frames)]
        )
