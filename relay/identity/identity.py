"""An identity: one Ed25519 key pair (RFC 8032), its address, and key agreement with other identities.

The identity key never signs anything that a peer gets: a signature could prove to a third party who
called.  It authenticates by X25519 (RFC 7748) alone, over the same key mapped to Curve25519.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl import bindings
from nacl.exceptions import CryptoError

from relay.core import Entropy, MisuseError, PeerError
from relay.identity.blinding import BlindedKey

ADDRESS_SIZE = 56
"""Characters of an address, without ".bayonne.alt"."""

SEED_SIZE = 32
PUBLIC_KEY_SIZE = 32

_VERSION = b"\x01"
"""A v3 onion address ends with version 3, so that no address of ours is ever one."""

_CHECKSUM_DOMAIN = b"bayonne address checksum"


def _checksum(public_key: bytes) -> bytes:
    return hashlib.sha3_256(_CHECKSUM_DOMAIN + public_key + _VERSION).digest()[:2]


def format_address(public_key: bytes) -> str:
    """The address of an identity key: base32 of key, checksum and version, 56 characters."""
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise MisuseError("an identity key has 32 bytes")
    return base64.b32encode(public_key + _checksum(public_key) + _VERSION).decode().lower()


def parse_address(address: str) -> bytes:
    """The identity key in `address`, with or without ".bayonne.alt", in any case.  Raises `PeerError`."""
    text = address.lower().removesuffix(".bayonne.alt")
    if len(text) != ADDRESS_SIZE or not text.isascii():
        raise PeerError("bad address")
    try:
        raw = base64.b32decode(text.upper())
    except binascii.Error:
        raise PeerError("bad address") from None
    public_key, checksum, version = raw[:32], raw[32:34], raw[34:]
    if version != _VERSION or not hmac.compare_digest(checksum, _checksum(public_key)):
        raise PeerError("bad address")
    return public_key


def curve25519_public(public_key: bytes) -> X25519PublicKey:
    """An identity key mapped to Curve25519.  Raises `PeerError` where it is no point of prime order."""
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise PeerError("bad identity key")
    try:
        return X25519PublicKey.from_public_bytes(bindings.crypto_sign_ed25519_pk_to_curve25519(public_key))
    except (CryptoError, ValueError):
        raise PeerError("bad identity key") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """One person's key pair; `seed` is all there is to keep."""

    seed: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    _agreement_key: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, entropy: Entropy) -> "Identity":
        """A new identity."""
        return cls.from_seed(entropy.token(SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """The identity of a kept seed (RFC 8032 section 5.1.5)."""
        if len(seed) != SEED_SIZE:
            raise MisuseError("an identity seed has 32 bytes")
        public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        scalar = bindings.crypto_sign_ed25519_sk_to_curve25519(seed + public_key)
        return cls(seed, public_key, X25519PrivateKey.from_private_bytes(scalar))

    @property
    def address(self) -> str:
        return format_address(self.public_key)

    def sip_uri(self, name: str) -> str:
        """What to give to others: `sip:NAME@ADDRESS.bayonne.alt` (RFC 9476: never looked up in DNS)."""
        return f"sip:{name}@{self.address}.bayonne.alt"

    def blinded(self, secret: bytes, period: int) -> BlindedKey:
        """The key pair under which this identity publishes in `period` for holders of `secret` (32 bytes)."""
        return BlindedKey.derive(self.seed, self.public_key, secret, period)

    def diffie_hellman(self, peer_public_key: bytes) -> bytes:
        """What this identity shares with another one, 32 bytes.  Raises `PeerError` on a key of no use."""
        return self.agree(curve25519_public(peer_public_key))

    def agree(self, peer: X25519PublicKey | bytes) -> bytes:
        """What this identity shares with an X25519 key (a prekey, a fresh key).  Raises `PeerError`."""
        try:
            key = X25519PublicKey.from_public_bytes(peer) if isinstance(peer, bytes) else peer
            return self._agreement_key.exchange(key)
        except ValueError:
            raise PeerError("bad agreement key") from None
