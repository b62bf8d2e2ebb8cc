"""DH3k against plain arithmetic."""

import warnings

import pytest

from relay.core import SeededEntropy
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.finite_field import _PRIME, SIZE, FiniteFieldPair


def test_the_prime_is_that_of_rfc_3526_section_4() -> None:
    """2^3072 - 2^3008 - 1 + 2^64 * { [2^2942 pi] + 1690314 }; pi by Machin's formula, in whole numbers."""
    bits = 2942 + 64
    one = 1 << bits

    def arctan_of_inverse(x: int) -> int:
        power = total = one // x
        n, sign = 3, -1
        while power:
            power //= x * x
            total += sign * (power // n)
            n, sign = n + 2, -sign
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 64
    assert 2**3072 - 2**3008 - 1 + 2**64 * (pi + 1690314) == _PRIME


def test_it_is_two_to_the_power_of_a_secret_of_512_bits() -> None:
    entropy = SeededEntropy("exponent")
    secret = int.from_bytes(SeededEntropy("exponent").token(64)) | 1 << 511
    pair = FiniteFieldPair(entropy)
    assert pair.public_value == pow(2, secret, _PRIME).to_bytes(SIZE)
    peer = pow(2, 0xABCDEF, _PRIME)
    assert pair.agree(peer.to_bytes(SIZE)) == pow(peer, secret, _PRIME).to_bytes(SIZE)


@pytest.mark.parametrize("value", [0, 1, _PRIME - 1, _PRIME, 2**3072 - 1])
def test_values_that_give_the_secret_away_are_refused(value: int) -> None:
    with pytest.raises(ZrtpError) as error:
        FiniteFieldPair(SeededEntropy("weak")).agree(value.to_bytes(SIZE))
    assert error.value.code is ErrorCode.BAD_PUBLIC_VALUE
    assert error.value.attack


def test_the_library_does_not_warn_at_every_call() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FiniteFieldPair(SeededEntropy("quiet")).agree((4).to_bytes(SIZE))
