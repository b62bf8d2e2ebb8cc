from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError
from relay.sip import MAX_MESSAGE, Headers, Message, MessageStream, Request

PHONES = Path(__file__).parents[1] / "vectors" / "sip" / "phones"


def message(number: int, body: bytes = b"") -> bytes:
    fields = [
        ("Via", "SIP/2.0/TCP h;branch=z9hG4bK1"),
        ("From", "<sip:a@h>;tag=1"),
        ("To", "<sip:b@h>"),
        ("Call-ID", "x"),
        ("CSeq", f"{number} MESSAGE"),
    ]
    return Request("MESSAGE", "sip:b@h", Headers(fields), body).to_bytes()


def feed(stream: MessageStream, data: bytes, sizes: list[int]) -> list[Message]:
    found: list[Message] = []
    start = 0
    for size in [*sizes, len(data)]:
        found += stream.receive(data[start : start + size])
        start += size
    return found


@settings(max_examples=80, deadline=None)
@given(
    bodies=st.lists(st.binary(max_size=40), max_size=4),
    sizes=st.lists(st.integers(0, 60), max_size=40),
    separator=st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n"]),
)
def test_cutting_does_not_matter(bodies: list[bytes], sizes: list[int], separator: bytes) -> None:
    data = separator + b"".join(message(n, body) + separator for n, body in enumerate(bodies))
    stream = MessageStream()
    found = feed(stream, data, sizes)
    assert [(m.cseq.number, m.body) for m in found] == list(enumerate(bodies))
    assert stream.pings == (len(bodies) + 1 if len(separator) >= 4 else 0)
    assert stream.buffered == len(separator) % 4


def test_byte_by_byte() -> None:
    data = b"".join(path.read_bytes() for path in sorted(PHONES.glob("*.dat")))
    assert len(feed(MessageStream(), data, [1] * len(data))) == 2


def test_pongs_are_told_from_pings() -> None:
    stream = MessageStream(expects_pongs=True)
    assert feed(stream, b"\r\n\r\n" + message(1) + b"\r\n", [1] * 4) != []
    assert (stream.pings, stream.pongs, stream.buffered) == (0, 3, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 2\r\n", b""),
        (b"Content-Length: 2", b"Content-Length: -2"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nl: 3"),
        (b"Content-Length: 2", b"Content-Length: 4294967298"),
        (b"Content-Length: 2", b"Content-Length: 99999999999999999999"),
        (b"Content-Length: 2", b"Content-Length: 65535"),
        (b"Content-Length: 2", b"Content-Length: 2, 2"),
        (b"Content-Length: 2", b"Content-Length:"),
        (b"MESSAGE sip", b"MES SAGE sip"),
        (b"MESSAGE sip", b"\rMESSAGE sip"),
        (b"MESSAGE sip", b"\nMESSAGE sip"),
    ],
)
def test_a_broken_message_ends_the_stream(old: bytes, new: bytes) -> None:
    stream = MessageStream()
    with pytest.raises(PeerError):
        stream.receive(message(1, b"ab").replace(old, new, 1))
    assert stream.buffered == 0
    with pytest.raises(PeerError):
        stream.receive(message(1))


def test_a_blank_before_the_colon_keeps_the_stream_in_step() -> None:
    data = message(1, b"abcde").replace(b"Content-Length: 5", b"Content-Length : 5") + message(2)
    assert [m.body for m in MessageStream().receive(data)] == [b"abcde", b""]


def test_a_head_without_end_is_bounded() -> None:
    stream = MessageStream()
    with pytest.raises(PeerError, match="oversized"):
        feed(stream, b"a: b\r\n" * 20000, [1200] * 100)
    assert stream.buffered == 0


def test_head_and_body_together_are_bounded() -> None:
    stream = MessageStream(limit=500)
    assert len(stream.receive(message(1, bytes(200)))) == 1
    with pytest.raises(PeerError, match="oversized"):
        stream.receive(message(1, bytes(400)))
    with pytest.raises(PeerError, match="oversized"):
        MessageStream(limit=100).receive(message(1))


def test_a_large_message_in_small_pieces() -> None:
    data = message(1, bytes(60000))
    assert len(data) <= MAX_MESSAGE
    (found,) = feed(MessageStream(), data, [7] * 8000)
    assert len(found.body) == 60000


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 50), max_size=10))
def test_garbage_raises_only_peer_error(data: bytes, sizes: list[int]) -> None:
    for garbage in (data, message(1) + data, message(1)[:-30] + data + b"\r\n\r\n"):
        try:
            feed(MessageStream(), garbage, sizes)
        except PeerError:
            continue
