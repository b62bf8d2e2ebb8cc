import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.sip.sdp import (
    MAX_DESCRIPTION,
    Connection,
    Media,
    Origin,
    RtpMap,
    SessionDescription,
    answer_to,
    reverse_direction,
)

# RFC 8866 section 5, the example session description, its multicast addresses made unicast.
RFC_8866 = b"""v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
t=0 0
m=audio 49170 RTP/AVP 0
m=audio 49180 RTP/AVP 0
m=video 51372 RTP/AVP 99
c=IN IP6 2001:db8::2
a=rtpmap:99 h263-1998/90000
"""

ORIGIN = Origin("-", "1", "1", "127.0.0.1")


def minimal(*lines: str) -> bytes:
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", *lines]
    return "".join(f"{line}\r\n" for line in head).encode()


def audio(*lines: str) -> Media:
    return SessionDescription.parse(minimal("m=audio 4000 RTP/AVP 96 0", *lines)).media[0]


@pytest.mark.parametrize("data", [RFC_8866, RFC_8866.replace(b"\n", b"\r\n"), RFC_8866[:-1]])
def test_the_example_of_rfc_8866(data: bytes) -> None:
    session = SessionDescription.parse(data)
    assert session.origin == Origin("jdoe", "3724394400", "3724394405", "198.51.100.1")
    assert session.name == "Call to John Smith"
    assert [(m.kind, m.port, m.protocol, m.formats) for m in session.media] == [
        ("audio", 49170, "RTP/AVP", ("0",)),
        ("audio", 49180, "RTP/AVP", ("0",)),
        ("video", 51372, "RTP/AVP", ("99",)),
    ]
    assert session.connection_of(session.media[0]) == Connection("198.51.100.1")
    assert session.connection_of(session.media[2]) == Connection("2001:db8::2", "IP6")
    assert session.media[2].rtpmap("99") == RtpMap(99, "h263-1998", 90000)


def test_lines_about_people_are_not_kept() -> None:
    written = SessionDescription.parse(RFC_8866).to_bytes()
    assert not any(text in written for text in (b"Jane", b"home.html", b"617", b"Offer"))


def test_accessors() -> None:
    media = audio(
        "i=voice", "c=IN IP4 127.0.0.2", "b=AS:30", "b=TIAS:24000", "a=rtpmap:96 Opus/48000/2",
        "a=fmtp:96  cbr=1", "a=ptime:20", "a=recvonly", "a=rtpmap:97", "a=rtcp-mux",
    )  # fmt: skip
    assert media.rtpmap("96") == RtpMap(96, "Opus", 48000, 2)
    assert str(media.rtpmap("96")) == "96 Opus/48000/2"
    assert media.rtpmap("0") is None
    assert (media.fmtp("96"), media.fmtp("0")) == ("cbr=1", None)
    assert (media.ptime, media.direction, media.title) == (20, "recvonly", "voice")
    assert (media.attribute("rtcp-mux"), media.attribute("mid")) == ("", None)
    assert media.bandwidths == ("AS:30", "TIAS:24000")


@pytest.mark.parametrize(
    "line", ["a=ptime:x", "a=ptime:", "a=ptime", "a=ptime:-20", "a=ptime:123456789", "a=x:20"]
)
def test_a_ptime_that_is_no_number(line: str) -> None:
    assert audio(line).ptime is None


@pytest.mark.parametrize(
    "value", ["96", "96 opus", "96 opus/x", "128 opus/48000", "96 op us/8000", "96 a/1/2/3"]
)
def test_an_rtpmap_that_cannot_be_read_is_none(value: str) -> None:
    assert audio(f"a=rtpmap:{value}").rtpmap("96") is None


def test_directions() -> None:
    session = SessionDescription.parse(
        minimal("a=sendonly", "m=audio 1 RTP/AVP 0", "m=audio 2 RTP/AVP 0", "a=inactive")
    )
    assert [session.direction_of(media) for media in session.media] == ["sendonly", "inactive"]
    assert SessionDescription(ORIGIN).direction_of(audio()) == "sendrecv"
    assert [reverse_direction(d) for d in ("sendrecv", "sendonly", "recvonly", "inactive")] == [
        "sendrecv",
        "recvonly",
        "sendonly",
        "inactive",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"v=0\r\n",
        b"v=1\r\no=- 1 1 IN IP4 h\r\ns=-\r\n",
        b"o=- 1 1 IN IP4 h\r\nv=0\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\ns=-\r\n",
        b"v=0\r\no=- x 1 IN IP4 h\r\ns=-\r\n",
        b"v=0\r\no=- -1 1 IN IP4 h\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4 h\r\no=- 1 1 IN IP4 h\r\ns=-\r\n",
        minimal("x=y"),
        minimal("v=0"),
        minimal("c=IN IP4 h"),
        minimal("a="),
        minimal("a=b c"),
        minimal("\ra=b"),
        minimal("a=b\0"),
        minimal("a=\xe9").replace("é".encode(), b"\xff"),
        minimal(" a=b"),
        minimal("", "a=b"),
        minimal("m=audio"),
        minimal("m=audio 1 RTP/AVP"),
        minimal("m=audio  1 RTP/AVP 0"),
        minimal("m=audio 65536 RTP/AVP 0"),
        minimal("m=audio -1 RTP/AVP 0"),
        minimal("m=audio 1/x RTP/AVP 0"),
        minimal("m=audio 1 RTP//AVP 0"),
        minimal("m=audio 1 RTP/AVP 0", "c=IN IP4"),
        minimal("m=audio 1 RTP/AVP 0", "c=IN IP4 a", "c=IN IP4 b"),
        minimal("m=audio 1 RTP/AVP 0", "a=b", "c=IN IP4 a"),
        minimal("m=audio 1 RTP/AVP 0", "t=0 0"),
        minimal(*["m=audio 1 RTP/AVP 0"] * 17),
        minimal(*["a=b"] * 600),
        minimal("a=" + "b" * MAX_DESCRIPTION),
    ],
)
def test_malformed_descriptions(data: bytes) -> None:
    with pytest.raises(PeerError):
        SessionDescription.parse(data)


