"""Contact records: "reach me here until then", for one contact, under a key that tells others nothing.

A record lies under the public half of an Ed25519 key pair that HKDF derives from (pairwise secret, role,
period), and is signed with it: a contact point checks the signature and learns neither who nor whose.
Blinded identity keys (the way of Tor's rend-spec-v3, which standing listings need) are not built yet;
nothing outside this file will notice.

Inside, a MAC under the pairwise secret and the static agreement of both identities proves the author to the
one reader, and to nobody else.  So the author must know the reader's identity: the invitee, who holds the
inviter's from the invitation, publishes first; the inviter publishes once it has found the invitee's
record.

Periods last 24 h.  Look at `lookup_periods`: the current one, the previous and the next, so that clocks may
differ.  What a contact point sees of times is the same for everybody who publishes in the same hour
(`latest_expiry`, `coarse_revision`), so that the records of one owner cannot be put together by them.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Entropy, MisuseError, PeerError
from relay.forward_publish.key_schedule import MAC_SIZE, Peer, authentication_key, mac
from relay.forward_publish.prekeys import PREKEY_SIZE
from relay.forward_publish.tokens import is_token
from relay.identity import Identity
from relay.wire import decode, encode, pad, unpad

PERIOD = 86400
"""Seconds of a period."""

RECORD_SIZE = 4080
"""Bytes of a stored record in its slot: 64 of them and a heading make an answer of 256 KiB."""

SEALED_RECORD_SIZE = 3936
MOST_CONTACT_POINTS = 8
CLOCK_SKEW = 1800

_NONCE_SIZE = 12
_TAG_SIZE = 16
_PADDED_SIZE = SEALED_RECORD_SIZE - _NONCE_SIZE - _TAG_SIZE
_SIGNATURE_DOMAIN = b"bayonne contact record, version 1\x00"
_KEY_DOMAIN = b"bayonne record keys, version 1\x00"
_LARGEST = 2**53
_REVISIONS_OF_A_PERIOD = 2**17
_ONION = re.compile(r"[a-z2-7]{56}")


class Role(Enum):
    """Which of the two a record's author is."""

    INVITER = "inviter"
    INVITEE = "invitee"

    @property
    def other(self) -> "Role":
        return Role.INVITEE if self is Role.INVITER else Role.INVITER


class ReachableAt(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One contact point (onion name) and the token that its owner has bound there for this contact."""

    onion: str
    token: str


class ContactRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a record says.

    `expires` is Unix time; `revision` orders the records of one key, higher is newer.
    """

    identity: bytes
    reachable_at: tuple[ReachableAt, ...]
    prekey: bytes
    revision: int
    expires: int
    capabilities: tuple[str, ...] = ()


class StoredRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a contact point sees: opaque but for key, period, revision, expiry and signature."""

    key: bytes
    period: int
    revision: int
    expires: int
    sealed: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The record in its slot, `RECORD_SIZE` bytes."""
        return pad(encode(self), RECORD_SIZE)

    @classmethod
    def parse(cls, data: bytes) -> "StoredRecord":
        """Read a slot and check form and signature, not time.  Raises `PeerError`."""
        if len(data) != RECORD_SIZE:
            raise PeerError("wrong size")
        record = decode(unpad(data), cls, limit=RECORD_SIZE)
        record.verify()
        return record

    def verify(self) -> None:
        """Raises `PeerError` where the form is wrong or the holder of the key did not sign this."""
        sizes = len(self.key), len(self.sealed), len(self.signature)
        numbers = self.period, self.revision, self.expires
        if sizes != (32, SEALED_RECORD_SIZE, 64) or not all(0 <= number < _LARGEST for number in numbers):
            raise PeerError("malformed")
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, self._signed())
        except (InvalidSignature, ValueError):
            raise PeerError("forged") from None

    def check_time(self, now: float) -> None:
        """Raises `PeerError` where the record is of no use at Unix time `now`."""
        if self.expires <= now - CLOCK_SKEW:
            raise PeerError("expired")
        if self.period not in lookup_periods(now) or self.expires > latest_expiry(self.period):
            raise PeerError("outside its period")

    def _signed(self) -> bytes:
        numbers = b"".join(number.to_bytes(8) for number in (self.period, self.revision, self.expires))
        return _SIGNATURE_DOMAIN + self.key + numbers + self.sealed


@dataclass(frozen=True, slots=True)
class RecordKeys:
    """The keys of one (secret, role, period): `key` is the public name, the rest stays with the two."""

    key: bytes = field(repr=False)
    _signing_key: Ed25519PrivateKey = field(repr=False)
    _sealing_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, role: Role, period: int) -> "RecordKeys":
        if len(secret) != 32 or not 0 <= period < _LARGEST:
            raise MisuseError("a record is keyed by a secret of 32 bytes, a role and a period")
        info = _KEY_DOMAIN + role.value.encode() + period.to_bytes(8)
        material = HKDF(SHA256(), 64, None, info).derive(secret)
        signing_key = Ed25519PrivateKey.from_private_bytes(material[:32])
        return cls(signing_key.public_key().public_bytes_raw(), signing_key, material[32:])


