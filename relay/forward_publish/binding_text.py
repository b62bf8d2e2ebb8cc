"""Challenge and credentials of a token binding, in the auth-param syntax of RFC 9110 section 11.

Scheme `Bayonne-Token`.  Strict: the parameters in this order, base64url without padding, nothing else.
"""

import base64
import re

from relay.core import PeerError
from relay.forward_publish.tokens import NONCE_SIZE, TokenBinding

_TEXT = "([A-Za-z0-9_-]{0,128})"
_CHALLENGE = re.compile(f'Bayonne-Token nonce="{_TEXT}"', re.ASCII)
_CREDENTIALS = re.compile(f'Bayonne-Token key="{_TEXT}", nonce="{_TEXT}", signature="{_TEXT}"', re.ASCII)


def format_challenge(nonce: bytes) -> str:
    """The value of WWW-Authenticate."""
    return f'Bayonne-Token nonce="{_text(nonce)}"'


def parse_challenge(value: str) -> bytes:
    """The nonce of a WWW-Authenticate.  Raises `PeerError`."""
    found = _CHALLENGE.fullmatch(value)
    if found is None:
        raise PeerError("bad challenge")
    return _raw(found[1], NONCE_SIZE)


def format_credentials(binding: TokenBinding) -> str:
    """The value of Authorization."""
    key, nonce, signature = _text(binding.public_key), _text(binding.nonce), _text(binding.signature)
    return f'Bayonne-Token key="{key}", nonce="{nonce}", signature="{signature}"'


def parse_credentials(value: str, token: str) -> TokenBinding:
    """What an Authorization claims for `token`, unverified.  Raises `PeerError`."""
    found = _CREDENTIALS.fullmatch(value)
    if found is None:
        raise PeerError("bad credentials")
    return TokenBinding(token, _raw(found[1], 32), _raw(found[2], NONCE_SIZE), _raw(found[3], 64))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _raw(text: str, size: int) -> bytes:
    # Decoding is lenient about the spare bits of the last character; writing it again is not.
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
    if len(data) != size or _text(data) != text:
        raise PeerError("bad credentials")
    return data
