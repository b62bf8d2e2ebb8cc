"""SIP and SDP in all their parts, and whoever speaks SIP: contact point, flow, phone side, sealed dialog."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from relay.agent.flow_session import FlowSession
from relay.agent.phone.settings import PhoneSettings
from relay.agent.phone.user_agent import PhoneUserAgent
from relay.agent.sealed_dialog import SealedDialog
from relay.agent.sealed_voice import SealedVoice
from relay.agent.voice_security import End
from relay.core import Counters, PeerError, RefusedByPolicy, SeededEntropy
from relay.forward_publish import SEALED_SIZE, ContactPoint, ContactPointLimits, TokenKey
from relay.forward_publish.contact_point import COUNTS
from relay.node.sip_edge import SipEdge
from relay.sip import CSeq, MessageStream, NameAddr, Response, SipUri, Via, parse_message
from relay.sip.dialog import Dialog
from relay.sip.digest import Authenticator, Challenge, Credentials
from relay.sip.grammar import has_forbidden_control
from relay.sip.line_voice import LineVoice
from relay.sip.message import Message
from relay.sip.opus_offer import answer_phone, find_voice, line_offer, neutral_offer
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow
from tests.fuzz.codec import Codec, same, settled, steady

T = TypeVar("T")

_TORTURE = Path(__file__).parents[2] / "vectors" / "sip" / "rfc4475"
_ONION = "b" * 56
_TOKEN = TokenKey.generate(SeededEntropy("token"))
_PHONE = Flow("UDP", "127.0.0.1", 5070)
_VOICE = SealedVoice(End.PHONE, LineVoice(111, ((112, 48_000),)), (f"1.10 {1:064x}",))
_OFFER = neutral_offer(address="127.0.0.1", port=4000, session_id=1)

WORDS = tuple(
    word.encode()
    for word in (
        "INVITE ", "REGISTER ", "MESSAGE ", "ACK ", "BYE ", "CANCEL ", "OPTIONS ", "SIP/2.0 ", " SIP/2.0\r\n",
        "\r\n\r\n", "\r\n ", "Via: SIP/2.0/UDP a;branch=z9hG4bK", "\r\nFrom: <sip:a@b>;tag=", "\r\nTo: <sip:a@b>;tag=",
        "\r\nCall-ID: ", "\r\nCSeq: 1 ", "\r\nContact: <sip:a@127.0.0.1>;expires=", "\r\nContent-Length: ",
        "\r\nContent-Type: application/sdp", "\r\nRecord-Route: <sip:a;lr>", "\r\nRequire: ", "\r\nExpires: ",
        "\r\nAuthorization: Digest ", "\r\nMax-Forwards: ", "sips:", "tel:", ";rport", ";lr", "%41",
        "\\\"", "[::1]", "*",
    )
)  # fmt: skip
SDP_WORDS = tuple(
    word.encode()
    for word in (
        "v=0\r\n", "o=- 1 1 IN IP4 127.0.0.1\r\n", "s=-\r\n", "t=0 0\r\n", "c=IN IP6 ::1\r\n",
        "m=audio 9 RTP/AVP 96\r\n",
        "a=rtpmap:96 opus/48000/2\r\n", "a=fmtp:96 ", "a=ptime:", "a=sendonly\r\n", "a=inactive\r\n", "RTP/SAVP",
        "a=x-bayonne-reflector:", "a=x-bayonne-join:", "a=x-bayonne-trunk:", "a=zrtp-hash:1.10 ",
        "a=x-bayonne-zrtp-end:agent\r\n", "b=AS:1\r\n", "r=1 1 1\r\n",
    )
)  # fmt: skip


def of_header(parse: Callable[[str], T]) -> Callable[[bytes], T]:
    """`parse` fed with what can be a header's value: no other text ever reaches it."""

    def read(data: bytes) -> T:
        try:
            text = data.decode().strip(" \t")
        except UnicodeDecodeError:
            raise PeerError("not UTF-8") from None
        if has_forbidden_control(text):
            raise PeerError("malformed header")
        return parse(text)

    return read


def _message(data: bytes) -> None:
    message = parse_message(data)
    again = parse_message(message.to_bytes())
    same(again.to_bytes(), message.to_bytes())
    same(again.body, message.body)
    _look(message)


