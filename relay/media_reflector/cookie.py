"""The stateless cookie: under load a reflector answers nobody whose address it has not heard back from.

A cookie is a HMAC over ticket number and source address under a secret that changes every two minutes; nothing is kept
for who asked.  It travels in 148 bytes that look like any other message (nonce 12, encrypted cookie and zeros 120, tag
16), no more than were sent, so it serves nobody who wants to have somebody else flooded.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from relay.core import Entropy
from relay.media_reflector.epochs import expand
from relay.media_reflector.first_message import COOKIE_SIZE, MESSAGE_SIZE, cookie_of, ticket_number
from relay.media_reflector.forwarding.face import Address
from relay.media_reflector.tickets import Ticket

ROTATION = 120.0
"""Seconds after which cookies are made under a new secret; the one before still counts for as long."""

_SECRET_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
_CONTENT_SIZE = MESSAGE_SIZE - _NONCE_SIZE - _TAG_SIZE
_LABEL = b"bayonne handshake cookie"


class CookieJar:
    """Makes cookies and knows its own again."""

    __slots__ = ("_current", "_entropy", "_previous", "_since")

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._current = entropy.token(_SECRET_SIZE)
        self._previous = entropy.token(_SECRET_SIZE)
        self._since: float | None = None

    def good(self, message: bytes, source: Address, now: float) -> bool:
        """Whether a first message carries a cookie that was given to `source` for this ticket, at most four minutes
        ago."""
        self._rotate(now)
        number, cookie = ticket_number(message), cookie_of(message)
        current = hmac.compare_digest(_cookie(self._current, number, source), cookie)
        previous = hmac.compare_digest(_cookie(self._previous, number, source), cookie)
        return current or previous

    def answer(self, ticket: Ticket, source: Address, now: float) -> bytes:
        """The 148 bytes that ask `source` to bring a cookie.  Costs no key exchange."""
        self._rotate(now)
        nonce = self._entropy.token(_NONCE_SIZE)
        content = _cookie(self._current, ticket.id, source).ljust(_CONTENT_SIZE, b"\0")
        return nonce + ChaCha20Poly1305(expand(ticket.secret, _LABEL)).encrypt(nonce, content, None)

    def _rotate(self, now: float) -> None:
        if self._since is None:
            self._since = now
        periods = int((now - self._since) // ROTATION)
        for _ in range(min(periods, 2)):
            self._previous, self._current = self._current, self._entropy.token(_SECRET_SIZE)
        self._since += max(0, periods) * ROTATION


def read_cookie(message: bytes, secret: bytes) -> bytes | None:
    """The cookie in an answer that asks to bring one; None when `message` is something else.  `secret` is the
    ticket's."""
    nonce = message[:_NONCE_SIZE]
    try:
        content = ChaCha20Poly1305(expand(secret, _LABEL)).decrypt(nonce, message[_NONCE_SIZE:], None)
    except (InvalidTag, ValueError):
        return None
    return content[:COOKIE_SIZE]


def _cookie(secret: bytes, number: bytes, source: Address) -> bytes:
    return hmac.digest(secret, number + source, "sha256")[:COOKIE_SIZE]
