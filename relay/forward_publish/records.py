"""Contact records: "reach me here until then", under a key that tells nothing to those who need not know.

A record is keyed by (identity, secret, period).  Its key is the identity key blinded with the secret and the period
(`relay.identity.blinding`, the way of Tor's rend-spec-v3), and it is signed under that key: a contact point checks the
signature and learns neither who, nor that the records of two secrets or two periods have one owner.  Whoever holds
identity and secret finds the record and opens it.  One mechanism, three uses:

- under a pairwise secret, for one contact;
- under an invitation's secret, for whoever holds the invitation;
- under `LISTING_SECRET`, a constant: the standing record, for everybody who has the address.

The signature shows to holders of the secret that the owner published something.  It names no reader and no call, and
who lacks the secret cannot even tell whose it is.
"""

import base64
import hmac
import re
from collections.abc import Iterable
from enum import IntEnum

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import Entropy, MisuseError, PeerError
from relay.forward_publish.entries import KEY_SIZE, EntryKind, content_of
from relay.forward_publish.periods import CLOCK_SKEW, MOST_PERIOD, check_period, numbers_are_sound
from relay.forward_publish.plain_text import is_language
from relay.forward_publish.prekeys import PREKEY_SIZE
from relay.forward_publish.tokens import TOKEN_BYTES, token_bytes, token_text
from relay.identity import Identity, blind_public_key
from relay.wire import decode, encode, is_onion, pad, unpad

RECORD_SIZE = EntryKind.RECORD.slot_size
"""Bytes of a record in its slot."""

MOST_CONTACT_POINTS = 4
MOST_MISSED = 8
MOST_CAPABILITIES = 8
MOST_CAPABILITY = 16
MOST_LANGUAGES = 6
SECRET_SIZE = 32
TAKEN_BY_SIZE = 16

LISTING_SECRET = b"bayonne: open to all, version 1\x00"
"""Under this, everybody who has an address finds the standing record of its owner, and nobody learns the address."""

SEALED_RECORD_SIZE = 1904

_ONION_SIZE = 35
_NONCE_SIZE = 12
_TAG_SIZE = 16
_SIGNATURE_SIZE = 64
_PADDED_SIZE = SEALED_RECORD_SIZE - _NONCE_SIZE - _TAG_SIZE
_SIGNATURE_DOMAIN = b"bayonne contact record, version 2\x00"
_SEALING_DOMAIN = b"bayonne record sealing, version 2\x00"
_CAPABILITY = re.compile(r"[a-z0-9-]{1,16}")
_LAST_MINUTE = 2**32


class RecordUse(IntEnum):
    """Whom a record is for; said inside, where only its readers see it."""

    PAIRWISE = 1
    INVITATION = 2
    STANDING = 3


class RecordStatus(IntEnum):
    """Whether whoever comes by an invitation, or by a listing, is still taken; late comers are told why not."""

    OPEN = 0
    USED = 1
    EXPIRED = 2
    WITHDRAWN = 3


class ReachableAt(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One contact point (35 bytes of its onion name) and the token (32 bytes) that the owner has bound there."""

    onion: bytes
    token: bytes

    @classmethod
    def named(cls, onion: str, token: str) -> "ReachableAt":
        """Of 56 and 52 characters.  Raises `PeerError`."""
        if not is_onion(onion):
            raise PeerError("bad onion name")
        return cls(base64.b32decode(onion.upper()), token_bytes(token))

    @property
    def onion_name(self) -> str:
        """56 characters, without ".onion"."""
        return base64.b32encode(self.onion).decode().lower()

    @property
    def token_name(self) -> str:
        """52 characters."""
        return token_text(self.token)

    def is_sound(self) -> bool:
        return len(self.onion) == _ONION_SIZE and len(self.token) == TOKEN_BYTES


class ContactRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a record says.

    `reachable_at` are tried in turn; they and `prekey` are empty where, and only where, `status` says that nobody is
    taken any more.  `revision` orders the records of one key, higher is newer; `expires` is Unix seconds.  `missed`
    are the Unix minutes of calls to the reader that were not heard, oldest first.  `taken_by`, where an invitation was
    used, tells who used it that it was them (`relay.forward_publish.introduction.taken_by`); else it is empty.
    """

    use: RecordUse
    status: RecordStatus
    reachable_at: tuple[ReachableAt, ...]
    prekey: bytes
    revision: int
    expires: int
    capabilities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    missed: tuple[int, ...] = ()
    taken_by: bytes = b""

    def is_sound(self) -> bool:
        """Bounds that author and reader agree on, so that nothing a contact says can grow."""
        taken = self.status is RecordStatus.OPEN
        return (
            (taken or self.use is not RecordUse.PAIRWISE)
            and len(self.prekey) == (PREKEY_SIZE if taken else 0)
            and (0 < len(self.reachable_at) <= MOST_CONTACT_POINTS if taken else not self.reachable_at)
            and all(at.is_sound() for at in self.reachable_at)
            and len(self.capabilities) <= MOST_CAPABILITIES
            and all(_CAPABILITY.fullmatch(capability) for capability in self.capabilities)
            and len(self.languages) <= MOST_LANGUAGES
            and all(map(is_language, self.languages))
            and len(self.missed) <= MOST_MISSED
            and list(self.missed) == sorted(set(self.missed))
            and all(0 <= minute < _LAST_MINUTE for minute in self.missed)
            and len(self.taken_by) in (0, TAKEN_BY_SIZE if self.status is RecordStatus.USED else 0)
        )


class StoredRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a contact point sees: opaque but for key, period, revision, expiry and signature.  It is a `ReadEntry`."""

    key: bytes
    period: int
    revision: int
    expires: int
    sealed: bytes
    signature: bytes

    @property
    def kind(self) -> EntryKind:
        return EntryKind.RECORD

    @property
    def body(self) -> bytes:
        return self.to_bytes()

    def to_bytes(self) -> bytes:
        """The record in its slot, `RECORD_SIZE` bytes."""
        return pad(encode(self), RECORD_SIZE)

    @classmethod
    def parse(cls, slot: bytes) -> "StoredRecord":
        """Read a slot; form alone: `verify` and `check_time` are the caller's.  Raises `PeerError`."""
        record = decode(content_of(slot, EntryKind.RECORD), cls, limit=RECORD_SIZE)
        record._check_form()
        return record

    def verify(self) -> None:
        """Raises `PeerError` where the form is wrong or the holder of the key did not sign this."""
        self._check_form()
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, self._signed())
        except (InvalidSignature, ValueError):
            raise PeerError("forged") from None

    def check_time(self, now: float, *, ahead: float = CLOCK_SKEW) -> None:
        """As `ReadEntry.check_time`."""
        check_period(self.period, now, ahead=ahead)

    def _check_form(self) -> None:
        sizes = len(self.key), len(self.sealed), len(self.signature)
        sound = numbers_are_sound(self.period, self.revision, self.expires)
        if sizes != (KEY_SIZE, SEALED_RECORD_SIZE, _SIGNATURE_SIZE) or not sound:
            raise PeerError("malformed")

    def _signed(self) -> bytes:
        numbers = b"".join(number.to_bytes(8) for number in (self.period, self.revision, self.expires))
        return _SIGNATURE_DOMAIN + self.key + numbers + self.sealed


