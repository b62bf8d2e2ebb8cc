from pathlib import Path

import pytest

from relay.core import MisuseError, RefusedByPolicy
from relay.sip import parse_message
from relay.sip.opus_offer import FMTP, answer_phone, find_opus, neutral_answer, neutral_offer
from relay.sip.sdp import SessionDescription

PHONES = Path(__file__).parents[1] / "vectors" / "sip" / "phones"


def offer_of(phone: str) -> SessionDescription:
    return SessionDescription.parse(parse_message((PHONES / f"{phone}-invite.dat").read_bytes()).body)


def offer(*lines: str) -> SessionDescription:
    head = ["v=0", "o=alice 1 1 IN IP4 192.0.2.7", "s=My phone", "c=IN IP4 192.0.2.7", "t=0 0", *lines]
    return SessionDescription.parse("\r\n".join(head).encode())


def expected(payload_type: int, name: str = "opus/48000/2") -> bytes:
    return (
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio 4000 RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {name}\r\n"
        f"a=fmtp:{payload_type} {FMTP}\r\na=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
    ).encode()


def test_what_baresip_offers_and_gets() -> None:
    session = offer_of("baresip-1.0.0")
    voice = find_opus(session)
    assert (voice.rtpmap.payload_type, voice.address, voice.port) == (96, "127.0.0.1", 26016)
    assert answer_phone(session, address="127.0.0.1", port=4000, session_id=7).to_bytes() == expected(96)


def test_what_linphone_offers_and_gets() -> None:
    session = offer_of("linphone-5.1.65")
    voice = find_opus(session)
    assert (voice.rtpmap.payload_type, voice.port, voice.direction) == (96, 17100, "sendrecv")
    assert voice.address == "192.0.2.2"  # Its network card, not loopback.
    assert answer_phone(session, address="127.0.0.1", port=4000, session_id=7).to_bytes() == expected(96)


def test_baresips_answer_to_our_offer_is_understood() -> None:
    voice = find_opus(SessionDescription.parse((PHONES / "baresip-1.0.0-answer.sdp").read_bytes()))
    assert (voice.index, voice.rtpmap.payload_type, voice.port) == (0, 96, 26002)


def test_a_mono_name_is_answered_by_its_own_name() -> None:
    session = offer("m=audio 5000 RTP/AVP 0 111", "a=rtpmap:111 OPUS/48000/1")
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(111, "opus/48000/1")


def test_a_neutral_offer_is_the_same_for_everybody() -> None:
    neutral = neutral_offer(address="127.0.0.1", port=4000, session_id=7)
    assert neutral.to_bytes() == expected(96)
    assert neutral_answer(neutral, address="127.0.0.1", port=4000, session_id=7).to_bytes() == expected(96)
    assert b"IN IP6 ::1" in neutral_offer(address="::1", port=4000, session_id=7).to_bytes()


def test_nothing_of_the_phone_goes_further() -> None:
    session = offer(
        "a=ice-ufrag:secret", "a=tool:phone", "m=audio 5000 RTP/AVP 111 101", "i=alice's desk", "b=AS:99",
        "a=rtpmap:111 opus/48000/2", "a=fmtp:111 stereo=1;x-alice=1", "a=rtpmap:101 telephone-event/8000",
        "a=candidate:1 1 UDP 1 192.0.2.7 5000 typ host",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=ssrc:1 cname:alice", "a=rtcp:5001", "a=ptime:60",
    )  # fmt: skip
    assert answer_phone(session, address="127.0.0.1", port=4000, session_id=7).to_bytes() == expected(111)


def test_other_sections_are_refused_and_directions_reversed() -> None:
    session = offer(
        "a=sendonly", "m=video 6000 RTP/AVP 97", "m=audio 0 RTP/AVP 96", "a=rtpmap:96 opus/48000/2",
        "m=audio 5000 RTP/AVPF 98", "a=rtpmap:98 opus/48000/2",
    )  # fmt: skip
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7, version=2)
    assert [(m.kind, m.port, m.protocol, m.formats) for m in answer.media] == [
        ("video", 0, "RTP/AVP", ("97",)),
        ("audio", 0, "RTP/AVP", ("96",)),
        ("audio", 4000, "RTP/AVPF", ("98",)),
    ]
    assert answer.media[2].direction == "recvonly"
    assert answer.origin.session_version == "2"


def test_a_host_name_is_not_resolved() -> None:
    assert (
        find_opus(offer("m=audio 1 RTP/AVP 9", "c=IN IP4 phone.example", "a=rtpmap:9 opus/48000/2")).address
        is None
    )


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("m=audio 5000 RTP/AVP 0 8",),
        ("m=audio 0 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"),
        ("m=video 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/16000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:97 opus/48000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus-x/48000/2"),
    ],
)
def test_a_phone_without_opus_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(RefusedByPolicy, match=r"^the phone offers no Opus"):
        answer_phone(offer(*lines), address="127.0.0.1", port=4000, session_id=7)


def test_a_phone_that_insists_on_srtp_is_told_so() -> None:
    with pytest.raises(RefusedByPolicy, match="SRTP"):
        find_opus(offer("m=audio 5000 RTP/SAVP 96", "a=rtpmap:96 opus/48000/2"))


def test_our_own_values_are_checked() -> None:
    for address, session_id in (("localhost", 1), ("127.0.0.1\r\na=x", 1), ("127.0.0.1", -1)):
        with pytest.raises(MisuseError):
            neutral_offer(address=address, port=4000, session_id=session_id)