def _look(message: Message) -> None:
    _ = message.via.rport, message.contacts, message.content_type, message.cseq, message.to.tag
    for name in ("Route", "Record-Route", "Require", "Supported", "Contact"):
        message.headers.all(name)


def _stream(data: bytes) -> None:
    """A connection, cut in two ways; after a fault it says the same fault for ever."""
    whole, failed = _received([data])
    cut, failed_too = _received([data[start : start + 97] for start in range(0, len(data), 97)])
    same(failed_too, failed)
    if failed:
        raise PeerError("malformed")
    same([message.to_bytes() for message in cut], [message.to_bytes() for message in whole])


def _received(pieces: Iterable[bytes]) -> tuple[list[Message], bool]:
    stream, messages = MessageStream(8192), list[Message]()
    try:
        for piece in pieces:
            messages += stream.receive(piece)
    except PeerError:
        try:
            stream.receive(b"OPTIONS")
        except PeerError:
            return messages, True
        raise AssertionError("the place of the next message is unknown") from None
    return messages, False


def _digest(text: str) -> None:
    """Credentials of a phone at the registrar."""
    office = Authenticator("bayonne", {"alice": "secret"}, SeededEntropy("fuzz"))
    office.verify([text, text], "REGISTER", 0.0)
    credentials = Credentials.parse(text)
    written = str(credentials)
    same(str(Credentials.parse(written)), written)


def _challenge(text: str) -> None:
    challenge = Challenge.parse(text)
    same(Challenge.parse(str(challenge)), challenge)
    asked = {"method": "REGISTER", "uri": "sip:b"}
    answer = challenge.answer(username="a", password="p", count=1, cnonce="c", **asked)
    same(Credentials.parse(str(answer)), answer)


def _digests() -> tuple[list[bytes], list[bytes]]:
    challenge = Authenticator("bayonne", {}, SeededEntropy("fuzz")).challenges(0.0)[0]
    answer = challenge.answer(
        username="alice", password="secret", method="REGISTER", uri="sip:b", count=1, cnonce="c"
    )
    return [str(challenge).encode()], [str(answer).encode()]


def _opus(data: bytes) -> None:
    """A phone's description: what is answered has as many sections, and says nothing of the phone."""
    offer = SessionDescription.parse(data)
    voice = find_voice(offer)
    if voice.line is not None:
        passed = line_offer(voice.line, voice.zrtp_hashes, address="127.0.0.1", port=4002, session_id=1)
        read = find_voice(SessionDescription.parse(passed.to_bytes()))
        same((read.line, read.zrtp_hashes), (voice.line, voice.zrtp_hashes))
    answer = answer_phone(offer, address="127.0.0.1", port=4002, session_id=1)
    same(SessionDescription.parse(answer.to_bytes()), answer)
    same(len(answer.media), len(offer.media))


def _dialog(data: bytes) -> None:
    """An INVITE of a phone's: what is sent within its dialog is well formed."""
    message = parse_message(data)
    if isinstance(message, Response):
        raise PeerError("not a request")
    dialog = Dialog.as_uas(message, "tag")
    for method in ("BYE", "INVITE"):
        parse_message(
            dialog.request(method, Via("UDP", "127.0.0.1", 5060, (("branch", "z9hG4bKx"),))).to_bytes()
        )
    dialog.refresh_target(message)
    dialog.take(message)


def _edge(data: bytes) -> None:
    """A connection to a contact point."""
    entropy = SeededEntropy("edge")
    point = ContactPoint(_ONION, ContactPointLimits(burst=1000), entropy, Counters(COUNTS))
    flow = point.open_flow(0.0)
    assert flow is not None
    edge = SipEdge(point, flow, _ONION, entropy)
    answers = edge.receive(data, 0.0)
    _received([answers])
    edge.next_delivery()


def _flow(data: bytes) -> None:
    """A dishonest contact point, on a flow that registers a token; its answers find the Call-ID that was sent."""
    session = FlowSession(_ONION, SeededEntropy("flow"))
    sent = parse_message(session.register(_TOKEN))
    answers = data.replace(b"CALL-ID", sent.call_id.encode())
    _received([session.receive(answers, 0.0)])
    session.tick(4000.0)
    session.remove(_TOKEN.token)
    for token, body in session.messages:
        same((len(body), isinstance(token, str)), (SEALED_SIZE, True))


