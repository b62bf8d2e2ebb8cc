"""Which secrets two ends find in common, by section 4.3."""

import hmac
from itertools import product

import pytest

from relay.core import SeededEntropy
from relay.zrtp.retained import Retained, Strength
from relay.zrtp.shared_secrets import Continuity, OwnSecrets, Role
from relay.zrtp.suites import HashType

A, B, C = b"A" * 32, b"B" * 32, b"C" * 32
H3_I, H3_R = b"i" * 32, b"r" * 32
STRENGTH = Strength(256, 128, 128)


def own(rs1: bytes, rs2: bytes, auxsecret: bytes = b"") -> OwnSecrets:
    return OwnSecrets(Retained(rs1, STRENGTH, rs2) if rs1 else None, auxsecret)


def test_ids_are_macs_of_the_secrets() -> None:
    ids = own(A, B, b"aux").ids(HashType.S384, Role.INITIATOR, H3_I, SeededEntropy("ids"))
    assert ids.rs1 == hmac.digest(A, b"Initiator", "sha384")[:8]
    assert ids.rs2 == hmac.digest(B, b"Initiator", "sha384")[:8]
    assert ids.auxsecret == hmac.digest(b"aux", H3_I, "sha384")[:8]
    assert (
        own(A, B).ids(HashType.S256, Role.RESPONDER, H3_R, SeededEntropy("ids")).rs1
        == (hmac.digest(A, b"Responder", "sha256")[:8])
    )


def test_what_is_not_there_looks_like_what_is() -> None:
    nothing = [own(b"", b"").ids(HashType.S256, Role.INITIATOR, H3_I, SeededEntropy(s)) for s in range(2)]
    values = [value for ids in nothing for value in (ids.rs1, ids.rs2, ids.auxsecret, ids.pbxsecret)]
    assert len(set(values)) == 8
    assert {len(value) for value in values} == {8}


@pytest.mark.parametrize(
    ("initiator", "responder"), list(product(product((b"", A, B), (b"", B, C)), repeat=2))
)
def test_both_ends_find_the_same(initiator: tuple[bytes, bytes], responder: tuple[bytes, bytes]) -> None:
    """All ways in which two caches can have fallen out of step."""
    i, r = own(*initiator), own(*responder)
    ids_i = i.ids(HashType.S256, Role.INITIATOR, H3_I, SeededEntropy("i"))
    ids_r = r.ids(HashType.S256, Role.RESPONDER, H3_R, SeededEntropy("r"))
    at_i = i.shared(HashType.S256, Role.INITIATOR, ids_r, H3_R)
    at_r = r.shared(HashType.S256, Role.RESPONDER, ids_i, H3_I)
    kept_i = [s for s in initiator if s] if initiator[0] else []
    kept_r = [s for s in responder if s] if responder[0] else []
    expected = next((secret for secret in kept_i if secret in kept_r), b"")
    assert at_i.s1 == at_r.s1 == expected
    for at, kept in ((at_i, kept_i), (at_r, kept_r)):
        if expected:
            assert at.continuity is Continuity.CONTINUED
        else:
            assert at.continuity is (Continuity.MISMATCH if kept else Continuity.FIRST)


def test_an_expired_secret_that_does_not_match_is_no_alarm() -> None:
    expired = OwnSecrets(Retained(A, STRENGTH, expired=True))
    theirs = own(b"", b"").ids(HashType.S256, Role.RESPONDER, H3_R, SeededEntropy("r"))
    assert expired.shared(HashType.S256, Role.INITIATOR, theirs, H3_R).continuity is Continuity.FIRST
    same = own(A, b"").ids(HashType.S256, Role.RESPONDER, H3_R, SeededEntropy("r"))
    assert expired.shared(HashType.S256, Role.INITIATOR, same, H3_R).continuity is Continuity.CONTINUED


@pytest.mark.parametrize(("ours", "theirs", "s2"), [(b"x", b"x", b"x"), (b"x", b"y", b""), (b"", b"y", b"")])
def test_an_auxsecret_counts_where_both_have_it(ours: bytes, theirs: bytes, s2: bytes) -> None:
    i, r = own(A, b"", ours), own(A, b"", theirs)
    at_i = i.shared(
        HashType.S256, Role.INITIATOR, r.ids(HashType.S256, Role.RESPONDER, H3_R, SeededEntropy("r")), H3_R
    )
    at_r = r.shared(
        HashType.S256, Role.RESPONDER, i.ids(HashType.S256, Role.INITIATOR, H3_I, SeededEntropy("i")), H3_I
    )
    assert at_i.s2 == at_r.s2 == s2
    assert at_i.auxsecret_missed is (ours != theirs and ours != b"")
    assert at_i.s1 == A
