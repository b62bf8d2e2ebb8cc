"""The groups, against published values and against another reckoning."""

import pytest

from relay.core import MisuseError, SeededEntropy
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.key_agreement import PUBLIC_SIZES, fresh_pair
from relay.zrtp.suites import KeyAgreementType


class Scripted(SeededEntropy):
    """Chance that says what it was told to."""

    def __init__(self, value: bytes) -> None:
        super().__init__(0)
        self._value = value

    def token(self, size: int) -> bytes:
        assert size == len(self._value)
        return self._value


# RFC 7748 section 6.1; RFC 5903 sections 8.1 and 8.2: a secret, its public value, the peer's, what comes of it.
VECTORS = {
    KeyAgreementType.X255: (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    KeyAgreementType.EC25: (
        "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
        "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
        "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    ),
    KeyAgreementType.EC38: (
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA"
        "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
        "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571"
        "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
    ),
}


@pytest.mark.parametrize("kind", list(VECTORS))
def test_published_vectors(kind: KeyAgreementType) -> None:
    secret, public, peer, result = map(bytes.fromhex, VECTORS[kind])
    if kind is not KeyAgreementType.X255:
        # A secret is one more than what chance says, so that it is never zero.
        secret = (int.from_bytes(secret) - 1).to_bytes(len(secret))
    pair = fresh_pair(kind, Scripted(secret))
    assert pair.public_value == public
    assert pair.agree(peer) == result


@pytest.mark.parametrize("kind", list(PUBLIC_SIZES))
def test_both_ends_agree_and_a_third_does_not(kind: KeyAgreementType) -> None:
    one, other, third = (fresh_pair(kind, SeededEntropy(seed)) for seed in ("one", "other", "third"))
    result = one.agree(other.public_value)
    assert result == other.agree(one.public_value)
    assert result != third.agree(one.public_value)
    assert len(one.public_value) == PUBLIC_SIZES[kind]
    # Section 4.4.1.4.
    assert len(result) == {"X255": 32, "EC25": 32, "EC38": 48, "DH3k": 384}[kind]


@pytest.mark.parametrize("kind", [KeyAgreementType.EC25, KeyAgreementType.EC38])
def test_a_point_that_is_not_on_the_curve_is_refused(kind: KeyAgreementType) -> None:
    pair, other = fresh_pair(kind, SeededEntropy("point")), fresh_pair(kind, SeededEntropy("other"))
    off = bytearray(other.public_value)
    off[-1] ^= 1
    for value in (bytes(off), bytes(len(off)), b"\xff" * len(off)):
        with pytest.raises(ZrtpError) as error:
            pair.agree(value)
        assert error.value.code is ErrorCode.BAD_PUBLIC_VALUE
        assert error.value.attack


@pytest.mark.parametrize("value", [bytes(32), b"\x01" + bytes(31)])
def test_a_point_of_small_order_is_refused(value: bytes) -> None:
    with pytest.raises(ZrtpError) as error:
        fresh_pair(KeyAgreementType.X255, SeededEntropy("small")).agree(value)
    assert error.value.code is ErrorCode.BAD_PUBLIC_VALUE


def test_modes_without_diffie_hellman_have_no_pair() -> None:
    with pytest.raises(MisuseError):
        fresh_pair(KeyAgreementType.MULT, SeededEntropy("none"))