def _phone_side(data: bytes) -> None:
    """Datagrams of a phone, parted by a line; `RESPONSE` in them becomes what answers the challenge of the first."""
    core = PhoneUserAgent(PhoneSettings("alice", "secret"), SeededEntropy("phone"))
    now = 0.0
    for part in data.split(b"\n----\n"):
        core.receive(_with_credentials(part, core), _PHONE, now)
        for _, sent in core.outputs():
            parse_message(sent)
        now += 0.3
        core.tick(now)
        core.events()
    core.place("bob", "Bob", _OFFER, now)
    for _, sent in core.outputs():
        parse_message(sent)
    core.tick(now + 40.0)
    core.shut_down(now + 41.0)
    core.tick(now + 120.0)


def _with_credentials(part: bytes, core: PhoneUserAgent) -> bytes:
    if b"RESPONSE" not in part:
        return part
    core.receive(_request("REGISTER", "Contact: <sip:a@127.0.0.1:5070>\r\n"), _PHONE, 0.0)
    refusal = parse_message(core.outputs()[-1][1])
    challenge = Challenge.parse(refusal.headers.all("WWW-Authenticate")[0])
    method = part.split(b" ", 1)[0].decode("latin-1")
    answer = challenge.answer(
        username="alice", password="secret", method=method, uri="sip:b", count=1, cnonce="c"
    )
    return part.replace(b"RESPONSE", str(answer).encode())


def _of_dialog(read: Callable[[SealedDialog, bytes], T]) -> Callable[[bytes], T]:
    """`read` in a dialog whose ring is out, so that `CALL-ID` and `OURTAG` in the input mean it."""

    def whole(data: bytes) -> T:
        dialog = SealedDialog("sip:alice@a.invalid", "sip:bob@b.invalid", SeededEntropy("dialog"))
        ring = parse_message(dialog.invite(_VOICE, ["00" * 16], bytes(16), 28.0))
        data = data.replace(b"CALL-ID", ring.call_id.encode())
        return read(dialog, data.replace(b"OURTAG", (ring.from_.tag or "").encode()))

    return whole


def _read_invite(dialog: SealedDialog, data: bytes) -> None:
    invitation = dialog.read_invite(data)
    same(SealedVoice.read(invitation.voice.session(1)), invitation.voice)
    if len(invitation.join_code) != 16:
        raise AssertionError("a join code of another size")
    parse_message(dialog.answer(486))


