"""Hybrid keys: serialised and read back, opened by their holder alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError, SeededEntropy
from relay.forward_publish import PREKEY_SIZE, HybridKey, HybridPublicKey, Prekey
from relay.forward_publish.prekeys import ENCAPSULATION_SIZE, HPKE_TAG_SIZE

PREKEY = Prekey.generate(SeededEntropy("prekey"), 1_800_000_000.9)


def test_round_trip() -> None:
    again = Prekey.from_bytes(PREKEY.to_bytes())
    assert (again.public, again.created, again.identifier) == (
        PREKEY.public,
        1_800_000_000,
        PREKEY.identifier,
    )
    assert len(PREKEY.public) == PREKEY_SIZE == 1216
    assert PREKEY.identifier != Prekey.generate(SeededEntropy("other"), 0).identifier


@pytest.mark.parametrize("size", [0, 1, 2048])
def test_sealed_to_a_prekey_and_nobody_else(size: int) -> None:
    plain = bytes(range(256)) * 8
    sealed = HybridPublicKey.parse(PREKEY.public).seal(plain[:size], b"info")
    assert len(sealed) == ENCAPSULATION_SIZE + size + HPKE_TAG_SIZE
    assert PREKEY.key.open(sealed, b"info") == plain[:size]
    assert PREKEY.key.open(sealed, b"other info") is None
    assert HybridKey.generate(SeededEntropy("other")).open(sealed, b"info") is None
    assert PREKEY.key.open(sealed[:-1], b"info") is None
    assert PREKEY.key.open(b"", b"info") is None


@given(st.binary(max_size=200))
def test_garbage_raises_only_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        Prekey.from_bytes(data)
    with pytest.raises(PeerError):
        HybridPublicKey.parse(data)


def test_a_key_that_is_no_ml_kem_key_is_refused() -> None:
    with pytest.raises(PeerError):  # FIPS 203 section 7.2: coefficients of q and above
        HybridPublicKey.parse(b"\xff" * PREKEY_SIZE)
    with pytest.raises(PeerError):  # a point of low order agrees on nothing
        HybridPublicKey.parse(PREKEY.public[:-32] + bytes(32)).seal(b"", b"")


def test_nothing_secret_in_the_representation() -> None:
    assert repr(PREKEY) == "Prekey(key=HybridKey(), created=1800000000)"
