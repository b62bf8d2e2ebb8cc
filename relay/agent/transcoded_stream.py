"""As `relay.agent.phone_stream`, for a phone without Opus: its sound is translated, and leaves on a clock of 20 ms."""

from relay.agent.phone_stream import COUNTED, EVENT_TYPE_IN_CELLS, PAYLOAD_TYPE_IN_CELLS, event_of, read
from relay.agent.transcoder import Earpiece, Microphone
from relay.core import Counters, Entropy, PeerError
from relay.rtp import Datagram, Kind, PhoneFormat, RtpPacket
from relay.rtp.cell import TIMESTAMP_STEP
from relay.rtp.telephone_codecs import BYTES_PER_MILLISECOND

LARGEST_VOICE = 60 * BYTES_PER_MILLISECOND
_TICK = 20
"""Milliseconds."""
_SILENT_AFTER = 200
"""Milliseconds without a packet to the phone after which its clock goes on by itself: no packet is as long as that."""


class TranscodedStream:
    """One voice each way, translated.  `tick` is called every 20 ms."""

    def __init__(self, entropy: Entropy, agreed: PhoneFormat) -> None:
        self.counters = Counters(COUNTED)
        self.format = agreed
        self.microphone = Microphone(agreed.codec)
        self.earpiece = Earpiece(agreed.codec, agreed.milliseconds)
        self._ssrc_in_cells = int.from_bytes(entropy.token(4))
        self._sequence_in_cells = int.from_bytes(entropy.token(2))
        self._timestamp_in_cells = int.from_bytes(entropy.token(4))
        self._ssrc_to_phone = int.from_bytes(entropy.token(4))
        self._sequence = int.from_bytes(entropy.token(2))
        self._timestamp = int.from_bytes(entropy.token(4))
        self._per_millisecond = agreed.codec.clock_rate // 1000
        self._step = agreed.milliseconds * self._per_millisecond
        self._since = 0
        """Milliseconds since the last packet to the phone."""
        self._key_said: tuple[int, int] | None = None
        self._key_heard: tuple[int, int] | None = None

    def from_phone(self, datagram: bytes) -> list[Datagram] | None:
        """A key pressed goes into the cells at once, sound waits for its tick; None for what is dropped and counted."""
        kept = read(datagram, self.format, LARGEST_VOICE, self.counters)
        if kept is None:
            return None
        packet, event = kept
        if event is None:
            return [] if self.microphone.put(packet.payload) else None
        if self._key_said is None or self._key_said[0] != packet.timestamp:
            self._key_said = (packet.timestamp, self._timestamp_in_cells)
        return [self._into_cells(Kind.EVENT, event.to_bytes(), self._key_said[1], marker=packet.marker)]

    def tick(self) -> tuple[Datagram, list[bytes]]:
        """The next 20 ms both ways: what goes into the cells, always, and the packets for the phone, if any."""
        self._timestamp_in_cells = (self._timestamp_in_cells + TIMESTAMP_STEP) & 0xFFFFFFFF
        said = self._into_cells(Kind.VOICE, self.microphone.tick(), self._timestamp_in_cells)
        self._since += _TICK
        return said, [self._to_phone(payload) for payload in self.earpiece.tick()]

    def hear(self, datagram: bytes) -> list[bytes]:
        """One RTP packet came out of the cells: a key is told at once, sound at its tick."""
        try:
            packet = RtpPacket.parse(datagram)
            event = event_of(packet)
        except PeerError:
            self.counters.count("malformed")
            return []
        if event is None:
            self.earpiece.put(packet)
            return []
        if self.format.event_type is None:
            self.counters.count("keys not taken")
            return []
        self.counters.count("keys to phone")
        first = self._key_heard is None or self._key_heard[0] != packet.timestamp
        if self._key_heard is None or first:
            self._key_heard = (packet.timestamp, (self._timestamp + self._gap()) & 0xFFFFFFFF)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return [
            RtpPacket(
                payload_type=self.format.event_type,
                sequence_number=self._sequence,
                timestamp=self._key_heard[1],
                ssrc=self._ssrc_to_phone,
                payload=event.to_bytes(self.format.event_rate),
                marker=first,
            ).to_bytes()
        ]

    def tone(self, frame: bytes) -> list[bytes]:
        """What the phone is to be sent for the next 20 ms of a tone."""
        return [self._to_phone(payload) for payload in self.earpiece.tone(frame)]

    def _into_cells(self, kind: Kind, payload: bytes, timestamp: int, *, marker: bool = False) -> Datagram:
        self._sequence_in_cells = (self._sequence_in_cells + 1) & 0xFFFF
        made = RtpPacket(
            payload_type=EVENT_TYPE_IN_CELLS if kind is Kind.EVENT else PAYLOAD_TYPE_IN_CELLS,
            sequence_number=self._sequence_in_cells,
            timestamp=timestamp,
            ssrc=self._ssrc_in_cells,
            payload=payload,
            marker=marker,
        )
        return Datagram(kind, made.to_bytes())

    def _to_phone(self, payload: bytes) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + self._gap() + self._step) & 0xFFFFFFFF
        self._since = 0
        self.counters.count("to phone")
        return RtpPacket(
            payload_type=self.format.payload_type,
            sequence_number=self._sequence,
            timestamp=self._timestamp,
            ssrc=self._ssrc_to_phone,
            payload=payload,
        ).to_bytes()

    def _gap(self) -> int:
        """What the phone's clock is put forward by after a silence (RFC 3550 section 5.1).

        Two presses of one key with one time would be one press.
        """
        return self._since * self._per_millisecond if self._since >= _SILENT_AFTER else 0
