"""Which algorithms two ends come to."""

from dataclasses import replace

import pytest

from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.settings import EVERYTHING
from relay.zrtp.suites import (
    AuthTagType,
    CipherType,
    HashType,
    KeyAgreementType,
    Offer,
    SasType,
    Suite,
    choose,
    common_key_agreement,
)

NOTHING = Offer((), (), (), (), ())


def with_agreements(*kinds: KeyAgreementType) -> Offer:
    return replace(EVERYTHING, key_agreements=kinds).completed()


def test_the_example_of_section_4_1_2() -> None:
    alice = with_agreements(KeyAgreementType.DH3K, KeyAgreementType.EC25)
    bob = with_agreements(KeyAgreementType.EC38, KeyAgreementType.EC25, KeyAgreementType.DH3K)
    assert common_key_agreement(alice, bob) is KeyAgreementType.EC25
    assert common_key_agreement(bob, alice) is KeyAgreementType.EC25


def test_both_ends_come_to_the_same_key_agreement_whatever_they_list() -> None:
    kinds = [kind for kind in KeyAgreementType if kind.is_dh]
    lists = [(), *((a,) for a in kinds), *((a, b) for a in kinds for b in kinds if a is not b)]
    for mine in lists:
        for theirs in lists:
            one, other = with_agreements(*mine), with_agreements(*theirs)
            chosen = common_key_agreement(one, other)
            assert chosen is common_key_agreement(other, one)
            assert chosen in one.key_agreements
            assert chosen in other.key_agreements


def test_with_an_end_that_lists_nothing_the_mandatory_ones_are_used() -> None:
    assert choose(EVERYTHING, NOTHING.completed()) == Suite(
        HashType.S256, CipherType.AES1, AuthTagType.HS80, KeyAgreementType.DH3K, SasType.B32
    )


def test_p384_wants_sha384_and_gets_aes256() -> None:
    suite = choose(with_agreements(KeyAgreementType.EC38), with_agreements(KeyAgreementType.EC38))
    assert (suite.hash, suite.cipher) == (HashType.S384, CipherType.AES3)
    without = replace(with_agreements(KeyAgreementType.EC38), hashes=(HashType.S256,))
    assert choose(with_agreements(KeyAgreementType.EC38), without).key_agreement is KeyAgreementType.DH3K
    with pytest.raises(ZrtpError) as error:
        EVERYTHING.admits(replace(suite, hash=HashType.S256))
    assert error.value.code is ErrorCode.HASH


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"hash": HashType.S384}, ErrorCode.HASH),
        ({"cipher": CipherType.AES3}, ErrorCode.CIPHER),
        ({"key_agreement": KeyAgreementType.X255}, ErrorCode.KEY_AGREEMENT),
        ({"sas": SasType.B256}, ErrorCode.SAS),
    ],
)
def test_what_was_not_offered_is_refused_with_its_code(changed: dict[str, object], code: ErrorCode) -> None:
    modest = NOTHING.completed()
    suite = choose(modest, modest)
    modest.admits(suite)
    with pytest.raises(ZrtpError) as error:
        modest.admits(replace(suite, **changed))  # type: ignore[arg-type]
    assert error.value.code is code


def test_auth_tags_too() -> None:
    without = replace(EVERYTHING, auth_tags=(AuthTagType.HS80,))
    suite = replace(choose(EVERYTHING, EVERYTHING), auth_tag=AuthTagType.HS32)
    with pytest.raises(ZrtpError) as error:
        without.admits(suite)
    assert error.value.code is ErrorCode.AUTH_TAG
