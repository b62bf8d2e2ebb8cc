"""Tokens: the unguessable user part of a forward-published contact URI, one for each contact.

Whoever holds the key binds the token to a flow by signing a fresh challenge; there are no accounts.  A
token's key is used for nothing else and says nothing about its owner.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.core import Entropy, MisuseError, PeerError

TOKEN_SIZE = 52
"""Characters of a token."""

TOKEN_BYTES = 32
"""The same without its being written in base32."""

NONCE_SIZE = 32
_BINDING_DOMAIN = b"bayonne token binding, version 1\x00"
_TOKEN_DOMAIN = b"bayonne token"
_SEED_SIZE = 32


def token_of(public_key: bytes) -> str:
    """The token of a public key: base32 of its hash, 52 characters."""
    return token_text(hashlib.sha256(_TOKEN_DOMAIN + public_key).digest())


def token_text(raw: bytes) -> str:
    """A token of 32 bytes as it stands in a URI."""
    if len(raw) != TOKEN_BYTES:
        raise MisuseError("a token has 32 bytes")
    return base64.b32encode(raw).decode().rstrip("=").lower()


def token_bytes(token: str) -> bytes:
    """Undo `token_text`.  Raises `PeerError`, also on a second way of writing the same bytes."""
    if not is_token(token):
        raise PeerError("bad token")
    raw = base64.b32decode(token.upper() + "====")
    if token_text(raw) != token:
        raise PeerError("bad token")
    return raw


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token."""
    if len(text) != TOKEN_SIZE or not text.isascii() or text != text.lower():
        return False
    try:
        return len(base64.b32decode(text.upper() + "====")) == 32
    except binascii.Error:
        return False


def _bound(onion: str, token: str, nonce: bytes) -> bytes:
    if len(nonce) != NONCE_SIZE:
        raise PeerError("malformed")
    return _BINDING_DOMAIN + nonce + token.encode() + b"\x00" + onion.encode()


@dataclass(frozen=True, slots=True)
class TokenBinding:
    """A request to bind `token` to the flow that the nonce was given to."""

    token: str = field(repr=False)
    public_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def verify(self, onion: str) -> None:
        """Raises `PeerError` unless the token's key signed this nonce for this contact point."""
        if len(self.public_key) != 32 or not hmac.compare_digest(
            token_of(self.public_key).encode(), self.token.encode()
        ):
            raise PeerError("token of another key")
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(self.signature, _bound(onion, self.token, self.nonce))
        except (InvalidSignature, ValueError):
            raise PeerError("bad signature") from None


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The key pair behind a token; `seed` is all there is to keep."""

    seed: bytes = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def generate(cls, entropy: Entropy) -> "TokenKey":
        return cls.from_seed(entropy.token(_SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> "TokenKey":
        if len(seed) != _SEED_SIZE:
            raise MisuseError("a token seed has 32 bytes")
        return cls(seed, token_of(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()))

    def answer(self, nonce: bytes, onion: str) -> TokenBinding:
        """Answer a contact point's challenge.  Raises `PeerError` on a nonce of the wrong size."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = key.sign(_bound(onion, self.token, nonce))
        return TokenBinding(self.token, key.public_key().public_bytes_raw(), nonce, signature)
