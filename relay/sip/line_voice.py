"""What passes untouched between two ends of ZRTP: Opus at 20 ms and keys pressed, each under a payload type.

An RTP header is authenticated by SRTP, so nobody on the way can change a type: both ends have to be told the same.
"""

from dataclasses import dataclass

from relay.rtp import Codec
from relay.sip.phone_formats import codec_of, maps_of
from relay.sip.sdp import Media, RtpMap

MOST_EVENT_MAPS = 4
_DYNAMIC = range(96, 128)
"""RFC 3551 section 6: below are types with a meaning of their own."""
_EVENT_RATES = (8_000, 16_000, 48_000)


@dataclass(frozen=True, slots=True)
class LineVoice:
    """The types under which one end wants to be sent Opus, and keys by their clock rates (RFC 4733 section 2.5)."""

    payload_type: int
    events: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, media: Media) -> "LineVoice | None":
        """What a media section says of it; None where its Opus, if any, cannot pass."""
        maps = [rtpmap for rtpmap in maps_of(media) if rtpmap.payload_type in _DYNAMIC]
        opus = next((rtpmap for rtpmap in maps if codec_of(rtpmap) is Codec.OPUS), None)
        if opus is None:
            return None
        events = {
            rtpmap.payload_type: rtpmap.clock_rate
            for rtpmap in maps
            if rtpmap.encoding.lower() == "telephone-event" and rtpmap.clock_rate in _EVENT_RATES
        }
        events.pop(opus.payload_type, None)
        return cls(opus.payload_type, tuple(events.items())[:MOST_EVENT_MAPS])

    def maps(self) -> list[RtpMap]:
        """As session descriptions write it."""
        events = [RtpMap(number, "telephone-event", rate) for number, rate in self.events]
        return [RtpMap(self.payload_type, "opus", 48_000, 2), *events]

    def event_rate(self, payload_type: int) -> int | None:
        """The clock of a type of keys, None where it is none."""
        return dict(self.events).get(payload_type)

    @property
    def said_event(self) -> tuple[int, int] | None:
        """Of several types of keys the one to send under: any end reads 8 kHz."""
        return min(self.events, key=lambda one: one[1], default=None)


NEUTRAL = LineVoice(96, ((101, 8_000),))
"""What an agent asks for: the same for every user and phone."""
