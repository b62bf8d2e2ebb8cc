"""The voice between one softphone and the cells: RTP made neutral, one continuous stream each way (RFC 3550).

Towards the cells nothing of the phone is left but its Opus frames and the keys it pressed: no CSRC, extension, padding,
SSRC, numbers or payload type of the phone's choice.  Towards the phone there is one SSRC with continuous numbers,
whether a tone plays or a voice.
"""

from collections.abc import Sequence

from relay.core import Counters, Entropy, PeerError
from relay.rtp import EVENT_CLOCK, Datagram, Kind, PhoneFormat, RtpPacket, TelephoneEvent
from relay.rtp.cell import TIMESTAMP_STEP

PAYLOAD_TYPE_IN_CELLS = 96
EVENT_TYPE_IN_CELLS = 97
LARGEST_VOICE = 1200
"""Bytes of Opus that one datagram of a phone may hold: what the largest Opus frame at 20 ms needs."""
COUNTED = (
    *("malformed", "other payload type", "oversized", "from phone", "to phone"),
    *("keys from phone", "keys to phone", "keys not taken"),
)


class PhoneStream:
    """Rewrites what a phone sends and what it hears; sound passes untouched.  No sockets, no clock."""

    def __init__(self, entropy: Entropy) -> None:
        self.counters = Counters(COUNTED)
        self.format: PhoneFormat | None = None
        """What the phone's session description says; nothing passes without one."""
        self._entropy = entropy
        self._ssrc_of_phone: int | None = None
        self._ssrc_in_cells = 0
        self._sequence_in_cells = int.from_bytes(entropy.token(2))
        self._timestamp_in_cells = int.from_bytes(entropy.token(4))
        self._ssrc_to_phone = int.from_bytes(entropy.token(4))
        self._sequence = int.from_bytes(entropy.token(2))
        self._timestamp = int.from_bytes(entropy.token(4))
        self._voice_origin: tuple[int, int] | None = None

    def from_phone(self, datagram: bytes) -> list[Datagram] | None:
        """What is to go into the cells for one packet of the phone, or None for what is dropped and counted."""
        kept = read(datagram, self.format, LARGEST_VOICE, self.counters)
        if kept is None:
            return None
        packet, event = kept
        if packet.ssrc != self._ssrc_of_phone:
            # Another source, with numbers of its own: whoever counts on has to know (RFC 3550 section 8).
            self._ssrc_of_phone = packet.ssrc
            self._ssrc_in_cells = int.from_bytes(self._entropy.token(4))
        made = RtpPacket(
            payload_type=PAYLOAD_TYPE_IN_CELLS if event is None else EVENT_TYPE_IN_CELLS,
            sequence_number=(packet.sequence_number + self._sequence_in_cells) & 0xFFFF,
            timestamp=(packet.timestamp + self._timestamp_in_cells) & 0xFFFFFFFF,
            ssrc=self._ssrc_in_cells,
            payload=packet.payload if event is None else event.to_bytes(),
            # Only a key's first packet has one: on voice it would tell how the phone treats silence.
            marker=packet.marker and event is not None,
        )
        return [Datagram(Kind.VOICE if event is None else Kind.EVENT, made.to_bytes())]

    def hear(self, datagram: bytes) -> list[bytes]:
        """What the phone is to be sent for one RTP packet that came out of the cells; gaps stay gaps."""
        try:
            packet = RtpPacket.parse(datagram)
            event = event_of(packet)
        except PeerError:
            self.counters.count("malformed")
            return []
        if self._voice_origin is None:
            self._voice_origin = (
                self._sequence + 1 - packet.sequence_number,
                self._timestamp + TIMESTAMP_STEP - packet.timestamp,
            )
        sequence_offset, timestamp_offset = self._voice_origin
        self._sequence = (packet.sequence_number + sequence_offset) & 0xFFFF
        timestamp = (packet.timestamp + timestamp_offset) & 0xFFFFFFFF
        if event is not None:
            return self._key(event, timestamp, packet.marker)
        self._timestamp = timestamp
        return self._packet(packet.payload)

    def tone(self, frame: bytes) -> list[bytes]:
        """What the phone is to be sent for the next 20 ms of a tone."""
        self._voice_origin = None
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + TIMESTAMP_STEP) & 0xFFFFFFFF
        return self._packet(frame)

    def _key(self, event: TelephoneEvent, timestamp: int, marker: bool) -> list[bytes]:
        if self.format is None or self.format.event_type is None:
            self.counters.count("keys not taken")
            return []
        self.counters.count("keys to phone")
        return [
            RtpPacket(
                payload_type=self.format.event_type,
                sequence_number=self._sequence,
                timestamp=timestamp,
                ssrc=self._ssrc_to_phone,
                payload=event.to_bytes(self.format.event_rate),
                marker=marker,
            ).to_bytes()
        ]

    def _packet(self, payload: bytes) -> list[bytes]:
        if self.format is None:
            return []
        self.counters.count("to phone")
        return [
            RtpPacket(
                payload_type=self.format.payload_type,
                sequence_number=self._sequence,
                timestamp=self._timestamp,
                ssrc=self._ssrc_to_phone,
                payload=payload,
            ).to_bytes()
        ]


def read(
    datagram: bytes, agreed: PhoneFormat | None, largest: int, counters: Counters
) -> tuple[RtpPacket, TelephoneEvent | None] | None:
    """One packet of a phone, with the key where it tells one; None for what is not as `agreed`, which is counted."""
    try:
        packet = RtpPacket.parse(datagram)
        if agreed is not None and packet.payload_type == agreed.event_type:
            event = TelephoneEvent.parse(packet.payload, agreed.event_rate)
            counters.count("keys from phone")
            return packet, event
    except PeerError:
        counters.count("malformed")
        return None
    if agreed is None or packet.payload_type != agreed.payload_type:
        counters.count("other payload type")
        return None
    if len(packet.payload) > largest:
        counters.count("oversized")
        return None
    counters.count("from phone")
    return packet, None


def event_of(packet: RtpPacket) -> TelephoneEvent | None:
    """The key that a packet out of the cells tells; None where it is voice.  Raises `PeerError`."""
    if packet.payload_type != EVENT_TYPE_IN_CELLS:
        return None
    return TelephoneEvent.parse(packet.payload, EVENT_CLOCK)


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
