"""Which codec of a phone's media section the agent takes, of those it can serve (RFC 3264, 3551, 4733, 7587)."""

from collections.abc import Iterator

from relay.rtp import Codec, PhoneFormat
from relay.sip.sdp import Media, RtpMap

STATIC = {"0": RtpMap(0, "PCMU", 8000), "8": RtpMap(8, "PCMA", 8000), "9": RtpMap(9, "G722", 8000)}
"""Payload types that need no rtpmap (RFC 3551 section 6)."""
PACKETS = (10, 20, 30, 40, 50, 60)
"""Milliseconds of sound that a packet of a telephone may hold."""
_USUAL = 20
_WORTH = {Codec.OPUS: 0, Codec.G722: 1, Codec.PCMA: 2, Codec.PCMU: 2}
"""Opus passes untouched; G.722 has twice the band of G.711, of whose two laws the phone's first is taken."""


def format_of(media: Media) -> tuple[PhoneFormat, RtpMap] | None:
    """The format to talk in, and the map by which the phone knows it; None where there is none in common."""
    found = [(codec, rtpmap) for rtpmap in maps_of(media) if (codec := codec_of(rtpmap)) is not None]
    if not found:
        return None
    codec, rtpmap = min(found, key=lambda one: _WORTH[one[0]])
    milliseconds = _USUAL if codec is Codec.OPUS else _packet(media)
    events = event_map(media, codec.clock_rate)
    if events is None:
        return PhoneFormat(rtpmap.payload_type, codec, milliseconds), rtpmap
    return (
        PhoneFormat(rtpmap.payload_type, codec, milliseconds, events.payload_type, events.clock_rate),
        rtpmap,
    )


def event_map(media: Media, clock_rate: int) -> RtpMap | None:
    """The phone's telephone events: of several the one on the voice's own clock, as RFC 4733 section 2.1 wants it."""
    found = [
        rtpmap
        for rtpmap in maps_of(media)
        if rtpmap.encoding.lower() == "telephone-event" and rtpmap.clock_rate in (8000, 16000, 48000)
    ]
    return min(found, key=lambda rtpmap: rtpmap.clock_rate != clock_rate, default=None)


def maps_of(media: Media) -> Iterator[RtpMap]:
    """The formats of a section that are known by a map or by their number, in its order."""
    for payload_type in media.formats:
        said = any(
            name == "rtpmap" and (value or "").partition(" ")[0] == payload_type
            for name, value in media.attributes
        )
        found = media.rtpmap(payload_type) if said else STATIC.get(payload_type)
        if found is not None:
            yield found


def codec_of(rtpmap: RtpMap) -> Codec | None:
    """None for what cannot be served.

    Some phones name a mono codec opus/48000/1 though RFC 7587 section 7 fixes /2: both are taken.
    """
    name = rtpmap.encoding.lower()
    if name == "opus":
        return Codec.OPUS if rtpmap.clock_rate == 48000 and rtpmap.channels in (1, 2) else None
    if rtpmap.clock_rate != 8000 or rtpmap.channels not in (None, 1):
        return None
    return {"g722": Codec.G722, "pcma": Codec.PCMA, "pcmu": Codec.PCMU}.get(name)


def _packet(media: Media) -> int:
    """How much sound the phone wants in a packet."""
    most = media.number("maxptime") or PACKETS[-1]
    wanted = min(media.ptime or _USUAL, most)
    return max((length for length in PACKETS if length <= wanted), default=PACKETS[0])