def current_period(now: float) -> int:
    return int(now) // PERIOD


def lookup_periods(now: float) -> tuple[int, int, int]:
    """Where to look for a record at Unix time `now`: current period, previous, next."""
    current = current_period(now)
    return current, current - 1, current + 1


def latest_expiry(period: int) -> int:
    """A record of `period` is valid until the end of the next one at most."""
    return (period + 2) * PERIOD


def coarse_revision(now: float, step: int = 0) -> int:
    """The revision of a record that is made at Unix time `now`: the hours of its period that are over, plus `step`.

    Higher in every later period, and never lower within one.  It says no more of the author's clock than the
    hour does.  Take the next higher `step` where a contact point holds that revision already.
    """
    period = current_period(now)
    hours = int(now - period * PERIOD) // 3600
    return period * _REVISIONS_OF_A_PERIOD + min(hours + step, _REVISIONS_OF_A_PERIOD - 1)


def record_key(secret: bytes, role: Role, period: int) -> bytes:
    """The name under which the record of `role` lies in `period`."""
    return RecordKeys.derive(secret, role, period).key


def seal_record(
    record: ContactRecord, me: Identity, peer: Peer, role: Role, period: int, entropy: Entropy
) -> StoredRecord:
    """`record` sealed to `peer` alone, in my `role` between the two.

    Raises `PeerError` on a peer's key of no use.
    """
    if record.identity != me.public_key or not _is_sound(record):
        raise MisuseError("a contact record that its reader would refuse")
    keys = RecordKeys.derive(peer.secret, role, period)
    content = encode(record)
    padded = pad(mac(_mac_key(me, peer, keys.key), content) + content, _PADDED_SIZE)
    nonce = entropy.token(_NONCE_SIZE)
    sealed = nonce + AESGCMSIV(keys._sealing_key).encrypt(nonce, padded, keys.key)
    unsigned = StoredRecord(keys.key, period, record.revision, record.expires, sealed, b"")
    return msgspec.structs.replace(unsigned, signature=keys._signing_key.sign(unsigned._signed()))


def open_record(
    stored: StoredRecord,
    me: Identity,
    secret: bytes,
    author: Role,
    *,
    expected_identity: bytes | None,
    now: float,
    newest_revision: int = -1,
) -> ContactRecord:
    """Read a contact's record.

    `expected_identity` is None only where the author is not known yet (an inviter's first look).
    `newest_revision` is the highest seen so far.  Raises `PeerError`: forged, expired, older, of somebody
    else.
    """
    stored.verify()
    stored.check_time(now)
    keys = RecordKeys.derive(secret, author, stored.period)
    if not hmac.compare_digest(keys.key, stored.key):
        raise PeerError("record of another key")
    nonce, ciphertext = stored.sealed[:_NONCE_SIZE], stored.sealed[_NONCE_SIZE:]
    try:
        plain = unpad(AESGCMSIV(keys._sealing_key).decrypt(nonce, ciphertext, keys.key))
    except InvalidTag:
        raise PeerError("forged") from None
    record = decode(plain[MAC_SIZE:], ContactRecord, limit=_PADDED_SIZE)
    if not _is_sound(record) or (record.revision, record.expires) != (stored.revision, stored.expires):
        raise PeerError("malformed")
    if expected_identity is not None and not hmac.compare_digest(record.identity, expected_identity):
        raise PeerError("record of somebody else")
    key = _mac_key(me, Peer(record.identity, secret), keys.key)
    if not hmac.compare_digest(plain[:MAC_SIZE], mac(key, plain[MAC_SIZE:])):
        raise PeerError("not authentic")
    if record.revision < newest_revision:
        raise PeerError("older")
    return record


def newest_first(records: Sequence[StoredRecord]) -> list[StoredRecord]:
    """The order in which to try what was found."""
    return sorted(records, key=lambda record: record.revision, reverse=True)


def _mac_key(me: Identity, peer: Peer, key: bytes) -> bytes:
    return authentication_key(peer, (me.diffie_hellman(peer.public_key),), _SIGNATURE_DOMAIN + key)


def _is_sound(record: ContactRecord) -> bool:
    """Bounds that author and reader agree on, so that nothing a contact says can grow."""
    return (
        len(record.identity) == 32
        and len(record.prekey) == PREKEY_SIZE
        and 0 < len(record.reachable_at) <= MOST_CONTACT_POINTS
        and all(_ONION.fullmatch(at.onion) and is_token(at.token) for at in record.reachable_at)
        and 0 <= record.revision < _LARGEST
        and 0 <= record.expires < _LARGEST
        and len(record.capabilities) <= 16
        and all(len(capability) <= 32 for capability in record.capabilities)
    )
