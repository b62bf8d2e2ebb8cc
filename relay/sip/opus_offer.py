"""What of a phone's session description goes further: Opus at 20 ms (RFC 7587) and nothing else.

Other codecs, candidates, header extensions, user and session names, addresses of the phone end here, so that
nothing about the phone or its machine reaches the other party, and every voice datagram has one size.
"""

import ipaddress
from dataclasses import dataclass

from relay.core import MisuseError, RefusedByPolicy
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

FMTP = "cbr=1;maxaveragebitrate=24000;stereo=0;sprop-stereo=0;useinbandfec=0;usedtx=0"
"""24 kbit/s at a constant rate: 60 bytes in every packet, speech or silence."""

PTIME = 20
NEUTRAL_PAYLOAD_TYPE = 96
_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
_NO_OPUS = "the phone offers no Opus; switch on the codec opus/48000/2 in its settings"
_ENCRYPTED = "the phone offers only SRTP; set its media encryption to none or ZRTP for this account"


@dataclass(frozen=True, slots=True)
class PhoneVoice:
    """The section of a phone's description that carries the voice.

    `address` is None unless the phone gave an IP address literal; `direction` is the phone's own.
    """

    index: int
    rtpmap: RtpMap
    address: str | None
    port: int
    direction: str
    protocol: str


def find_opus(description: SessionDescription) -> PhoneVoice:
    """The Opus section of a phone's offer or answer.

    Raises `RefusedByPolicy` when there is none, with a sentence for the caller.  Some phones name a mono
    codec opus/48000/1 though RFC 7587 section 7 fixes /2: both are taken, and answered by the same name.
    """
    encrypted = False
    for index, media in enumerate(description.media):
        if media.kind != "audio" or media.port == 0:
            continue
        found = _opus_map(media)
        if found is None:
            continue
        if media.protocol not in _PROTOCOLS:
            encrypted = True
            continue
        return PhoneVoice(
            index,
            found,
            _literal(description.connection_of(media)),
            media.port,
            description.direction_of(media),
            media.protocol,
        )
    raise RefusedByPolicy(_ENCRYPTED if encrypted else _NO_OPUS)


def answer_phone(
    offer: SessionDescription, *, address: str, port: int, session_id: int, version: int = 1
) -> SessionDescription:
    """The answer to a phone's offer: its own payload type, our address and port, other sections refused.

    Raises `RefusedByPolicy` as `find_opus` does.
    """
    voice = find_opus(offer)
    media = _opus_media(voice.rtpmap, port, reverse_direction(voice.direction), voice.protocol)
    connection = _connection(address)
    origin = _origin(connection, session_id, version)
    return answer_to(offer, {voice.index: media}, origin, connection)


def neutral_offer(
    *, address: str, port: int, session_id: int, version: int = 1, direction: str = "sendrecv"
) -> SessionDescription:
    """An offer that is the same for every user and phone, but for what the caller passes here."""
    rtpmap = RtpMap(NEUTRAL_PAYLOAD_TYPE, "opus", 48000, 2)
    connection = _connection(address)
    media = _opus_media(rtpmap, port, direction, "RTP/AVP")
    return SessionDescription(_origin(connection, session_id, version), (media,), connection)


def neutral_answer(
    offer: SessionDescription, *, address: str, port: int, session_id: int, version: int = 1
) -> SessionDescription:
    """The answer towards the other side, built from nothing but its offer and these arguments."""
    return answer_phone(offer, address=address, port=port, session_id=session_id, version=version)


def _opus_map(media: Media) -> RtpMap | None:
    for payload_type in media.formats:
        found = media.rtpmap(payload_type)
        if found is None or found.encoding.lower() != "opus" or found.clock_rate != 48000:
            continue
        if found.channels in (1, 2):
            return found
    return None


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


def _opus_media(rtpmap: RtpMap, port: int, direction: str, protocol: str) -> Media:
    payload_type = str(rtpmap.payload_type)
    name = RtpMap(rtpmap.payload_type, "opus", rtpmap.clock_rate, rtpmap.channels)
    attributes: tuple[Attribute, ...] = (
        ("rtpmap", str(name)),
        ("fmtp", f"{payload_type} {FMTP}"),
        ("ptime", str(PTIME)),
        ("maxptime", str(PTIME)),
        (direction, None),
    )
    return Media("audio", port, protocol, (payload_type,), attributes)
