"""One flow as the agent sees it, without sockets: registrations, and messages that come down.

RFC 5626.  Nothing in these messages tells one user from another but the token and what is freshly random
(RFC 3323 section 4.1).
"""

from dataclasses import dataclass, field

from relay.agent.regrouping import refresh_after
from relay.core import Entropy
from relay.forward_publish import SEALED_SIZE, TokenKey
from relay.forward_publish.binding_text import format_credentials, parse_challenge
from relay.sip import Headers, Message, MessageStream, Request, Response, response_to

CONTENT_TYPE = "application/vnd.bayonne.sealed"
STREAM_LIMIT = 16384
"""Bytes of the longest SIP message on a stream to or from a contact point."""

EXPIRES = 3600
"""Seconds that a registration asks for, whatever a contact point grants: its answer must not mark a flow."""


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

    `bound` are the tokens that the contact point has bound to it, `refused` those it would not.  Times are monotonic.
    """

    onion: str
    entropy: Entropy
    bound: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    _wanted: dict[str, TokenKey] = field(default_factory=dict)
    _registrations: dict[str, _Registration] = field(default_factory=dict)
    _refresh_at: dict[str, float] = field(default_factory=dict)
    _stream: MessageStream = field(default_factory=lambda: MessageStream(STREAM_LIMIT, expects_pongs=True))
    _instance: str = ""

    @property
    def pongs(self) -> int:
        return self._stream.pongs

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to send again."""
        return min(self._refresh_at.values(), default=None)

    def register(self, key: TokenKey) -> bytes:
        """What to send to begin binding a token."""
        self._wanted[key.token] = key
        self.refused.discard(key.token)
        return self._begin(key, EXPIRES)

    def remove(self, token: str) -> bytes:
        """What to send to take a token off."""
        self._refresh_at.pop(token, None)
        key = self._wanted.pop(token, None)
        return self._begin(key, 0) if key is not None else b""

    def tick(self, now: float) -> bytes:
        """What to send at `now`: every token is registered again at a moment of its own."""
        due = [token for token, at in self._refresh_at.items() if at <= now]
        for token in due:
            self._refresh_at[token] = now + refresh_after(self.entropy, EXPIRES)
        return b"".join(self._begin(self._wanted[token], EXPIRES) for token in due)

    def receive(self, data: bytes, now: float) -> bytes:
        """Take what arrived; messages are in `messages` then.  Returns what to send.  Raises `PeerError`."""
        return b"".join(self._take(message, now) for message in self._stream.receive(data))

    def _begin(self, key: TokenKey, expires: int) -> bytes:
        if not self._instance:
            self._instance = self.entropy.token(16).hex()
        call_id = self.entropy.token(16).hex()
        registration = _Registration(key, expires)
        self._registrations[call_id] = registration
        return self._register(call_id, registration, nonce=None)

    def _take(self, message: Message, now: float) -> bytes:
        if isinstance(message, Response):
            return self._take_response(message, now)
        if message.method != "MESSAGE":
            return response_to(message, 405, to_tag=self.entropy.token(8).hex()).to_bytes()
        if len(message.body) == SEALED_SIZE:
            self.messages.append((message.to.sip_uri.user or "", message.body))
        return response_to(message, 200, to_tag=self.entropy.token(8).hex()).to_bytes()

    def _take_response(self, response: Response, now: float) -> bytes:
        registration = self._registrations.get(response.call_id)
        if registration is None or response.status < 200:
            return b""
        if response.status == 401 and not registration.proven:
            nonce = parse_challenge(response.headers.get("WWW-Authenticate") or "")
            registration.proven = True
            registration.sequence += 1
            return self._register(response.call_id, registration, nonce)
        del self._registrations[response.call_id]
        return self._settle(registration, response.status, now)

    def _settle(self, registration: _Registration, status: int, now: float) -> bytes:
        """A registration is answered for good; what it asked for may not be wanted any more."""
        key = registration.key
        bound = status == 200 and registration.expires > 0
        if bound:
            self.bound.add(key.token)
        else:
            self.bound.discard(key.token)
        if status != 200:
            self.refused.add(key.token)
            self._refresh_at.pop(key.token, None)
            return b""
        wanted = key.token in self._wanted
        if bound and wanted:
            self._refresh_at.setdefault(key.token, now + refresh_after(self.entropy, EXPIRES))
        if bound == wanted:
            return b""
        return self._begin(key, EXPIRES if wanted else 0)

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