def record_key(identity: bytes, secret: bytes, period: int) -> bytes:
    """The key under which the record of (identity, secret) lies in `period`.  Raises `PeerError` on a bad identity."""
    if len(secret) != SECRET_SIZE or not 0 <= period < MOST_PERIOD:
        raise MisuseError("a record is keyed by an identity, a secret of 32 bytes and a period")
    return blind_public_key(identity, secret, period)


def seal_record(
    record: ContactRecord, me: Identity, secret: bytes, period: int, entropy: Entropy
) -> StoredRecord:
    """`record`, sealed for whoever holds my identity key and `secret`, to be published in `period`."""
    if not record.is_sound() or len(secret) != SECRET_SIZE:
        raise MisuseError("a contact record that its reader would refuse")
    if not numbers_are_sound(period, record.revision, record.expires):
        raise MisuseError("a revision or an expiry outside the record's period")
    blinded = me.blinded(secret, period)
    nonce = entropy.token(_NONCE_SIZE)
    padded = pad(encode(record), _PADDED_SIZE)
    key = _sealing_key(me.public_key, secret, blinded.public, period)
    sealed = nonce + AESGCMSIV(key).encrypt(nonce, padded, blinded.public)
    unsigned = StoredRecord(blinded.public, period, record.revision, record.expires, sealed, b"")
    return msgspec.structs.replace(unsigned, signature=blinded.sign(unsigned._signed()))


def open_record(
    stored: StoredRecord, identity: bytes, secret: bytes, *, now: float, newest_revision: int = -1
) -> ContactRecord:
    """Read a record of `identity` under `secret`; `now` is Unix time, `newest_revision` the highest seen so far.

    Raises `PeerError`: forged, out of its time, of another key, older, malformed.
    """
    stored.verify()
    stored.check_time(now)
    if not hmac.compare_digest(record_key(identity, secret, stored.period), stored.key):
        raise PeerError("record of another key")
    nonce, ciphertext = stored.sealed[:_NONCE_SIZE], stored.sealed[_NONCE_SIZE:]
    key = _sealing_key(identity, secret, stored.key, stored.period)
    try:
        plain = AESGCMSIV(key).decrypt(nonce, ciphertext, stored.key)
    except InvalidTag:
        raise PeerError("forged") from None
    record = decode(unpad(plain), ContactRecord, limit=_PADDED_SIZE)
    if not record.is_sound() or (record.revision, record.expires) != (stored.revision, stored.expires):
        raise PeerError("malformed")
    if record.revision < newest_revision:
        raise PeerError("older")
    return record


def newest_first(records: Iterable[StoredRecord]) -> list[StoredRecord]:
    """The order in which to try what was found."""
    return sorted(records, key=lambda record: record.revision, reverse=True)


def _sealing_key(identity: bytes, secret: bytes, key: bytes, period: int) -> bytes:
    info = _SEALING_DOMAIN + identity + key + period.to_bytes(8)
    return HKDF(SHA256(), 32, None, info).derive(secret)
