"""Commit in its three forms, and which of two goes on."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.zrtp.commit import Commit, Contention, build_commit, discarded
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain, PeerChain
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, SasType, Suite
from tests.zrtp.pair import ALICE

SUITES = st.builds(
    Suite, *(st.sampled_from(list(k)) for k in (HashType, CipherType, AuthTagType, KeyAgreementType, SasType))
)
SUITE = Suite(HashType.S256, CipherType.AES1, AuthTagType.HS32, KeyAgreementType.X255, SasType.B32)
CHAIN = HashChain(SeededEntropy("commit"))


def commit(kind: KeyAgreementType, first: int = 1) -> Commit:
    suite = replace(SUITE, key_agreement=kind)
    proof = bytes([first]) + bytes(31 if kind.is_dh else 15)
    return build_commit(CHAIN, ALICE, suite, proof, bytes(8) if kind is KeyAgreementType.PRSH else b"")


@given(SUITES, st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8))
def test_what_is_built_is_read(suite: Suite, proof: bytes, key_id: bytes) -> None:
    preshared = suite.key_agreement is KeyAgreementType.PRSH
    if not suite.key_agreement.is_dh:
        proof = proof[:16]
    built = build_commit(CHAIN, ALICE, suite, proof, key_id if preshared else b"")
    assert Commit.read(built.message) == built
    assert (built.zid, built.h2, built.suite, built.proof) == (ALICE, CHAIN[2], suite, proof)
    words = 27 if preshared else 25 if suite.key_agreement is KeyAgreementType.MULT else 29
    assert len(built.message) == 4 * words
    chain = PeerChain(CHAIN[3])
    chain.take(1, CHAIN[1])
    chain.check(built.message, 1)


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (0, ErrorCode.HASH),
        (1, ErrorCode.CIPHER),
        (2, ErrorCode.AUTH_TAG),
        (3, ErrorCode.KEY_AGREEMENT),
        (4, ErrorCode.SAS),
    ],
)
def test_an_unknown_algorithm_has_its_own_code(at: int, code: ErrorCode) -> None:
    message = bytearray(commit(KeyAgreementType.X255).message)
    message[56 + 4 * at : 60 + 4 * at] = b"what"
    with pytest.raises(ZrtpError) as error:
        Commit.read(bytes(message))
    assert error.value.code is code


def test_a_form_must_have_its_length() -> None:
    message = commit(KeyAgreementType.X255).message
    for wrong in (message[:-4], message + bytes(4), message[:60], message.replace(b"X255", b"Mult")):
        with pytest.raises(ZrtpError) as error:
            Commit.read(wrong)
        assert error.value.code is ErrorCode.MALFORMED
    with pytest.raises(ZrtpError):
        Commit.read(message.replace(b"X255", b"\xff255"))


@given(st.binary(max_size=130))
def test_anything_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ZrtpError):
        Commit.read(data)


def test_the_lower_hash_or_nonce_is_discarded() -> None:
    for kind in (KeyAgreementType.X255, KeyAgreementType.MULT, KeyAgreementType.PRSH):
        low, high = commit(kind, 1), commit(kind, 200)
        assert discarded(low, high) is Contention.OURS
        assert discarded(high, low) is Contention.THEIRS


def test_diffie_hellman_goes_before_preshared() -> None:
    strong, weak = commit(KeyAgreementType.EC25, 1), commit(KeyAgreementType.PRSH, 200)
    assert discarded(strong, weak) is Contention.THEIRS
    assert discarded(weak, strong) is Contention.OURS


def test_a_pbx_gives_way_in_preshared_mode() -> None:
    low, high = commit(KeyAgreementType.PRSH, 1), commit(KeyAgreementType.PRSH, 200)
    assert discarded(low, high, they_are_mitm=True) is Contention.THEIRS
    assert discarded(high, low, we_are_mitm=True) is Contention.OURS


def test_multistream_meets_nothing_else() -> None:
    with pytest.raises(ZrtpError) as error:
        discarded(commit(KeyAgreementType.MULT), commit(KeyAgreementType.X255))
    assert error.value.code is ErrorCode.SOFTWARE


def test_two_that_are_the_same_are_an_echo() -> None:
    with pytest.raises(ZrtpError) as error:
        discarded(commit(KeyAgreementType.X255), commit(KeyAgreementType.X255))
    assert error.value.attack
