"""The SIP edge without sockets: whatever arrives, in whatever pieces, only `PeerError` leaves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import Counters, PeerError, SeededEntropy
from relay.forward_publish import SEALED_SIZE, ContactPoint, ContactPointLimits, TokenKey
from relay.forward_publish.contact_point import COUNTS
from relay.node.sip_edge import SipEdge
from relay.sip import MessageStream, Response

ONION = "b" * 56
TOKEN = TokenKey.generate(SeededEntropy("token")).token


def text(method: str, body: bytes = b"", extra: str = "") -> bytes:
    head = (
        f"{method} sip:{TOKEN}@{ONION}.onion;transport=tcp SIP/2.0\r\n"
        "Via: SIP/2.0/TCP anonymous.invalid;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
        'From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=1\r\n'
        f"To: <sip:{TOKEN}@{ONION}.onion>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{extra}"
        f"Content-Type: application/vnd.bayonne.sealed\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


SAMPLES = [
    text("MESSAGE", bytes(SEALED_SIZE)),
    text("REGISTER"),
    text("REGISTER", extra='Authorization: Bayonne-Token key="AA", nonce="AA", signature="AA"\r\n'),
    text("OPTIONS"),
    b"\r\n\r\n",
    text("INVITE"),
]


def edge_of(limits: ContactPointLimits = ContactPointLimits(burst=1000)) -> tuple[SipEdge, ContactPoint, int]:  # noqa: B008
    entropy = SeededEntropy("edge")
    point = ContactPoint(ONION, limits, entropy, Counters(COUNTS))
    flow = point.open_flow(0.0)
    assert flow is not None
    return SipEdge(point, flow, ONION, entropy), point, flow


def feed(edge: SipEdge, pieces: list[bytes]) -> bytes:
    """All answers, up to where the connection would be closed."""
    answers = b""
    try:
        for piece in pieces:
            answers += edge.receive(piece, 0.0)
    except PeerError:
        pass
    return answers


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_requests_raise_only_peer_error(data: st.DataObject) -> None:
    stream = bytearray(b"".join(data.draw(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=3))))
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, min(len(stream), 900)))
        stream[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    cut = data.draw(st.integers(0, len(stream)))
    edge, _, _ = edge_of()
    feed(edge, [bytes(stream[:cut]), bytes(stream[cut:])])


@given(st.binary(max_size=300))
def test_garbage_raises_only_peer_error(garbage: bytes) -> None:
    edge, _, _ = edge_of()
    feed(edge, [garbage])


def test_the_same_answers_however_the_stream_is_cut() -> None:
    stream = b"".join(SAMPLES[:2] + SAMPLES[3:])
    for pieces in ([stream], [bytes([byte]) for byte in stream]):
        answers = MessageStream(expects_pongs=True)
        statuses = [
            message.status
            for message in answers.receive(feed(edge_of()[0], pieces))
            if isinstance(message, Response)
        ]
        assert (statuses, answers.pongs) == ([202, 401, 200, 405], 1)


def test_a_delivery_has_one_size_for_all_tokens() -> None:
    edge, point, flow = edge_of()
    entropy = SeededEntropy("keys")
    for _ in range(3):
        key = TokenKey.generate(entropy)
        point.bind(flow, key.answer(point.challenge(flow), ONION))
        point.route(key.token, entropy.token(SEALED_SIZE))
    deliveries = [edge.next_delivery() for _ in range(3)]
    assert len({len(each) for each in deliveries if each is not None}) == 1
    assert edge.next_delivery() is None
