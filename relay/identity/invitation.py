"""An invitation: what one person hands another, out of band, so that each finds the other.

Text: `bayonne:` and base32 (no padding) of the canonical content and a checksum.  It carries everything: the inviter's
identity key, the secret under which the inviter's record lies, and where it lies.  Whoever holds it can introduce
themselves, so it goes by a trusted way.
"""

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Entropy, MisuseError, PeerError
from relay.wire import decode, encode

SECRET_SIZE = 16
MOST_CONTACT_POINTS = 4
VERSION = 2
MOST_HOURS = 2**31
"""Unix hours: some 245,000 years."""

SCHEME = "bayonne:"
_CHECKSUM_DOMAIN = b"bayonne invitation checksum"
_RECORD_SECRET = b"bayonne invitation record secret\x00"
_ID_DOMAIN = b"bayonne invitation id\x00"
_CHECKSUM_SIZE = 4
_ONION_SIZE = 35
_TEXT_LIMIT = 2048
_CONTENT_LIMIT = 512
_HOUR = 3600
_INVISIBLE = frozenset({"Cf", "Zs", "Cc", "Zl", "Zp"})
"""Unicode's categories of format characters, spaces, controls and separators."""
_BEGINNING = re.compile(r"bayonne:(?://)?(?=[a-z2-7])", re.IGNORECASE | re.ASCII)
_END = re.compile(r"[^A-Za-z2-7]")


class InvitationKind(IntEnum):
    """Whether one person can come by it, or any number, each of whom the inviter accepts."""

    ONCE = 1
    STANDING = 2


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    kind: int
    inviter_public_key: bytes
    secret: bytes
    expires: int
    contact_points: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Invitation:
    """`contact_points` are onion names, one to four; `expires` is in Unix hours, 0 for never."""

    kind: InvitationKind
    inviter_public_key: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    contact_points: tuple[str, ...] = field(repr=False)
    expires: int = 0

    @classmethod
    def generate(
        cls,
        kind: InvitationKind,
        inviter_public_key: bytes,
        contact_points: tuple[str, ...],
        expires: int,
        entropy: Entropy,
    ) -> "Invitation":
        """A new invitation with a secret of its own."""
        return cls(kind, inviter_public_key, entropy.token(SECRET_SIZE), contact_points, expires)

    @property
    def record_secret(self) -> bytes:
        """The secret, 32 bytes, under which the inviter's record for this invitation lies."""
        return HKDF(SHA256(), 32, None, _RECORD_SECRET).derive(self.secret)

    @property
    def id(self) -> bytes:
        """16 bytes by which its maker knows it again; they tell nobody the secret."""
        return hashlib.sha256(_ID_DOMAIN + self.secret).digest()[:16]

    def expired(self, now: float) -> bool:
        """Whether nobody can come by it any more at Unix time `now`."""
        return 0 < self.expires * _HOUR <= now

    def format(self) -> str:
        """The URI to hand over.  Raises `MisuseError` where it could not be read again."""
        if not 0 < len(self.contact_points) <= MOST_CONTACT_POINTS:
            raise MisuseError(f"an invitation names 1 to {MOST_CONTACT_POINTS} contact points")
        sizes = len(self.inviter_public_key), len(self.secret)
        if sizes != (32, SECRET_SIZE) or not 0 <= self.expires < MOST_HOURS:
            raise MisuseError("an invitation that nobody could read")
        try:
            points = tuple(_onion_bytes(onion) for onion in self.contact_points)
        except PeerError:
            raise MisuseError("a contact point is named by its 56 characters") from None
        content = encode(
            _Content(VERSION, self.kind, self.inviter_public_key, self.secret, self.expires, points)
        )
        text = base64.b32encode(content + _checksum(content)).decode()
        return SCHEME + text.rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> "Invitation":
        """Read a URI that `format` made, also after a messenger, a mail or a person had it: capitals, line breaks
        (with the `>` of a quoted mail), spaces and invisible characters within, quotes, brackets and punctuation around
        it, `//` behind the scheme, words before it and words after a full stop or the like do not matter.

        Raises `PeerError`: "not an invitation", "bad invitation" where a part is missing or changed, "another version"
        where it is whole, and of others ("oversized", "malformed", "non-canonical") what only a forger writes.
        """
        body = _unwrapped(text)
        try:
            raw = base64.b32decode(body + "=" * (-len(body) % 8))
        except (binascii.Error, ValueError):
            raise PeerError("bad invitation") from None
        content, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
        if not hmac.compare_digest(checksum, _checksum(content)):
            raise PeerError("bad invitation")
        # In every version it stands first, behind the one byte that heads the fields; these differ.
        if content[1:2] != bytes((VERSION,)):
            raise PeerError("another version")
        invitation = cls._of(decode(content, _Content, limit=_CONTENT_LIMIT))
        if invitation.format() != SCHEME + body.lower():
            raise PeerError("non-canonical")
        return invitation

    @classmethod
    def _of(cls, fields: _Content) -> "Invitation":
        sizes = len(fields.inviter_public_key), len(fields.secret)
        points = fields.contact_points
        sound = sizes == (32, SECRET_SIZE) and 0 <= fields.expires < MOST_HOURS
        if not sound or not 0 < len(points) <= MOST_CONTACT_POINTS or fields.kind not in list(InvitationKind):
            raise PeerError("bad invitation")
        onions = tuple(_onion_text(point) for point in points)
        return cls(
            InvitationKind(fields.kind), fields.inviter_public_key, fields.secret, onions, fields.expires
        )


def _unwrapped(text: str) -> str:
    """The base32 of a URI, in capitals, without what carriers add."""
    if len(text) > _TEXT_LIMIT:
        raise PeerError("oversized")
    # A mail that quotes another one begins each line with ">".
    visible = "".join(one for one in text if one != ">" and unicodedata.category(one) not in _INVISIBLE)
    beginning = _BEGINNING.search(visible)
    if beginning is None:
        raise PeerError("not an invitation")
    return _END.split(visible[beginning.end() :], maxsplit=1)[0].upper()


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
