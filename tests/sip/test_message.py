from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.sip import MAX_MESSAGE, Headers, Message, Request, Response, parse_message, response_to

VECTORS = Path(__file__).parents[1] / "vectors" / "sip"
CORPUS = [path.read_bytes() for path in sorted(VECTORS.glob("*/*.dat"))]


def invite(*more: tuple[str, str], body: bytes = b"") -> Request:
    fields = [
        ("Via", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1;rport"),
        ("Max-Forwards", "70"),
        ("From", '"Alice" <sip:alice@127.0.0.1>;tag=a1'),
        ("To", "<sip:bob@127.0.0.1>"),
        ("Call-ID", "1@127.0.0.1"),
        ("CSeq", "1 INVITE"),
        *more,
    ]
    return Request("INVITE", "sip:bob@127.0.0.1", Headers(fields), body)


def raw(*lines: str, body: bytes = b"") -> bytes:
    head = invite().to_bytes().replace(b"Content-Length: 0\r\n\r\n", b"")
    return head + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def test_a_request_comes_back() -> None:
    request = invite(("Subject", "é"), body=b"\x00\xff")
    again = parse_message(request.to_bytes())
    assert isinstance(again, Request)
    assert (again.method, again.uri, again.body) == ("INVITE", "sip:bob@127.0.0.1", b"\x00\xff")
    assert again.headers.items()[:-1] == request.headers.items()
    assert again.headers.get("l") == "2"
    assert again.to_bytes() == request.to_bytes()


def test_typed_views() -> None:
    request = invite(("Contact", "<sip:a@h>, <sip:b@h>"), ("c", "Application/SDP ; charset=utf-8"))
    assert request.via.branch == "z9hG4bK1"
    assert (request.from_.display_name, request.from_.tag, request.to.tag) == ("Alice", "a1", None)
    assert (request.cseq.number, request.cseq.method, request.max_forwards) == (1, "INVITE", 70)
    assert [str(contact.sip_uri) for contact in request.contacts] == ["sip:a@h", "sip:b@h"]
    assert request.content_type == "application/sdp"
    assert invite(("Contact", "*")).contacts == []
    assert invite().content_type == ""
    with pytest.raises(PeerError, match="no To"):
        _ = Request("INVITE", "sip:a@h").to


def test_a_response_copies_what_section_8_2_6_says() -> None:
    request = invite(
        ("Via", "SIP/2.0/TCP h;branch=z9hG4bK0"), ("Record-Route", "<sip:p;lr>"), ("Timestamp", "5")
    )
    response = parse_message(response_to(request, 180, to_tag="b1").to_bytes())
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (180, "Ringing")
    assert response.headers.all("Via") == request.headers.all("Via")
    assert response.headers.all("Record-Route") == ["<sip:p;lr>"]
    assert str(response.to) == "<sip:bob@127.0.0.1>;tag=b1"
    assert (response.call_id, response.cseq, response.from_) == (request.call_id, request.cseq, request.from_)
    assert "Timestamp" not in response.headers
    trying = response_to(request, 100)
    assert trying.headers.get("Timestamp") == "5"
    assert trying.to.tag is None
    assert "Record-Route" not in response_to(request, 404, to_tag="x").headers


def test_a_tag_in_to_is_kept() -> None:
    request = invite()
    request.headers.set("To", "<sip:bob@127.0.0.1>;tag=theirs")
    assert response_to(request, 200, "Fine", to_tag="ours").to.tag == "theirs"


def test_bytes_behind_the_body_are_dropped_and_a_short_body_is_refused() -> None:
    assert parse_message(raw("Content-Length: 3", body=b"abcdef")).body == b"abc"
    assert parse_message(raw(body=b"abcdef")).body == b"abcdef"
    with pytest.raises(PeerError, match=r"truncated.*18\.3"):
        parse_message(raw("Content-Length: 7", body=b"abcdef"))


def test_a_blank_before_the_colon_changes_nothing() -> None:
    assert parse_message(raw("Content-Length : 5", body=b"abcdef")).body == b"abcde"
    assert parse_message(raw("l\t:\r\n\t5", body=b"abcdef")).body == b"abcde"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: +1",),
        ("Content-Length: 1e1",),
        ("Content-Length: 0x1",),
        ("Content-Length:",),
        ("Content-Length: 1 1",),
        ("Content-Length: 1, 1",),
        ("Content-Length: 1", "Content-Length: 1"),
        ("Content-Length: 1", "l: 2"),
        ("Content-Length: ٣",),
        ("Content-Length: 18446744073709551617",),
        ("Content-Length: 4294967297",),
        ("Content-Length: 65536",),
    ],
)
def test_content_lengths_that_lie(lines: tuple[str, ...]) -> None:
    with pytest.raises(PeerError):
        parse_message(raw(*lines, body=b"abcdef"))


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_what_must_be_there(name: str) -> None:
    request = invite()
    request.headers.remove(name)
    with pytest.raises(PeerError, match=f"{name} missing"):
        parse_message(request.to_bytes())


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq", "Max-Forwards"])
def test_what_must_be_there_only_once(name: str) -> None:
    request = invite((name, invite().headers.get(name) or ""))
    with pytest.raises(PeerError, match=f"{name} repeated"):
        parse_message(request.to_bytes())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CSeq", "1 BYE"),
        ("Max-Forwards", "256"),
        ("Call-ID", "a b"),
        ("Call-ID", ""),
        ("Contact", "*, <sip:a@h>"),
        ("Route", "<sip:p;lr"),
        ("Record-Route", '"'),
        ("Via", "SIP/2.0/UDP h,"),
    ],
)
def test_headers_that_cannot_be_read(name: str, value: str) -> None:
    request = invite()
    request.headers.set(name, value)
    with pytest.raises(PeerError):
        parse_message(request.to_bytes())


