"""RTP, link SRTP, the end-to-end layer, the content of a cell, and tones.

RFC 3550 section 5; RFC 3711 sections 3.3 and 4.3; RFC 7714; RFC 9001 section 5.4; RFC 7587.  Must never learn
whose voice it is, nor choose a size or a moment by what is said.
"""

from relay.rtp.cell import BODY_SIZE, CELL_SIZE, CONTENT_SIZE, TICK, TIMESTAMP_STEP, LinkType
from relay.rtp.content import ContentPacker, ContentUnpacker, Datagram, Kind
from relay.rtp.end_to_end import EndToEndOpener, EndToEndSealer
from relay.rtp.opus import HANG_UP_TONE, WAITING_TONE, Tone, encode_tone, pips
from relay.rtp.packet import RtpPacket
from relay.rtp.srtp import AeadSrtp, SrtpDrop, derive_session_keys

__all__ = [
    "BODY_SIZE",
    "CELL_SIZE",
    "CONTENT_SIZE",
    "HANG_UP_TONE",
    "TICK",
    "TIMESTAMP_STEP",
    "WAITING_TONE",
    "AeadSrtp",
    "ContentPacker",
    "ContentUnpacker",
    "Datagram",
    "EndToEndOpener",
    "EndToEndSealer",
    "Kind",
    "LinkType",
    "RtpPacket",
    "SrtpDrop",
    "Tone",
    "derive_session_keys",
    "encode_tone",
    "pips",
]
