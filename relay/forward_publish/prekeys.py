"""Hybrid key pairs, ML-KEM-768 and X25519: the prekeys that records carry and the fresh keys of a call.

FIPS 203 and RFC 7748, written one behind the other as HPKE's MLKEM768_X25519 wants them.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from relay.core import Entropy, PeerError
from relay.wire import decode, encode

KEM_PUBLIC_SIZE = 1184
KEM_CIPHERTEXT_SIZE = 1088
X25519_SIZE = 32
PREKEY_SIZE = KEM_PUBLIC_SIZE + X25519_SIZE
"""Bytes of a hybrid public key."""

ENCAPSULATION_SIZE = KEM_CIPHERTEXT_SIZE + X25519_SIZE
"""Bytes that carry shared secrets to the holder of a hybrid key."""

_KEM_SEED_SIZE = 64
_STORED_LIMIT = 256
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
HPKE_TAG_SIZE = 16


@dataclass(frozen=True, slots=True)
class HybridPublicKey:
    """The public half, read and checked."""

    kem: MLKEM768PublicKey = field(repr=False)
    x25519: X25519PublicKey = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> "HybridPublicKey":
        """Read 1216 bytes.  Raises `PeerError`."""
        if len(data) != PREKEY_SIZE:
            raise PeerError("bad hybrid key")
        try:
            kem = MLKEM768PublicKey.from_public_bytes(data[:KEM_PUBLIC_SIZE])
            return cls(kem, X25519PublicKey.from_public_bytes(data[KEM_PUBLIC_SIZE:]))
        except ValueError:
            raise PeerError("bad hybrid key") from None

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """HPKE base mode (RFC 9180): 1120 bytes of encapsulation, then ciphertext and tag.

        Raises `PeerError`.
        """
        try:
            return _SUITE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(self.kem, self.x25519), info)
        except ValueError:
            raise PeerError("bad hybrid key") from None


@dataclass(frozen=True, slots=True)
class HybridKey:
    """A key pair; `public` is what others get."""

    kem: MLKEM768PrivateKey = field(repr=False)
    x25519: X25519PrivateKey = field(repr=False)
    public: bytes = field(repr=False)

    @classmethod
    def generate(cls, entropy: Entropy) -> "HybridKey":
        return cls._from_secret(entropy.token(_KEM_SEED_SIZE + X25519_SIZE))

    @classmethod
    def _from_secret(cls, secret: bytes) -> "HybridKey":
        kem = MLKEM768PrivateKey.from_seed_bytes(secret[:_KEM_SEED_SIZE])
        x25519 = X25519PrivateKey.from_private_bytes(secret[_KEM_SEED_SIZE:])
        return cls(kem, x25519, kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """Undo `HybridPublicKey.seal`; None where it was not sealed to this key."""
        try:
            return _SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(self.kem, self.x25519), info)
        except (InvalidTag, ValueError):
            return None


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    created: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class Prekey:
    """A hybrid key pair that rings are sealed to while the records that carry it live.

    `created` is Unix time; delete a prekey once no record with it is valid any more: nothing sealed to it
    opens then.
    """

    key: HybridKey
    created: int

    @classmethod
    def generate(cls, entropy: Entropy, now: float) -> "Prekey":
        return cls(HybridKey.generate(entropy), int(now))

    @property
    def public(self) -> bytes:
        return self.key.public

    @property
    def identifier(self) -> str:
        """A short name for the key's file; says nothing to others."""
        return hashlib.sha256(b"bayonne prekey" + self.public).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """For the state directory: secret."""
        secret = self.key.kem.private_bytes_raw() + self.key.x25519.private_bytes_raw()
        return encode(_Stored(1, self.created, secret))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Prekey":
        """Undo `to_bytes`.  Raises `PeerError`."""
        stored = decode(data, _Stored, limit=_STORED_LIMIT)
        if stored.version != 1 or len(stored.secret) != _KEM_SEED_SIZE + X25519_SIZE:
            raise PeerError("malformed")
        return cls(HybridKey._from_secret(stored.secret), stored.created)
