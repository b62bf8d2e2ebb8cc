"""One flow as the agent sees it, without sockets: registrations, and messages that come down.

RFC 5626.  Nothing in these messages tells one user from another but the token and what is freshly random
(RFC 3323 section 4.1).
"""

from dataclasses import dataclass, field

from relay.core import Entropy
from relay.forward_publish import SEALED_SIZE, TokenKey
from relay.forward_publish.binding_text import format_credentials, parse_challenge
from relay.sip import Headers, Message, MessageStream, Request, Response, response_to

CONTENT_TYPE = "application/vnd.bayonne.sealed"
STREAM_LIMIT = 16384
"""Bytes of the longest SIP message on a stream to or from a contact point."""


def anonymous_request(
    method: str, token: str, onion: str, entropy: Entropy, call_id: str, sequence: int
) -> Request:
    """A request that tells one user from another by nothing but `token` (RFC 3323 section 4.1)."""
    uri = f"sip:{token}@{onion}.onion;transport=tcp"
    headers = Headers()
    headers.add("Via", f"SIP/2.0/TCP anonymous.invalid;branch=z9hG4bK{entropy.token(12).hex()}")
    headers.add("Max-Forwards", "70")
    headers.add("From", f'"Anonymous" <sip:anonymous@anonymous.invalid>;tag={entropy.token(8).hex()}')
    headers.add("To", f"<{uri}>")
    headers.add("Call-ID", call_id)
    headers.add("CSeq", f"{sequence} {method}")
    return Request(method, uri if method == "MESSAGE" else f"sip:{onion}.onion;transport=tcp", headers)


@dataclass(slots=True)
class _Registration:
    key: TokenKey
    expires: int
    sequence: int = 1
    proven: bool = False


@dataclass(slots=True)
class FlowSession:
    """One connection's registrations and messages, without input or output of its own.

    `bound` are the tokens that the contact point has bound to it, `refused` those it would not.
    """

    onion: str
    entropy: Entropy
    bound: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    _registrations: dict[str, _Registration] = field(default_factory=dict)
    _stream: MessageStream = field(default_factory=lambda: MessageStream(STREAM_LIMIT, expects_pongs=True))
    _instance: str = ""

    @property
    def pongs(self) -> int:
        return self._stream.pongs

    def register(self, key: TokenKey, *, expires: int = 3600) -> bytes:
        """What to send to begin binding a token; `expires=0` begins to take it off."""
        if not self._instance:
            self._instance = self.entropy.token(16).hex()
        call_id = self.entropy.token(16).hex()
        registration = _Registration(key, expires)
        self._registrations[call_id] = registration
        return self._register(call_id, registration, nonce=None)

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; messages are in `messages` then.  Returns what to send.  Raises `PeerError`."""
        return b"".join(self._take(message) for message in self._stream.receive(data))

    def _take(self, message: Message) -> bytes:
        if isinstance(message, Response):
            return self._take_response(message)
        if message.method != "MESSAGE":
            return response_to(message, 405, to_tag=self.entropy.token(8).hex()).to_bytes()
        if len(message.body) == SEALED_SIZE:
            self.messages.append((message.to.sip_uri.user or "", message.body))
        return response_to(message, 200, to_tag=self.entropy.token(8).hex()).to_bytes()

    def _take_response(self, response: Response) -> bytes:
        registration = self._registrations.get(response.call_id)
        if registration is None or response.status < 200:
            return b""
        token = registration.key.token
        if response.status == 401 and not registration.proven:
            nonce = parse_challenge(response.headers.get("WWW-Authenticate") or "")
            registration.proven = True
            registration.sequence += 1
            return self._register(response.call_id, registration, nonce)
        del self._registrations[response.call_id]
        if response.status == 200 and registration.expires:
            self.bound.add(token)
        else:
            self.bound.discard(token)
            if response.status != 200:
                self.refused.add(token)
        return b""

    def _register(self, call_id: str, registration: _Registration, nonce: bytes | None) -> bytes:
        key = registration.key
        request = anonymous_request(
            "REGISTER", key.token, self.onion, self.entropy, call_id, registration.sequence
        )
        uuid = "-".join(self._instance[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        contact = f"<sip:{key.token}@{self.onion}.onion;transport=tcp>"
        request.headers.add("Contact", f'{contact};+sip.instance="<urn:uuid:{uuid}>";reg-id=1')
        request.headers.add("Supported", "outbound")
        request.headers.add("Expires", str(registration.expires))
        if nonce is not None:
            request.headers.add("Authorization", format_credentials(key.answer(nonce, self.onion)))
        return request.to_bytes()