def test_repeat_times_between_times() -> None:
    session = SessionDescription.parse(minimal("r=7d 1h 0 25h", "t=1 2", "t=3 4", "r=7d 1h 0 25h", "a=x"))
    assert session.times == ("0 0", "1 2", "3 4")


def test_an_answer_has_the_sections_of_the_offer() -> None:
    offer = SessionDescription.parse(RFC_8866)
    answer = answer_to(offer, {1: Media("audio", 4000, "RTP/AVP", ("0",))}, ORIGIN, Connection("127.0.0.1"))
    assert [(m.kind, m.port, m.formats) for m in answer.media] == [
        ("audio", 0, ("0",)),
        ("audio", 4000, ("0",)),
        ("video", 0, ("99",)),
    ]
    assert SessionDescription.parse(answer.to_bytes()) == answer
    with pytest.raises(MisuseError):
        answer_to(offer, {2: Media("audio", 1, "RTP/AVP", ("0",))}, ORIGIN, Connection("127.0.0.1"))


@pytest.mark.parametrize(
    "session",
    [
        SessionDescription(ORIGIN, name="a\r\nc=IN IP4 evil"),
        SessionDescription(Origin("a b", "1", "1", "h")),
        SessionDescription(Origin("", "1", "1", "h")),
        SessionDescription(ORIGIN, connection=Connection("h\nx")),
        SessionDescription(ORIGIN, attributes=(("a:b", None),)),
        SessionDescription(ORIGIN, attributes=(("a", "b\r"),)),
        SessionDescription(ORIGIN, times=("0\n0",)),
        SessionDescription(ORIGIN, bandwidths=("\0",)),
        SessionDescription(ORIGIN, (Media("audio", 1, "RTP/AVP", ()),)),
        SessionDescription(ORIGIN, (Media("audio", 65536, "RTP/AVP", ("0",)),)),
        SessionDescription(ORIGIN, (Media("audio", 1, "RTP/AVP", ("0 1",)),)),
        SessionDescription(ORIGIN, (Media("audio", 1, "RTP/AVP", ("0",), title="\n"),)),
    ],
)
def test_a_description_cannot_break_out(session: SessionDescription) -> None:
    with pytest.raises(MisuseError):
        session.to_bytes()


tokens = st.text("abcXYZ019-.", min_size=1, max_size=8)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1, max_size=20
)
numbers = st.integers(0, 65535)
connections = st.builds(Connection, tokens, st.sampled_from(["IP4", "IP6"]))
attributes = st.lists(st.tuples(tokens, st.none() | texts), max_size=4).map(tuple)
sections = st.builds(
    Media,
    tokens,
    numbers,
    st.sampled_from(["RTP/AVP", "RTP/SAVPF", "udp"]),
    st.lists(tokens, min_size=1, max_size=4).map(tuple),
    attributes,
    st.none() | connections,
    st.lists(texts, max_size=2).map(tuple),
    st.none() | texts,
    st.integers(1, 4),
)
descriptions = st.builds(
    SessionDescription,
    st.builds(Origin, tokens, numbers.map(str), numbers.map(str), tokens),
    st.lists(sections, max_size=3).map(tuple),
    st.none() | connections,
    attributes,
    texts,
    st.lists(texts, max_size=2).map(tuple),
    st.lists(texts, min_size=1, max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(descriptions)
def test_descriptions_come_back(session: SessionDescription) -> None:
    assert SessionDescription.parse(session.to_bytes()) == session


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mutated_descriptions_raise_only_peer_error(data: st.DataObject) -> None:
    message = bytearray(RFC_8866)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(message)))
        piece = data.draw(
            st.sampled_from([b"", b"\r\n", b"\n", b" ", b"\0", b"\xff", b":", b"/", b"m=", b"a=rtpmap:"])
        )
        message[place : place + data.draw(st.integers(0, 3))] = piece
    try:
        session = SessionDescription.parse(bytes(message))
    except PeerError:
        return
    for media in session.media:
        for number in media.formats:
            media.rtpmap(number)
            media.fmtp(number)
        assert media.ptime is None
    assert SessionDescription.parse(session.to_bytes()).media == session.media


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_only_peer_error(data: bytes) -> None:
    for garbage in (data, minimal() + data, minimal("m=audio 1 RTP/AVP 0") + data):
        try:
            SessionDescription.parse(garbage)
        except PeerError:
            continue
