from pathlib import Path

import pytest

from relay.core import MisuseError, RefusedByPolicy
from relay.rtp import Codec
from relay.sip import parse_message
from relay.sip.line_voice import LineVoice
from relay.sip.opus_offer import (
    FMTP,
    answer_phone,
    find_voice,
    line_offer,
    neutral_answer,
    neutral_offer,
    phone_offer,
)
from relay.sip.sdp import SessionDescription

PHONES = Path(__file__).parents[1] / "vectors" / "sip" / "phones"


def offer_of(phone: str) -> SessionDescription:
    return SessionDescription.parse(parse_message((PHONES / f"{phone}-invite.dat").read_bytes()).body)


def offer(*lines: str) -> SessionDescription:
    head = ["v=0", "o=alice 1 1 IN IP4 192.0.2.7", "s=My phone", "c=IN IP4 192.0.2.7", "t=0 0", *lines]
    return SessionDescription.parse("\r\n".join(head).encode())


HEAD = "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
G722, G711 = "a=rtpmap:9 G722/8000\r\n", "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"


def keys(payload_type: int, clock: int = 8000) -> str:
    return f"a=rtpmap:{payload_type} telephone-event/{clock}\r\na=fmtp:{payload_type} 0-15\r\n"


def expected(
    payload_type: int, name: str = "opus/48000/2", events: int | None = None, clock: int = 8000
) -> bytes:
    more, lines = ("", "") if events is None else (f" {events}", keys(events, clock))
    return (
        f"{HEAD}m=audio 4000 RTP/AVP {payload_type}{more}\r\na=rtpmap:{payload_type} {name}\r\n"
        f"a=fmtp:{payload_type} {FMTP}\r\n{lines}a=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
    ).encode()


def answered(*lines: str) -> str:
    answer = answer_phone(offer(*lines), address="127.0.0.1", port=4000, session_id=7)
    return answer.to_bytes().decode()


def test_what_baresip_offers_and_gets() -> None:
    session = offer_of("baresip-1.0.0")
    voice = find_voice(session)
    assert (voice.rtpmap.payload_type, voice.address, voice.port) == (96, "127.0.0.1", 26016)
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(96, events=101)


def test_what_linphone_offers_and_gets() -> None:
    session = offer_of("linphone-5.1.65")
    voice = find_voice(session)
    assert (voice.rtpmap.payload_type, voice.port, voice.direction) == (96, 17100, "sendrecv")
    assert voice.address == "192.0.2.2"  # Its network card, not loopback.
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(96, events=99, clock=48000), "keys on the clock of the voice"


HASH = f"1.10 {7:064x}"


def test_a_phone_gets_the_types_and_the_hash_of_the_end_that_its_voice_reaches_untouched() -> None:
    session = offer_of("linphone-5.1.65")
    assert len(find_voice(session).zrtp_hashes) == 1
    line = LineVoice(111, ((112, 48_000),))
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7, line=line, hashes=(HASH,))
    wanted = expected(111, events=112, clock=48_000) + f"a=zrtp-hash:{HASH}\r\n".encode()
    assert answer.to_bytes() == wanted
    assert line_offer(line, (HASH,), address="127.0.0.1", port=4000, session_id=7).to_bytes() == wanted


@pytest.mark.parametrize(
    ("line", "formats"),
    [
        (LineVoice(111, ((112, 8_000),)), ("111", "9", "8", "0", "112")),
        (LineVoice(111, ((101, 48_000),)), ("111", "9", "8", "0", "101", "102")),
        (LineVoice(101), ("101", "9", "8", "0", "102")),
    ],
)
def test_a_phone_that_is_rung_is_offered_the_other_ends_types_and_keys_for_old_codecs(
    line: LineVoice, formats: tuple[str, ...]
) -> None:
    rung = phone_offer(address="127.0.0.1", port=4000, session_id=7, line=line)
    (media,) = rung.media
    assert media.formats == formats
    assert find_voice(rung).zrtp_hashes == (), "whose Hello it will hear, its answer settles"
    maps = [media.rtpmap(number) for number in formats[4:]]
    assert 8_000 in [one.clock_rate for one in maps if one is not None]


def test_baresips_answer_to_our_offer_is_understood() -> None:
    voice = find_voice(SessionDescription.parse((PHONES / "baresip-1.0.0-answer.sdp").read_bytes()))
    assert (voice.index, voice.rtpmap.payload_type, voice.port) == (0, 96, 26002)


def test_a_mono_name_is_answered_by_its_own_name() -> None:
    session = offer("m=audio 5000 RTP/AVP 0 111", "a=rtpmap:111 OPUS/48000/1")
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(111, "opus/48000/1")


