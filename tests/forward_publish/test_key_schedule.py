"""The key schedule: every secret and every byte of the transcript counts; HKDF is RFC 5869's."""

import hashlib
import hmac

import pytest

from relay.core import MisuseError
from relay.forward_publish import Peer
from relay.forward_publish.key_schedule import AnswerSecret, authentication_key

SECRETS = tuple(bytes([number]) * 32 for number in range(7))
TRANSCRIPT = hashlib.sha256(b"transcript").digest()


def _hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 sections 2.2 and 2.3, written out; checked below against the RFC's first vector."""
    pseudorandom = hmac.digest(salt, secret, "sha256")
    out = block = b""
    while len(out) < size:
        block = hmac.digest(pseudorandom, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def test_the_schedule_is_hkdf_over_all_secrets_and_the_transcript() -> None:
    # RFC 5869 appendix A.1
    vector = _hkdf(bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42)
    assert vector.hex().startswith("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
    root = AnswerSecret.derive(SECRETS, TRANSCRIPT)
    everything = b"".join(SECRETS)
    assert root.answer_key() == _hkdf(TRANSCRIPT, everything, b"bayonne call answer\x00", 16)
    expected = _hkdf(TRANSCRIPT, everything, b"bayonne call caller to callee\x00" + TRANSCRIPT, 32)
    assert root.call_keys(TRANSCRIPT, caller=True).send == expected
    assert root.call_keys(TRANSCRIPT, caller=False).receive == expected


def test_where_the_lines_meet_again_both_ends_know_and_nobody_else() -> None:
    root = AnswerSecret.derive(SECRETS, TRANSCRIPT)
    caller, callee = root.call_keys(TRANSCRIPT, caller=True), root.call_keys(TRANSCRIPT, caller=False)
    one, other = bytes(32), b"\1" * 32
    assert caller.join_code(one) == callee.join_code(one)
    assert len(caller.join_code(one)) == 16
    assert caller.join_code(one) != caller.join_code(other), "codes of two reflectors have nothing in common"
    again = _hkdf(TRANSCRIPT, b"".join(SECRETS), b"bayonne call meets again\x00" + TRANSCRIPT, 32)
    assert (
        caller.join_code(one)
        == hmac.digest(again, b"bayonne call meets again\x00" + one + b"\1", "sha256")[:16]
    )
    stranger = AnswerSecret.derive((b"\xff" * 32, *SECRETS[1:]), TRANSCRIPT)
    assert stranger.call_keys(TRANSCRIPT, caller=True).join_code(one) != caller.join_code(one)


def test_the_auxsecret_is_the_same_at_both_ends_of_one_call_alone() -> None:
    root = AnswerSecret.derive(SECRETS, TRANSCRIPT)
    caller, callee = root.call_keys(TRANSCRIPT, caller=True), root.call_keys(TRANSCRIPT, caller=False)
    again = _hkdf(TRANSCRIPT, b"".join(SECRETS), b"bayonne call meets again\x00" + TRANSCRIPT, 32)
    expected = hmac.digest(again, b"bayonne call ZRTP auxsecret\x00\x01", "sha256")
    assert caller.auxsecret() == callee.auxsecret() == expected
    assert expected not in (caller.send, caller.receive, caller.again)
    assert root.call_keys(bytes(32), caller=True).auxsecret() != expected


def test_every_secret_counts() -> None:
    keys = {AnswerSecret.derive(SECRETS, TRANSCRIPT).answer_key()}
    for position in range(len(SECRETS)):
        changed = (*SECRETS[:position], b"\xff" * 32, *SECRETS[position + 1 :])
        keys.add(AnswerSecret.derive(changed, TRANSCRIPT).answer_key())
    keys.add(AnswerSecret.derive(SECRETS, bytes(32)).answer_key())
    assert len(keys) == len(SECRETS) + 2


def test_authentication_keys_differ_by_secret_agreement_and_context() -> None:
    peer, other = Peer(bytes(32), bytes(32)), Peer(bytes(32), b"\1" * 32)
    keys = {
        authentication_key(who, agreements, context)
        for who in (peer, other)
        for agreements in ((SECRETS[1],), (SECRETS[2],))
        for context in (b"a", b"b")
    }
    assert len(keys) == 8


def test_wrong_sizes_are_our_misuse() -> None:
    with pytest.raises(MisuseError):
        AnswerSecret.derive((b"short",), TRANSCRIPT)
    for public_key, secret in ((b"", bytes(32)), (bytes(32), b"")):
        with pytest.raises(MisuseError):
            Peer(public_key, secret)
