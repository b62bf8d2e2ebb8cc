"""What of a phone's session description goes further: Opus at 20 ms (RFC 7587), keys pressed, and nothing else.

Other codecs end at the agent, which stands between them and Opus; candidates, header extensions, user and session
names, addresses of the phone end here, so that nothing about the phone or its machine reaches the other party, and
every voice datagram has one size.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from relay.core import MisuseError, RefusedByPolicy
from relay.rtp import LAST_EVENT, Codec, PhoneFormat
from relay.sip.line_voice import NEUTRAL, LineVoice
from relay.sip.phone_formats import STATIC, format_of
from relay.sip.sdp import (
    Attribute,
    Connection,
    Media,
    Origin,
    RtpMap,
    SessionDescription,
    answer_to,
    reverse_direction,
)
from relay.sip.zrtp_hash import with_zrtp_hashes, zrtp_hashes

FMTP = "cbr=1;maxaveragebitrate=24000;stereo=0;sprop-stereo=0;useinbandfec=1;usedtx=0"
"""24 kbit/s at a constant rate: 60 bytes in every packet, speech or silence; a copy of what may be lost inside them."""

PTIME = 20
_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
_KEYS_BESIDE_OLD_CODECS = 8_000
_NO_CODEC = (
    "the phone offers none of Opus, G.722 and G.711; switch one of them on in its settings, best opus/48000/2"
)
_ENCRYPTED = "the phone offers only SRTP; set its media encryption to none or ZRTP for this account"

Format = tuple[RtpMap, str | None]
"""A payload type and what its fmtp line says, None for no such line."""


@dataclass(frozen=True, slots=True)
class PhoneVoice:
    """The section of a phone's description that carries the voice.

    `address` is None unless the phone gave an IP address literal; `direction` is the phone's own.  `line` is how it
    would have Opus that comes through untouched; `zrtp_hashes` are not empty where it announces ZRTP.
    """

    index: int
    format: PhoneFormat
    rtpmap: RtpMap
    address: str | None
    port: int
    direction: str
    protocol: str
    line: LineVoice | None = None
    zrtp_hashes: tuple[str, ...] = ()


def find_voice(description: SessionDescription) -> PhoneVoice:
    """The section of a phone's offer or answer to talk in: Opus before G.722 before G.711.

    Raises `RefusedByPolicy` when there is none, with a sentence for the caller.
    """
    encrypted = False
    best: PhoneVoice | None = None
    for index, media in enumerate(description.media):
        if media.kind != "audio" or media.port == 0:
            continue
        found = format_of(media)
        if found is None:
            continue
        if media.protocol not in _PROTOCOLS:
            encrypted = True
            continue
        if best is not None and (best.format.codec is Codec.OPUS or found[0].codec is not Codec.OPUS):
            continue
        best = PhoneVoice(
            index,
            *found,
            _literal(description.connection_of(media)),
            media.port,
            description.direction_of(media),
            media.protocol,
            LineVoice.of(media),
            zrtp_hashes(media),
        )
    if best is None:
        raise RefusedByPolicy(_ENCRYPTED if encrypted else _NO_CODEC)
    return best


def answer_phone(
    offer: SessionDescription,
    *,
    address: str,
    port: int,
    session_id: int,
    version: int = 1,
    line: LineVoice | None = None,
    hashes: Sequence[str] = (),
) -> SessionDescription:
    """The answer to a phone's offer: one codec and its own payload types, our address and port, other sections refused.

    With a `line` the types are those: what the phone sends passes untouched to an end that asked for them.  `hashes`
    announce the ZRTP of whoever is the phone's other end.  Raises `RefusedByPolicy` as `find_voice` does.
    """
    voice = find_voice(offer)
    if line is not None:
        formats = _line_formats(line)
    else:
        formats = [_format(voice.rtpmap, voice.format.codec)]
        if voice.format.event_type is not None:
            formats.append(_events(voice.format.event_type, voice.format.event_rate))
    media = _media(formats, port, reverse_direction(voice.direction), voice.protocol)
    media = with_zrtp_hashes(media, hashes)
    connection = _connection(address)
    origin = _origin(connection, session_id, version)
    return answer_to(offer, {voice.index: media}, origin, connection)


def neutral_offer(
    *, address: str, port: int, session_id: int, version: int = 1, direction: str = "sendrecv"
) -> SessionDescription:
    """An offer that is the same for every user and phone, but for what the caller passes here."""
    return _offer(_line_formats(NEUTRAL), address, port, session_id, version, direction)


def line_offer(
    line: LineVoice, hashes: Sequence[str], *, address: str, port: int, session_id: int
) -> SessionDescription:
    """What one end of ZRTP tells the other: nothing of it but its payload types and the hash of its Hello."""
    return _offer(_line_formats(line), address, port, session_id, 1, "sendrecv", hashes)


def phone_offer(*, address: str, port: int, session_id: int, line: LineVoice = NEUTRAL) -> SessionDescription:
    """What a phone is offered that is rung: all codecs that can be served, the best first; the same for every phone.

    `line` has the types of the other end, for a phone that is to be the end here.  No ZRTP is announced: what the phone
    takes settles who is its other end.
    """
    opus, *events = _line_formats(line)
    formats = [opus, *((STATIC[number], None) for number in ("9", "8", "0")), *events]
    if not any(rtpmap.clock_rate == _KEYS_BESIDE_OLD_CODECS for rtpmap, _ in events):
        taken = {line.payload_type, *(number for number, _ in line.events)}
        formats.append(
            _events(next(one for one in range(101, 128) if one not in taken), _KEYS_BESIDE_OLD_CODECS)
        )
    return _offer(formats, address, port, session_id, 1, "sendrecv")


def neutral_answer(
    offer: SessionDescription, *, address: str, port: int, session_id: int, version: int = 1
) -> SessionDescription:
    """The answer towards the other side, built from nothing but its offer and these arguments."""
    return answer_phone(offer, address=address, port=port, session_id=session_id, version=version)


def _literal(connection: Connection | None) -> str | None:
    if connection is None or connection.network_type != "IN":
        return None
    try:
        return str(ipaddress.ip_address(connection.address))
    except ValueError:
        return None


def _connection(address: str) -> Connection:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise MisuseError("a media address that is not an IP address") from None
    return Connection(address, f"IP{version}")


def _origin(connection: Connection, session_id: int, version: int) -> Origin:
    if session_id < 0 or version < 0:
        raise MisuseError("a negative session id or version")
    return Origin("-", str(session_id), str(version), connection.address, connection.address_type)


def _offer(
    formats: Sequence[Format],
    address: str,
    port: int,
    session_id: int,
    version: int,
    direction: str,
    hashes: Sequence[str] = (),
) -> SessionDescription:
    connection = _connection(address)
    media = with_zrtp_hashes(_media(formats, port, direction, "RTP/AVP"), hashes)
    return SessionDescription(_origin(connection, session_id, version), (media,), connection)


def _format(rtpmap: RtpMap, codec: Codec) -> Format:
    """In the phone's own words but for the case of the name."""
    name = RtpMap(rtpmap.payload_type, codec.value, rtpmap.clock_rate, rtpmap.channels)
    return name, FMTP if codec is Codec.OPUS else None


def _line_formats(line: LineVoice) -> list[Format]:
    opus, *events = line.maps()
    return [(opus, FMTP), *(_events(one.payload_type, one.clock_rate) for one in events)]


def _events(payload_type: int, clock_rate: int) -> Format:
    return RtpMap(payload_type, "telephone-event", clock_rate), f"0-{LAST_EVENT}"


def _media(formats: Sequence[Format], port: int, direction: str, protocol: str) -> Media:
    attributes: list[Attribute] = []
    for rtpmap, parameters in formats:
        attributes.append(("rtpmap", str(rtpmap)))
        if parameters is not None:
            attributes.append(("fmtp", f"{rtpmap.payload_type} {parameters}"))
    attributes.append(("ptime", str(PTIME)))
    if formats[0][1] is not None:
        # What passes untouched has to fit into one cell; what the agent encodes anew does by its doing.
        attributes.append(("maxptime", str(PTIME)))
    attributes.append((direction, None))
    numbers = tuple(str(rtpmap.payload_type) for rtpmap, _ in formats)
    return Media("audio", port, protocol, numbers, tuple(attributes))