def test_a_neutral_offer_is_the_same_for_everybody() -> None:
    neutral = neutral_offer(address="127.0.0.1", port=4000, session_id=7)
    assert neutral.to_bytes() == expected(96, events=101)
    answer = neutral_answer(neutral, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(96, events=101)
    assert b"IN IP6 ::1" in neutral_offer(address="::1", port=4000, session_id=7).to_bytes()


def test_nothing_of_the_phone_goes_further() -> None:
    session = offer(
        "a=ice-ufrag:secret", "a=tool:phone", "m=audio 5000 RTP/AVP 111 101", "i=alice's desk", "b=AS:99",
        "a=rtpmap:111 opus/48000/2", "a=fmtp:111 stereo=1;x-alice=1", "a=rtpmap:101 telephone-event/8000",
        "a=candidate:1 1 UDP 1 192.0.2.7 5000 typ host",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=ssrc:1 cname:alice", "a=rtcp:5001", "a=ptime:60",
    )  # fmt: skip
    answer = answer_phone(session, address="127.0.0.1", port=4000, session_id=7)
    assert answer.to_bytes() == expected(111, events=101)


def test_every_phone_that_is_rung_is_offered_the_same_codecs_the_best_first() -> None:
    rung = phone_offer(address="127.0.0.1", port=4000, session_id=7)
    assert rung.to_bytes().decode() == (
        f"{HEAD}m=audio 4000 RTP/AVP 96 9 8 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 {FMTP}\r\n{G722}{G711}"
        f"{keys(101)}a=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n"
    )


@pytest.mark.parametrize(
    ("formats", "maps", "taken"),
    [
        ("0", (), "0\r\na=rtpmap:0 PCMU/8000"),
        ("8 0", (), "8\r\na=rtpmap:8 PCMA/8000"),
        ("0 8", (), "0\r\na=rtpmap:0 PCMU/8000"),
        ("0 8 9", (), "9\r\na=rtpmap:9 G722/8000"),
        ("97", ("a=rtpmap:97 pcmu/8000/1",), "97\r\na=rtpmap:97 PCMU/8000/1"),
    ],
)
def test_a_phone_without_opus_is_answered_in_its_best_codec(
    formats: str, maps: tuple[str, ...], taken: str
) -> None:
    text = answered(f"m=audio 5000 RTP/AVP {formats}", *maps)
    assert f"m=audio 4000 RTP/AVP {taken}\r\na=ptime:20\r\na=sendrecv\r\n" in text


def test_opus_is_preferred_wherever_it_stands() -> None:
    text = answered("m=audio 5000 RTP/AVP 0 9 98", "a=rtpmap:98 opus/48000/2", "m=audio 5002 RTP/AVP 0")
    assert "m=audio 4000 RTP/AVP 98\r\n" in text
    text = answered("m=audio 5002 RTP/AVP 0", "m=audio 5000 RTP/AVP 98", "a=rtpmap:98 opus/48000/2")
    assert "m=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/AVP 98\r\n" in text


@pytest.mark.parametrize(
    ("lines", "milliseconds"),
    [
        ((), 20), (("a=ptime:10",), 10), (("a=ptime:30",), 30), (("a=ptime:60",), 60), (("a=ptime:200",), 60),
        (("a=ptime:25",), 20), (("a=ptime:0",), 20), (("a=ptime:5",), 10), (("a=ptime:40", "a=maxptime:20"), 20),
    ],
)  # fmt: skip
def test_packets_for_a_phone_are_as_long_as_it_wants(lines: tuple[str, ...], milliseconds: int) -> None:
    voice = find_voice(offer("m=audio 5000 RTP/AVP 8", *lines))
    assert (voice.format.codec, voice.format.milliseconds) == (Codec.PCMA, milliseconds)


def test_of_several_clocks_for_keys_the_voices_own_is_taken() -> None:
    lines = ("a=rtpmap:100 telephone-event/48000", "a=rtpmap:101 telephone-event/8000")
    voice = find_voice(offer("m=audio 5000 RTP/AVP 9 100 101", *lines))
    assert (voice.format.event_type, voice.format.event_rate) == (101, 8000)


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
        find_voice(offer("m=audio 1 RTP/AVP 9", "c=IN IP4 phone.example", "a=rtpmap:9 opus/48000/2")).address
        is None
    )


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("m=audio 5000 RTP/AVP 3 18",),
        ("m=audio 5000 RTP/AVP 0", "a=rtpmap:0 GSM/8000"),
        ("m=audio 5000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000/2"),
        ("m=audio 5000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"),
        ("m=audio 0 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"),
        ("m=video 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/16000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:97 opus/48000/2"),
        ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus-x/48000/2"),
    ],
)
def test_a_phone_without_a_known_codec_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(RefusedByPolicy, match=r"^the phone offers none of Opus"):
        answer_phone(offer(*lines), address="127.0.0.1", port=4000, session_id=7)


def test_a_phone_that_insists_on_srtp_is_told_so() -> None:
    with pytest.raises(RefusedByPolicy, match="SRTP"):
        find_voice(offer("m=audio 5000 RTP/SAVP 96", "a=rtpmap:96 opus/48000/2"))


def test_our_own_values_are_checked() -> None:
    for address, session_id in (("localhost", 1), ("127.0.0.1\r\na=x", 1), ("127.0.0.1", -1)):
        with pytest.raises(MisuseError):
            neutral_offer(address=address, port=4000, session_id=session_id)
