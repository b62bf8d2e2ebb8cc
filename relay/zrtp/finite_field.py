"""DH3k: Diffie-Hellman in the 3072-bit group of RFC 3526 section 4, which every ZRTP end must have (RFC 6189 section
5.1.5).

The library warns that it will give this up one day.  No ZRTP can while there are phones that know nothing else, so the
warning is silenced, here and nowhere else; no other module needs to change when its home does.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import dh
from cryptography.utils import CryptographyDeprecationWarning

from relay.core import Entropy
from relay.zrtp.errors import ErrorCode, ZrtpError

warnings.filterwarnings(
    "ignore", category=CryptographyDeprecationWarning, module=r"relay\.zrtp\.finite_field"
)

SIZE = 384
_SECRET_SIZE = 64
"""Bytes: twice the longest AES key, as section 5.1.5 asks for."""
_GENERATOR = 2
_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33"
    "A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864"
    "D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2"
    "08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)


@contextmanager
def _unwarned() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


class FiniteFieldPair:
    """A secret exponent and what is sent of it."""

    __slots__ = ("_private", "public_value")

    def __init__(self, entropy: Entropy) -> None:
        # The topmost bit is set, so that the exponent is as long as it should be.
        secret = int.from_bytes(entropy.token(_SECRET_SIZE)) | 1 << 8 * _SECRET_SIZE - 1
        with _unwarned():
            generator = dh.DHPublicNumbers(_GENERATOR, dh.DHParameterNumbers(_PRIME, _GENERATOR))
            # The library wants a public value beside the secret and does not use it: any member of the group will do.
            self._private = dh.DHPrivateNumbers(secret, generator).private_key()
            # g to the power of the secret is what one agrees on with g itself, in the library's constant time.
            self.public_value = self._private.exchange(generator.public_key())

    def agree(self, public_value: bytes) -> bytes:
        """DHResult, 384 bytes.  Raises `ZrtpError` for 0, 1, p-1 and whatever else is none."""
        value = int.from_bytes(public_value)
        if not 1 < value < _PRIME - 1:
            raise _bad_value()
        try:
            with _unwarned():
                numbers = dh.DHPublicNumbers(value, dh.DHParameterNumbers(_PRIME, _GENERATOR))
                return self._private.exchange(numbers.public_key())
        except ValueError:
            raise _bad_value() from None


def _bad_value() -> ZrtpError:
    return ZrtpError(ErrorCode.BAD_PUBLIC_VALUE, "bad public value", "4.4.1.2", attack=True)