@pytest.mark.parametrize(
    "line",
    [
        "INVITE sip:bob@h",
        "INVITE  sip:bob@h SIP/2.0",
        "INVITE sip:bob@h SIP/2.0 ",
        "INVITE sip:bob@h SIP/3.0",
        "INVITE <sip:bob@h> SIP/2.0",
        "INVITE sip:bob@h?Route=x SIP/2.0",
        "INVITE sip:bob@h;method=BYE SIP/2.0",
        "INV(ITE sip:bob@h SIP/2.0",
        "INVITE sip:bob@h ſIP/2.0",
        "INVITE\tsip:bob@h SIP/2.0",
        "INVITE sip:bob@h SIP/2.0\n",
        "SIP/2.0 200",
        "SIP/2.0 99 OK",
        "SIP/2.0 700 No",
        "SIP/2.0 2000 OK",
        "SIP/2.0 ٢٠٠ OK",
        "SIP/2.0 -20 OK",
        "",
    ],
)
def test_malformed_start_lines(line: str) -> None:
    data = invite().to_bytes()
    with pytest.raises(PeerError):
        parse_message(line.encode() + data[data.index(b"\r\n") :])


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0"])
def test_keep_alive_datagrams(data: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        parse_message(data)
    assert caught.value.reason == "keep-alive"


def test_line_ends_before_the_start_line_are_ignored() -> None:
    assert parse_message(b"\r\n\r\n" + raw()).call_id == "1@127.0.0.1"


def test_bytes_that_are_not_utf_8() -> None:
    with pytest.raises(PeerError, match="not UTF-8"):
        parse_message(raw("Subject: x").replace(b"Subject: x", b"Subject: \xff"))


def test_no_part_of_a_message_can_break_out() -> None:
    messages: list[Message] = [
        Request("IN VITE", "sip:a@h"),
        Request("INVITE\r\nEvil: x", "sip:a@h"),
        Request("INVITE", "sip:a@h\r\nEvil: x"),
        Request("INVITE", "sip:a b@h"),
        Request("INVITE", ""),
        Request("INVITE", "sip:é@h"),
        Response(200, "OK\r\nEvil: x"),
        Response(99, "Low"),
        Response(1000, "High"),
        invite(body=bytes(MAX_MESSAGE)),
    ]
    for message in messages:
        with pytest.raises(MisuseError):
            message.to_bytes()
    with pytest.raises(MisuseError):
        response_to(invite(), 200, to_tag="a\r\nEvil: x")


HOSTILE = {
    "a header per line": b"a:b\r\n" * 12000,
    "one long header": b"a: " + b"b" * 60000 + b"\r\n",
    "folds": b"a: b\r\n" + b" b\r\n" * 15000,
    "empty folds": b"a: b\r\n" + b" \r\n" * 20000,
    "quotes": b"m: " + b'"' * 8000 + b"\r\n",
    "backslashes": b'm: "' + b"\\" * 8001 + b"\r\n",
    "angles": b"m: " + b"<" * 8000 + b"\r\n",
    "commas": b"v: " + b"," * 8000 + b"\r\n",
    "vias": b"v: " + b"SIP/2.0/UDP h," * 500 + b"\r\n",
    "semicolons": b"m: <sip:a@h>" + b";a" * 4000 + b"\r\n",
    "escapes": b"m: <sip:" + b"%41" * 2600 + b"@h>\r\n",
    "colons": b":" * 60000 + b"\r\n",
    "many lists": (b"m: " + b"<sip:a@h>," * 25 + b"<sip:a@h>\r\n") * 200,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_large_hostile_messages(name: str) -> None:
    data = raw().removesuffix(b"\r\n") + HOSTILE[name] + b"\r\n"
    assert len(data) <= MAX_MESSAGE
    with pytest.raises(PeerError):
        parse_message(data)


def test_a_message_above_the_limit() -> None:
    with pytest.raises(PeerError, match="oversized"):
        parse_message(raw(body=bytes(MAX_MESSAGE)))
    assert len(parse_message(raw(body=bytes(65000))).body) == 65000


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_messages_raise_only_peer_error(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(message)))
        piece = data.draw(
            st.sampled_from([b"", b"\r\n", b"\r\n ", b'"', b"<", b",", b";", b"\0", b"\xff", b":", b"%"])
        )
        message[place : place + data.draw(st.integers(0, 3))] = piece
    del message[data.draw(st.integers(len(message) // 2, len(message))) :]
    try:
        parsed = parse_message(bytes(message))
    except PeerError:
        return
    # Whatever is taken in can be written, and read again as the same.
    assert parse_message(parsed.to_bytes()).to_bytes() == parsed.to_bytes()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_only_peer_error(data: bytes) -> None:
    for message in (data, data + b"\r\n\r\n", raw().removesuffix(b"\r\n") + data + b"\r\n\r\n"):
        try:
            parse_message(message)
        except PeerError:
            continue
