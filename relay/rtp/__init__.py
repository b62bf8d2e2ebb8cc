"""RTP, link SRTP, the end-to-end layer, the content of a cell, codecs, a jitter buffer, and tones.

RFC 3550 section 5; RFC 3551 section 4.5; RFC 3711 sections 3.3 and 4.3; RFC 4733 section 2; RFC 6562; RFC 6716; RFC
7587; RFC 7714; RFC 9001 section 5.4.  Must never learn
whose voice it is, nor choose a size or a moment by what is said.
"""

from relay.rtp.cell import BODY_SIZE, CELL_SIZE, CONTENT_SIZE, TICK, TIMESTAMP_STEP, LinkType
from relay.rtp.content import ContentPacker, ContentUnpacker, Datagram, Kind
from relay.rtp.end_to_end import EndToEndOpener, EndToEndSealer
from relay.rtp.libopus import OpusDecoder, OpusEncoder
from relay.rtp.opus import HANG_UP_TONE, WAITING_TONE, Tone, encode_tone, pips
from relay.rtp.packet import RtpPacket
from relay.rtp.playout import Place, Playout
from relay.rtp.srtp import AeadSrtp, SrtpDrop, derive_session_keys
from relay.rtp.telephone_codecs import Codec, Coder, PhoneFormat, coder
from relay.rtp.telephone_event import EVENT_CLOCK, LAST_EVENT, TelephoneEvent

__all__ = [
    "BODY_SIZE",
    "CELL_SIZE",
    "CONTENT_SIZE",
    "EVENT_CLOCK",
    "HANG_UP_TONE",
    "LAST_EVENT",
    "TICK",
    "TIMESTAMP_STEP",
    "WAITING_TONE",
    "AeadSrtp",
    "Codec",
    "Coder",
    "ContentPacker",
    "ContentUnpacker",
    "Datagram",
    "EndToEndOpener",
    "EndToEndSealer",
    "Kind",
    "LinkType",
    "OpusDecoder",
    "OpusEncoder",
    "PhoneFormat",
    "Place",
    "Playout",
    "RtpPacket",
    "SrtpDrop",
    "TelephoneEvent",
    "Tone",
    "coder",
    "derive_session_keys",
    "encode_tone",
    "pips",
]
