"""The Diffie-Hellman groups (RFC 6189 section 5.1.5): X25519 (RFC 7748), P-256, P-384; the 3072-bit one is apart."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from relay.core import Entropy, MisuseError
from relay.zrtp import finite_field
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.suites import KeyAgreementType


class KeyPair(Protocol):
    """A fresh secret value (svi, svr) and what is sent of it."""

    @property
    def public_value(self) -> bytes:
        """pvi or pvr, of the group's fixed size."""
        ...

    def agree(self, public_value: bytes) -> bytes:
        """DHResult.  Raises `ZrtpError` where the peer's value is no good (sections 4.4.1.2, 4.4.1.3)."""
        ...


PUBLIC_SIZES = {
    KeyAgreementType.X255: 32,
    KeyAgreementType.EC25: 64,
    KeyAgreementType.EC38: 96,
    KeyAgreementType.DH3K: finite_field.SIZE,
}


def fresh_pair(kind: KeyAgreementType, entropy: Entropy) -> KeyPair:
    """A new key pair of this group."""
    match kind:
        case KeyAgreementType.X255:
            return _X25519Pair(entropy)
        case KeyAgreementType.EC25:
            return _CurvePair(ec.SECP256R1(), _ORDER_256, entropy)
        case KeyAgreementType.EC38:
            return _CurvePair(ec.SECP384R1(), _ORDER_384, entropy)
        case KeyAgreementType.DH3K:
            return finite_field.FiniteFieldPair(entropy)
        case _:
            raise MisuseError("a mode without Diffie-Hellman has no key pair")


class _X25519Pair:
    __slots__ = ("_private",)

    def __init__(self, entropy: Entropy) -> None:
        self._private = X25519PrivateKey.from_private_bytes(entropy.token(32))

    @property
    def public_value(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def agree(self, public_value: bytes) -> bytes:
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public_value))
        except ValueError:
            raise _bad_value() from None


_ORDER_256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ORDER_384 = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
)
"""How many points each curve's generator makes (FIPS 186-4 appendix D.1.2): a secret lies below."""


class _CurvePair:
    """Both coordinates are sent, the first one is the result."""

    __slots__ = ("_curve", "_private", "_size")

    def __init__(self, curve: ec.EllipticCurve, order: int, entropy: Entropy) -> None:
        self._curve = curve
        self._size = curve.key_size // 8
        self._private = ec.derive_private_key(1 + entropy.below(order - 1), curve)

    @property
    def public_value(self) -> bytes:
        point = self._private.public_key().public_numbers()
        return point.x.to_bytes(self._size) + point.y.to_bytes(self._size)

    def agree(self, public_value: bytes) -> bytes:
        x, y = (int.from_bytes(half) for half in (public_value[: self._size], public_value[self._size :]))
        try:
            # Whether the point is on the curve is checked here (SP 800-56A, partial validation).
            point = ec.EllipticCurvePublicNumbers(x, y, self._curve).public_key()
            return self._private.exchange(ec.ECDH(), point)
        except ValueError:
            raise _bad_value() from None


def _bad_value() -> ZrtpError:
    return ZrtpError(ErrorCode.BAD_PUBLIC_VALUE, "bad public value", "5.1.5", attack=True)
