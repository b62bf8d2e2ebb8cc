"""An invitation: what one person hands another, out of band, so that each finds and recognises the other.

Text: `bayonne:` and base32 (any case, no padding) of the canonical content and a checksum.  Whoever holds
it can become the contact, so it goes by a trusted way.  One-time use and expiry are not built yet.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec

from relay.core import Entropy, MisuseError, PeerError
from relay.wire import decode, encode

SECRET_SIZE = 32
MOST_CONTACT_POINTS = 8

_SCHEME = "bayonne:"
_CHECKSUM_DOMAIN = b"bayonne invitation checksum"
_CHECKSUM_SIZE = 4
_ONION_SIZE = 35
_TEXT_LIMIT = 1024


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    inviter_public_key: bytes
    secret: bytes
    contact_points: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Invitation:
    """The inviter's identity key, the secret of the two, and where their records lie (onion names)."""

    inviter_public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    contact_points: tuple[str, ...] = field(repr=False)

    @classmethod
    def generate(
        cls, inviter_public_key: bytes, contact_points: tuple[str, ...], entropy: Entropy
    ) -> "Invitation":
        """A new invitation with a secret of its own."""
        return cls(inviter_public_key, entropy.token(SECRET_SIZE), contact_points)

    def format(self) -> str:
        """The URI to hand over."""
        if not 0 < len(self.contact_points) <= MOST_CONTACT_POINTS:
            raise MisuseError("an invitation names 1 to 8 contact points")
        try:
            points = tuple(_onion_bytes(onion) for onion in self.contact_points)
        except PeerError:
            raise MisuseError("a contact point is named by its 56 characters") from None
        content = encode(_Content(1, self.inviter_public_key, self.secret, points))
        text = base64.b32encode(content + _checksum(content)).decode()
        return _SCHEME + text.rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> "Invitation":
        """Read a URI made by `format`.  Raises `PeerError`."""
        text = text.strip()
        if len(text) > _TEXT_LIMIT:
            raise PeerError("oversized")
        if not text.isascii() or not text.lower().startswith(_SCHEME):
            raise PeerError("not an invitation")
        body = text[len(_SCHEME) :].upper()
        try:
            raw = base64.b32decode(body + "=" * (-len(body) % 8))
        except binascii.Error:
            raise PeerError("bad invitation") from None
        content, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
        if not hmac.compare_digest(checksum, _checksum(content)):
            raise PeerError("bad invitation")
        fields = decode(content, _Content, limit=_TEXT_LIMIT)
        sizes = len(fields.inviter_public_key), len(fields.secret)
        points = fields.contact_points
        if fields.version != 1 or sizes != (32, SECRET_SIZE) or not 0 < len(points) <= MOST_CONTACT_POINTS:
            raise PeerError("bad invitation")
        invitation = cls(
            fields.inviter_public_key, fields.secret, tuple(_onion_text(point) for point in points)
        )
        if invitation.format() != _SCHEME + body.lower():
            raise PeerError("non-canonical")
        return invitation


def _checksum(content: bytes) -> bytes:
    return hashlib.sha3_256(_CHECKSUM_DOMAIN + content).digest()[:_CHECKSUM_SIZE]


def _onion_bytes(onion: str) -> bytes:
    try:
        raw = base64.b32decode(onion.upper())
    except (binascii.Error, ValueError):
        raise PeerError("bad onion name") from None
    if len(raw) != _ONION_SIZE:
        raise PeerError("bad onion name")
    return raw


def _onion_text(raw: bytes) -> str:
    if len(raw) != _ONION_SIZE:
        raise PeerError("bad onion name")
    return base64.b32encode(raw).decode().lower()
