"""One SIP connection of a contact point, without sockets: REGISTER binds tokens, MESSAGE brings bodies.

RFC 3261, 3428 (MESSAGE), 5626 (flows and keep-alive).  Whatever a MESSAGE is for, the answer is 202 after
the same work.
"""

from relay.core import Entropy, PeerError
from relay.forward_publish import SEALED_SIZE, ContactPoint, is_token
from relay.forward_publish.binding_text import format_challenge, parse_credentials
from relay.sip import Headers, Message, MessageStream, Request, Response, SipUri, response_to

CONTENT_TYPE = "application/vnd.bayonne.sealed"
STREAM_LIMIT = 16384
"""Bytes of the longest message; a sealed one has less than 6000."""

_PONG = b"\r\n"
_ALLOW = "REGISTER, MESSAGE, OPTIONS"
_FLOW_TIMER = 120


class SipEdge:
    """Reads one connection's requests and acts on them at the contact point."""

    def __init__(self, point: ContactPoint, flow: int, onion: str, entropy: Entropy) -> None:
        self._point = point
        self._flow = flow
        self._host = f"{onion}.onion"
        self._entropy = entropy
        self._stream = MessageStream(STREAM_LIMIT)

    def receive(self, data: bytes, now: float) -> bytes:
        """Take what arrived; returns the answers.  Raises `PeerError`: close the connection."""
        pings = self._stream.pings
        answers = [self._take(message, now) for message in self._stream.receive(data)]
        return _PONG * (self._stream.pings - pings) + b"".join(answers)

    def next_delivery(self) -> bytes | None:
        """The next MESSAGE to send down this flow; it names nobody but the token."""
        message = self._point.take_message(self._flow)
        if message is None:
            return None
        token, body = message
        uri = f"sip:{token}@{self._host};transport=tcp"
        headers = Headers()
        headers.add("Via", f"SIP/2.0/TCP anonymous.invalid;branch=z9hG4bK{self._entropy.token(12).hex()}")
        headers.add("Max-Forwards", "69")
        headers.add(
            "From", f'"Anonymous" <sip:anonymous@anonymous.invalid>;tag={self._entropy.token(8).hex()}'
        )
        headers.add("To", f"<{uri}>")
        headers.add("Call-ID", self._entropy.token(16).hex())
        headers.add("CSeq", "1 MESSAGE")
        headers.add("Content-Type", CONTENT_TYPE)
        return Request("MESSAGE", uri, headers, body).to_bytes()

    def _take(self, message: Message, now: float) -> bytes:
        if isinstance(message, Response):
            return b""  # the flow's owner acknowledges what came down
        if not self._point.allow(self._flow, now):
            raise PeerError("over the rate")
        match message.method:
            case "MESSAGE":
                response = self._message(message)
            case "REGISTER":
                response = self._register(message)
            case "OPTIONS":
                response = self._answer(message, 200)
            case "ACK":
                return b""  # RFC 3261 section 17: an ACK is never answered
            case _:
                response = self._answer(message, 405)
        return response.to_bytes()

    def _answer(self, request: Request, status: int) -> Response:
        response = response_to(request, status, to_tag=self._entropy.token(8).hex())
        if status == 405 or request.method == "OPTIONS":
            response.headers.add("Allow", _ALLOW)
        return response

    def _message(self, request: Request) -> Response:
        if request.content_type != CONTENT_TYPE:
            return self._answer(request, 415)
        if len(request.body) != SEALED_SIZE:
            return self._answer(request, 413 if len(request.body) > SEALED_SIZE else 400)
        self._point.route(SipUri.parse(request.uri).user or "", request.body)
        return self._answer(request, 202)

    def _register(self, request: Request) -> Response:
        """RFC 3261 section 10.3, with a proof that the token is the caller's in place of a password."""
        address = request.to.sip_uri
        token = address.user or ""
        if address.host.lower() != self._host or not is_token(token):
            return self._answer(request, 404)
        credentials = request.headers.get("Authorization")
        if credentials is None:
            return self._challenge(request)
        expires = request.headers.get("Expires") or "3600"
        try:
            binding = parse_credentials(credentials, token)
            if expires == "0":
                self._point.unbind(self._flow, binding)
            else:
                self._point.bind(self._flow, binding)
        except PeerError as error:
            return self._challenge(request) if error.reason == "stale nonce" else self._answer(request, 403)
        response = self._answer(request, 200)
        if expires != "0":
            response.headers.add("Contact", f"<sip:{token}@{self._host};transport=tcp>;expires=3600")
            response.headers.add("Require", "outbound")
            response.headers.add("Flow-Timer", str(_FLOW_TIMER))
        return response

    def _challenge(self, request: Request) -> Response:
        response = self._answer(request, 401)
        response.headers.add("WWW-Authenticate", format_challenge(self._point.challenge(self._flow)))
        return response
