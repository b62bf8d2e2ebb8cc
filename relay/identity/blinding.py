"""Blinded keys: a key pair for each (identity, secret, period), of an identity that nobody who lacks the two can see.

The way of Tor's onion services (rend-spec-v3 appendix A.2): h = hash(A, secret, period), A' = hA, a' = ha.  Whoever
knows A, the secret and the period finds A'; the owner of A alone signs under it; to everybody else A' is a point like
any other.  Signatures are ordinary ones (RFC 8032), so a contact point checks them without learning whose they are.

The group operations are libsodium's; what is put together here is checked against Tor's own vectors.
"""

import hashlib
from dataclasses import dataclass, field

from nacl import bindings
from nacl.exceptions import CryptoError

from relay.core import MisuseError, PeerError

KEY_SIZE = 32
SECRET_SIZE = 32
PERIOD_LENGTH = 86400
"""Seconds of a period; part of what is hashed, as in rend-spec-v3."""

_FACTOR_DOMAIN = b"bayonne blinding factor, version 1\x00"
_PREFIX_DOMAIN = b"bayonne blinded signature prefix, version 1\x00"
_BASE_POINT = (
    b"(15112221349535400772501151409588531511454012693041857206046113283949847762202, "
    b"46316835694926478169428394003475163141307993866256225615783033603165251855960)"
)
"""In the decimal notation of rend-spec-v3."""


@dataclass(frozen=True, slots=True)
class ExpandedKey:
    """The private half of an Ed25519 key pair after hashing (RFC 8032 section 5.1.5): scalar, prefix; 32 bytes each."""

    scalar: bytes = field(repr=False)
    prefix: bytes = field(repr=False)

    @classmethod
    def of_seed(cls, seed: bytes) -> "ExpandedKey":
        digest = hashlib.sha512(seed).digest()
        return cls(_clamped(digest[:32]), digest[32:])

    def blinded(self, factor: bytes, prefix: bytes) -> "ExpandedKey":
        """The private half of the blinded key: the scalar times `factor`, with a prefix of its own."""
        scalar = bindings.crypto_core_ed25519_scalar_mul(_reduced(self.scalar), _reduced(_clamped(factor)))
        return ExpandedKey(scalar, prefix)

    @property
    def public(self) -> bytes:
        return bindings.crypto_scalarmult_ed25519_base_noclamp(_reduced(self.scalar))

    def sign(self, message: bytes, public: bytes) -> bytes:
        """RFC 8032 section 5.1.6, from step 2 on; `public` is this key's other half."""
        nonce = _reduced(hashlib.sha512(self.prefix + message).digest())
        commitment = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = _reduced(hashlib.sha512(commitment + public + message).digest())
        product = bindings.crypto_core_ed25519_scalar_mul(challenge, _reduced(self.scalar))
        return commitment + bindings.crypto_core_ed25519_scalar_add(nonce, product)


@dataclass(frozen=True, slots=True)
class BlindedKey:
    """The key pair of one (identity, secret, period), as only the owner of the identity has it."""

    public: bytes = field(repr=False)
    _private: ExpandedKey = field(repr=False)

    @classmethod
    def derive(cls, seed: bytes, public_key: bytes, secret: bytes, period: int) -> "BlindedKey":
        """Of the identity with this seed and public key."""
        expanded = ExpandedKey.of_seed(seed)
        factor = blinding_factor(public_key, secret, period)
        # As for the factor, so that one prefix never serves two keys.
        prefix = hashlib.sha3_256(_PREFIX_DOMAIN + expanded.prefix + factor).digest()
        return cls(blind(public_key, factor), expanded.blinded(factor, prefix))

    def sign(self, message: bytes) -> bytes:
        """An ordinary Ed25519 signature under `public`."""
        return self._private.sign(message, self.public)


def blinding_factor(public_key: bytes, secret: bytes, period: int) -> bytes:
    """h = SHA3-256(domain | A | secret | B | N), before clamping; N is period number and length."""
    if len(public_key) != KEY_SIZE or len(secret) != SECRET_SIZE or not 0 <= period < 1 << 63:
        raise MisuseError("a key is blinded by a secret of 32 bytes and a period")
    number = b"key-blind" + period.to_bytes(8) + PERIOD_LENGTH.to_bytes(8)
    return hashlib.sha3_256(_FACTOR_DOMAIN + public_key + secret + _BASE_POINT + number).digest()


def blind(public_key: bytes, factor: bytes) -> bytes:
    """The public key times a factor of 32 bytes, which is clamped first.  Raises `PeerError` on a key that is no point
    of prime order in its one encoding."""
    if len(public_key) != KEY_SIZE or not bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise PeerError("bad identity key")
    try:
        return bindings.crypto_scalarmult_ed25519_noclamp(_clamped(factor), public_key)
    except CryptoError:
        raise PeerError("bad identity key") from None


def blind_public_key(public_key: bytes, secret: bytes, period: int) -> bytes:
    """A', under which the owner of `public_key` publishes for holders of `secret` in `period`.  Raises `PeerError`."""
    if len(public_key) != KEY_SIZE:
        raise PeerError("bad identity key")
    return blind(public_key, blinding_factor(public_key, secret, period))


def _clamped(scalar: bytes) -> bytes:
    """RFC 8032 section 5.1.5, step 2."""
    return bytes((scalar[0] & 248, *scalar[1:31], scalar[31] & 63 | 64))


def _reduced(scalar: bytes) -> bytes:
    """Modulo the order of the base point."""
    return bindings.crypto_core_ed25519_scalar_reduce(scalar.ljust(64, b"\0"))
