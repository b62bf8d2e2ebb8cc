"""Every derivation, once more, straight from the RFC's formulas with hashlib and hmac."""

import hashlib
import hmac
import struct
from dataclasses import replace

import pytest

from relay.zrtp.key_schedule import Context, kdf, key_id, mac, preshared_key
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, SasType, Suite

ZID_I, ZID_R = b"initiator's.", b"responder's."
HELLO, COMMIT, PART1, PART2 = b"hello", b"commit", b"dh part 1", b"dh part 2"
RESULT, S1, S2 = b"z" * 48, b"s" * 32, b"aux"
SUITE = Suite(HashType.S256, CipherType.AES1, AuthTagType.HS80, KeyAgreementType.X255, SasType.B32)


def by_hand(name: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDF(KI, Label, Context, L) = HMAC(KI, i || Label || 0x00 || Context || L)."""
    data = b"\x00\x00\x00\x01" + label + b"\x00" + context + struct.pack("!I", bits)
    return hmac.new(key, data, getattr(hashlib, name)).digest()[: bits // 8]


@pytest.mark.parametrize(
    ("hash_type", "name"), [(HashType.S256, "sha256"), (HashType.S384, "sha384")], ids=["S256", "S384"]
)
@pytest.mark.parametrize("cipher", list(CipherType))
def test_all_keys_of_an_exchange(hash_type: HashType, name: str, cipher: CipherType) -> None:
    digest = getattr(hashlib, name)
    suite = replace(SUITE, hash=hash_type, cipher=cipher)
    total_hash = digest(HELLO + COMMIT + PART1 + PART2).digest()
    context = ZID_I + ZID_R + total_hash
    ours = Context.of(hash_type, ZID_I, ZID_R, HELLO, COMMIT, PART1, PART2)
    assert bytes(ours) == context
    s0 = digest(
        b"\x00\x00\x00\x01" + RESULT + b"ZRTP-HMAC-KDF" + context
        + b"\x00\x00\x00\x20" + S1 + b"\x00\x00\x00\x03" + S2 + b"\x00\x00\x00\x00"
    ).digest()  # fmt: skip
    assert ours.dh_s0(RESULT, S1, S2) == s0
    size = 8 * digest().digest_size
    assert ours.session_key(s0) == by_hand(name, s0, b"ZRTP Session Key", context, size)
    assert ours.exported_key(s0) == by_hand(name, s0, b"Exported key", context, size)
    assert ours.sas_hash(s0) == by_hand(name, s0, b"SAS", context, 256)
    assert ours.retained_secret(s0) == by_hand(name, s0, b"retained secret", context, 256)
    keys = ours.stream_keys(suite, s0)
    aes = {CipherType.AES1: 128, CipherType.AES3: 256}[cipher]
    for role, derived in ((b"Initiator", keys.initiator), (b"Responder", keys.responder)):
        assert derived.srtp.key == by_hand(name, s0, role + b" SRTP master key", context, aes)
        assert derived.srtp.salt == by_hand(name, s0, role + b" SRTP master salt", context, 112)
        assert derived.confirm.mac_key == by_hand(name, s0, role + b" HMAC key", context, size)
        assert derived.confirm.key == by_hand(name, s0, role + b" ZRTP key", context, aes)


def test_modes_without_diffie_hellman() -> None:
    context = Context.of(HashType.S256, ZID_I, ZID_R, HELLO, COMMIT)
    total = ZID_I + ZID_R + hashlib.sha256(HELLO + COMMIT).digest()
    assert context.preshared_s0(S1) == by_hand("sha256", S1, b"ZRTP PSK", total, 256)
    assert context.multistream_s0(S1) == by_hand("sha256", S1, b"ZRTP MSK", total, 256)
    secret = hashlib.sha256(b"\x00\x00\x00\x20" + S1 + b"\x00\x00\x00\x03" + S2 + bytes(4)).digest()
    assert preshared_key(HashType.S256, S1, S2) == secret
    assert key_id(HashType.S256, secret) == hmac.new(secret, b"Prsh", hashlib.sha256).digest()[:8]


def test_the_mac_is_hmac_with_the_agreed_hash() -> None:
    """RFC 4231 section 4.3, test case 2."""
    key, data = b"Jefe", b"what do ya want for nothing?"
    assert mac(HashType.S256, key, data).hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert mac(HashType.S384, key, data).hex() == (
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
    )


def test_labels_keep_keys_apart() -> None:
    derived = {kdf(HashType.S256, S1, label, b"context", 128) for label in ("one", "other", "on", "")}
    assert len(derived) == 4


def test_nothing_secret_is_printed() -> None:
    context = Context.of(HashType.S256, ZID_I, ZID_R, HELLO)
    keys = context.stream_keys(SUITE, S1)
    shown = repr(keys)
    for secret in (keys.initiator.srtp.key, keys.responder.srtp.salt, keys.initiator.confirm.key):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
