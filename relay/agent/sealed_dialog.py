"""The real SIP dialog of one call, as it travels inside sealed messages and inside cells (RFC 3261 sections 12, 23.4).

Its SDP carries attributes of ours: the reflectors at which the caller can open a line, the join code that crosses the
two lines, and in the answer where each side opens its own.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from relay.agent.meeting import Meeting
from relay.agent.sealed_voice import SealedVoice
from relay.core import Entropy, PeerError
from relay.sip import CSeq, Headers, NameAddr, Request, Response, parse_message, response_to
from relay.sip.sdp import SessionDescription

JOIN_CODE_SIZE = 16
MAX_REFLECTORS = 3
LARGEST_MESSAGE = 4096

REFLECTOR_ATTRIBUTE = "x-bayonne-reflector"
"""In an offer, a guard of the caller's; in an answer, the one of them at which the caller opens her line."""
TRUNK_ATTRIBUTE = "x-bayonne-trunk"
"""In an answer, the callee's guard, where a trunk leads to it; without one, both lines are at the same reflector."""
JOIN_ATTRIBUTE = "x-bayonne-join"

_VIA_HOST = "sealed.invalid"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a ring asks: how the caller's end talks, where the lines may meet, and under which code."""

    call_id: str
    voice: SealedVoice
    reflectors: tuple[str, ...]
    join_code: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sealed answer says; `voice` and `meeting` only with a 2xx."""

    status: int
    voice: SealedVoice | None
    meeting: Meeting | None


class SealedDialog:
    """One side of the dialog: makes its messages and checks the peer's.

    `our_uri` and `peer_uri` are Bayonne SIP URIs.  Raises `PeerError` for whatever does not belong to the dialog.
    """

    def __init__(self, our_uri: str, peer_uri: str, entropy: Entropy) -> None:
        self._our_uri = our_uri
        self._peer_uri = peer_uri
        self._entropy = entropy
        self._call_id = entropy.token(16).hex()
        self._our_tag = entropy.token(8).hex()
        self._peer_tag = ""
        self._sequence = 1
        self._invite: Request | None = None
        self._bye: Request | None = None

    # -- the caller's side ---------------------------------------------------------------------------------------

    def invite(
        self, voice: SealedVoice, reflectors: Sequence[str], join_code: bytes, expires: float
    ) -> bytes:
        """The INVITE that a ring seals."""
        places = [(REFLECTOR_ATTRIBUTE, reflector) for reflector in reflectors[:MAX_REFLECTORS]]
        offer = voice.session(1).extended([*places, (JOIN_ATTRIBUTE, join_code.hex())])
        request = self._request("INVITE", 1)
        request.headers.add("Contact", f"<{self._our_uri}>")
        request.headers.add("Expires", str(int(expires)))
        request.headers.add("Content-Type", "application/sdp")
        request.body = offer.to_bytes()
        self._invite = request
        return request.to_bytes()

    def read_answer(self, data: bytes) -> Answer:
        """The final response that a sealed answer carries."""
        message = parse_message(data, limit=LARGEST_MESSAGE)
        if not isinstance(message, Response) or message.status < 200:
            raise PeerError("not a final response", "RFC 3261 section 17.1.1")
        self._check(message.headers, "INVITE", ours_in="From")
        self._peer_tag = _tag(message.headers, "To")
        if message.status >= 300:
            return Answer(message.status, None, None)
        session = SessionDescription.parse(message.body)
        if not session.media:
            raise PeerError("no media", "RFC 3264 section 6")
        reflectors = _values(session, REFLECTOR_ATTRIBUTE)
        trunks = _values(session, TRUNK_ATTRIBUTE)
        if len(reflectors) != 1 or len(trunks) > 1:
            raise PeerError("no reflector chosen")
        meeting = Meeting(trunks[0], via=reflectors[0]) if trunks else Meeting(reflectors[0])
        return Answer(message.status, SealedVoice.read(session), meeting)

    # -- the callee's side ---------------------------------------------------------------------------------------

    def read_invite(self, data: bytes) -> Invitation:
        """The INVITE that a ring carried."""
        request = parse_message(data, limit=LARGEST_MESSAGE)
        if not isinstance(request, Request) or request.method != "INVITE":
            raise PeerError("not an INVITE")
        session = SessionDescription.parse(request.body)
        if not session.media:
            raise PeerError("no media", "RFC 3264 section 5")
        reflectors = _values(session, REFLECTOR_ATTRIBUTE)
        codes = _values(session, JOIN_ATTRIBUTE)
        if not 1 <= len(reflectors) <= MAX_REFLECTORS or len(codes) != 1:
            raise PeerError("no place to meet")
        try:
            join_code = bytes.fromhex(codes[0])
        except ValueError:
            join_code = b""
        if len(join_code) != JOIN_CODE_SIZE:
            raise PeerError("no join code")
        self._invite = request
        self._call_id = request.headers.get("Call-ID") or ""
        self._peer_tag = _tag(request.headers, "From")
        self._check(request.headers, "INVITE", ours_in=None)
        expires = request.headers.get("Expires") or ""
        seconds = int(expires) if expires.isascii() and expires.isdigit() and len(expires) < 4 else 30
        return Invitation(self._call_id, SealedVoice.read(session), reflectors, join_code, seconds)

    def answer(self, status: int, voice: SealedVoice | None = None, meeting: Meeting | None = None) -> bytes:
        """The final response that a sealed answer carries."""
        assert self._invite is not None
        response = response_to(self._invite, status, to_tag=self._our_tag)
        if voice is not None and meeting is not None:
            places = [(REFLECTOR_ATTRIBUTE, meeting.callers)]
            if meeting.via:
                places.append((TRUNK_ATTRIBUTE, meeting.own))
            session = voice.session(2).extended(places)
            response.headers.add("Contact", f"<{self._our_uri}>")
            response.headers.add("Content-Type", "application/sdp")
            response.body = session.to_bytes()
        return response.to_bytes()

    # -- both ----------------------------------------------------------------------------------------------------

    def request(self, method: str) -> bytes:
        """A bodiless request inside the dialog: ACK, BYE or CANCEL.  A repeated BYE is the same request again."""
        if method == "BYE":
            if self._bye is None:
                self._sequence += 1
                self._bye = self._request("BYE", self._sequence)
            return self._bye.to_bytes()
        return self._request(method, 1).to_bytes()

    def read_request(self, data: bytes) -> tuple[str, Request | Response]:
        """What a message inside the dialog is: its method, or "200" for the answer to our BYE."""
        message = parse_message(data, limit=LARGEST_MESSAGE)
        if isinstance(message, Response):
            self._check(message.headers, "BYE", ours_in="From")
            if message.status != 200:
                raise PeerError("unexpected response")
            return "200", message
        if message.method not in ("ACK", "BYE", "CANCEL"):
            raise PeerError("unexpected method")
        self._check(message.headers, message.method, ours_in="To" if message.method != "CANCEL" else None)
        return message.method, message

    def confirm(self, bye: Request) -> bytes:
        """The 200 to the peer's BYE."""
        return response_to(bye, 200).to_bytes()

    def _request(self, method: str, sequence: int) -> Request:
        headers = Headers()
        headers.add("Via", f"SIP/2.0/UDP {_VIA_HOST};branch=z9hG4bK{self._entropy.token(8).hex()}")
        headers.add("Max-Forwards", "70")
        headers.add("From", f"<{self._our_uri}>;tag={self._our_tag}")
        headers.add("To", f"<{self._peer_uri}>" + (f";tag={self._peer_tag}" if self._peer_tag else ""))
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", f"{sequence} {method}")
        return Request(method, self._peer_uri, headers)

    def _check(self, headers: Headers, method: str, *, ours_in: str | None) -> None:
        call_id = headers.get("Call-ID") or ""
        if not call_id or not hmac.compare_digest(call_id.encode(), self._call_id.encode()):
            raise PeerError("another call", "RFC 3261 section 12")
        if CSeq.parse(headers.get("CSeq") or "").method != method:
            raise PeerError("wrong method", "RFC 3261 section 8.1.1.5")
        if ours_in is not None and self._our_tag != _tag(headers, ours_in):
            raise PeerError("another dialog", "RFC 3261 section 12")


def _tag(headers: Headers, name: str) -> str:
    """The tag of From or To; empty where there is none."""
    return NameAddr.parse(headers.get(name) or "").tag or ""


def _values(session: SessionDescription, name: str) -> tuple[str, ...]:
    """Every value of an attribute in the first media section."""
    return tuple(value for found, value in session.media[0].attributes if found == name and value is not None)