def _request(method: str, extra: str = "", body: bytes = b"", uri: str = "sip:b") -> bytes:
    head = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n"
        f'From: "A" <sip:a@b>;tag=OURTAG\r\nTo: <sip:{_TOKEN.token}@{_ONION}.onion>\r\nCall-ID: CALL-ID\r\n'
        f"CSeq: 1 {method}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _response(status: int, method: str, extra: str = "", body: bytes = b"") -> bytes:
    head = (
        f"SIP/2.0 {status} So\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=OURTAG\r\n"
        f"To: <sip:c@d>;tag=2\r\nCall-ID: CALL-ID\r\nCSeq: 1 {method}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _torture() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_TORTURE.glob("*.dat"))]


_SDP = _OFFER.to_bytes()
_RING = (
    _VOICE.session(1).to_bytes()
    + b"a=x-bayonne-reflector:"
    + b"00" * 16
    + b"\r\na=x-bayonne-join:"
    + b"00" * 16
    + b"\r\n"
)
_CONTACT = "Contact: <sip:a@127.0.0.1:5070>\r\n"
_SDP_TYPE = "Content-Type: application/sdp\r\n"
_SEALED_TYPE = "Content-Type: application/vnd.bayonne.sealed\r\n"
_CHALLENGED = f'WWW-Authenticate: Bayonne-Token nonce="{"A" * 43}"\r\n'


def _at_the_edge() -> Iterable[bytes]:
    yield _request("MESSAGE", _SEALED_TYPE, bytes(SEALED_SIZE), f"sip:{_TOKEN.token}@{_ONION}.onion")
    yield _request("REGISTER") + _request("OPTIONS") + b"\r\n\r\n" + _request("INVITE")
    yield _request("REGISTER", 'Authorization: Bayonne-Token key="AA", nonce="AA", signature="AA"\r\n')


def _down_the_flow() -> Iterable[bytes]:
    yield _response(401, "REGISTER", _CHALLENGED) + _response(200, "REGISTER")
    yield _request("MESSAGE", _SEALED_TYPE, bytes(SEALED_SIZE)) + b"\r\n" + _request("OPTIONS")


def _from_the_phone() -> Iterable[bytes]:
    proven = "Authorization: RESPONSE\r\n"
    register = _request("REGISTER", _CONTACT + proven + "Expires: 300\r\n")
    invite = _request("INVITE", _CONTACT + proven + _SDP_TYPE, _SDP)
    yield b"\n----\n".join((_request("REGISTER", _CONTACT), register, _request("OPTIONS")))
    yield b"\n----\n".join((register, invite, _request("CANCEL"), _request("ACK")))
    yield b"\n----\n".join((invite, _request("BYE"), _response(200, "INVITE", _CONTACT + _SDP_TYPE, _SDP)))


_CHALLENGES, _CREDENTIALS = _digests()

CODECS = (
    Codec("sip-message", _message, lambda: [*_torture(), _request("INVITE", _CONTACT)], words=WORDS),
    Codec("sip-stream", _stream, lambda: [_request("OPTIONS") + b"\r\n\r\n" + _request("BYE")], words=WORDS),
    Codec(
        "sip-uri",
        steady(of_header(SipUri.parse), lambda uri: str(uri).encode()),
        lambda: [
            b"sip:alice:secret@example.org:5060;transport=tcp;lr?subject=x&to=%41",
            b"sips:[2001:db8::1]",
        ],
        words=WORDS,
        longest=500,
    ),
    Codec(
        "sip-name-addr",
        steady(of_header(NameAddr.parse), lambda name: str(name).encode()),
        lambda: [b'"A \\"B\\" C" <sip:a@b;lr>;tag=1;x="y z"', b"Bob <tel:+1>", b"sip:a@b;tag=1"],
        words=WORDS,
        longest=500,
    ),
    Codec(
        "sip-via",
        steady(of_header(Via.parse), lambda via: str(via).encode()),
        lambda: [b'SIP / 2.0 / udp [::1] : 5060 ;branch=z9hG4bKx;rport;received=127.0.0.1;x="a b"'],
        words=WORDS,
        longest=500,
    ),
    Codec(
        "sip-cseq",
        steady(of_header(CSeq.parse), lambda cseq: str(cseq).encode()),
        lambda: [b"4711 INVITE"],
        longest=100,
    ),
    Codec(
        "sip-credentials",
        of_header(_digest),
        lambda: _CREDENTIALS,
        words=(b"qop=auth", b"nc=00000001", b"MD5"),
    ),
    Codec(
        "sip-challenge",
        of_header(_challenge),
        lambda: _CHALLENGES,
        words=(b"qop=", b"stale=true", b"SHA-256"),
    ),
    Codec(
        "sdp",
        settled(SessionDescription.parse, lambda session: session.to_bytes()),
        lambda: [_SDP, _RING],
        words=SDP_WORDS,
    ),
    Codec("opus-offer", _opus, lambda: [_SDP], (PeerError, RefusedByPolicy), words=SDP_WORDS),
    Codec(
        "sip-dialog",
        _dialog,
        lambda: [_request("INVITE", _CONTACT + "Record-Route: <sip:r;lr>\r\n")],
        words=WORDS,
    ),
    Codec("contact-point-sip", _edge, _at_the_edge, words=WORDS, longest=9000),
    Codec("flow-sip", _flow, _down_the_flow, words=(*WORDS, b"CALL-ID", _CHALLENGED.encode()), longest=9000),
    Codec("phone-sip", _phone_side, _from_the_phone, words=(*WORDS, b"\n----\n", b"RESPONSE"), longest=8000),
    Codec(
        "sealed-invite",
        _of_dialog(_read_invite),
        lambda: [_request("INVITE", _CONTACT + "Expires: 28\r\n" + _SDP_TYPE, _RING)],
        words=(*WORDS, *SDP_WORDS),
    ),
    Codec(
        "sealed-response",
        _of_dialog(SealedDialog.read_answer),
        lambda: [
            _response(
                200, "INVITE", _SDP_TYPE, _SDP + b"a=x-bayonne-reflector:00\r\na=x-bayonne-trunk:01\r\n"
            ),
            _response(486, "INVITE"),
        ],
        words=(*WORDS, *SDP_WORDS),
    ),
    Codec(
        "sealed-request",
        _of_dialog(SealedDialog.read_request),
        lambda: [_request("BYE"), _request("CANCEL"), _response(200, "BYE")],
        words=WORDS,
    ),
)
