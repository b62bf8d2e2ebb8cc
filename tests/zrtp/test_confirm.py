"""What is sealed: Confirm and SASrelay."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.zrtp.confirm import CONFIRM_SIZE, Confirm, ConfirmKeys, Flags
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.messages import MessageType, read
from relay.zrtp.suites import HashType

SIGNATURES = st.integers(0, 511).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
FLAGS = st.builds(Flags, st.booleans(), st.just(False), st.booleans(), st.booleans())
CONFIRMS = st.builds(
    Confirm, st.binary(min_size=32, max_size=32), FLAGS, st.integers(0, 2**32 - 1), SIGNATURES
)
KEYS = ConfirmKeys(HashType.S256, bytes(range(32)), bytes(range(16)))
ENTROPY = SeededEntropy("confirm")


@given(CONFIRMS)
def test_what_is_sealed_is_opened(confirm: Confirm) -> None:
    kind, body = read(KEYS.seal(MessageType.CONFIRM_1, confirm.plain(), ENTROPY))
    assert kind is MessageType.CONFIRM_1
    assert Confirm.read_plain(KEYS.open(body)) == confirm


@pytest.mark.parametrize("key_size", [16, 32])
@pytest.mark.parametrize("hash_type", list(HashType))
def test_it_is_cfb_with_whole_blocks_and_a_mac_over_the_ciphertext(
    key_size: int, hash_type: HashType
) -> None:
    """Against CFB made by hand from single blocks (SP 800-38A section 6.3)."""
    keys = ConfirmKeys(hash_type, b"m" * hash_type.size, bytes(range(key_size)))
    plain = Confirm(b"h" * 32, Flags(verified=True), 77).plain()
    assert plain[32:] == bytes.fromhex("00000004 0000004d")
    message = keys.seal(MessageType.CONFIRM_2, plain, ENTROPY)
    assert len(message) == CONFIRM_SIZE == 19 * 4
    mac, vector, sealed = message[12:20], message[20:36], message[36:]
    assert mac == hmac.digest(keys.mac_key, sealed, hash_type.digest_name)[:8]
    block, feedback = Cipher(algorithms.AES(keys.key), modes.ECB()).encryptor(), vector
    for at in range(0, len(plain), 16):
        stream = block.update(feedback)
        feedback = bytes(a ^ b for a, b in zip(plain[at : at + 16], stream, strict=False))
        assert sealed[at : at + 16] == feedback


@given(st.integers(12, CONFIRM_SIZE - 1), st.integers(1, 255))
def test_nothing_in_it_can_be_changed(at: int, change: int) -> None:
    message = bytearray(KEYS.seal(MessageType.CONFIRM_1, Confirm(bytes(32), Flags(), 1).plain(), ENTROPY))
    message[at] ^= change
    if 20 <= at < 36:
        # The MAC does not cover the initialization vector (section 5.7): that garbles H0, which its hash gives away.
        opened = KEYS.open(bytes(message[12:]))
        assert opened[:16] != bytes(16)
        assert opened[16:] == Confirm(bytes(32), Flags(), 1).plain()[16:]
        return
    with pytest.raises(ZrtpError) as error:
        KEYS.open(bytes(message[12:]))
    assert error.value.code is ErrorCode.BAD_CONFIRM_MAC
    assert error.value.attack


def test_lengths_must_fit() -> None:
    with pytest.raises(ZrtpError) as error:
        KEYS.open(bytes(60))
    assert error.value.code is ErrorCode.MALFORMED
    for plain in (bytes(39), bytes(44), bytes(34) + b"\x01\x00" + bytes(4)):
        with pytest.raises(ZrtpError):
            Confirm.read_plain(plain)


def test_enrolment_rules_out_going_clear() -> None:
    assert Flags.read(0b1010) == Flags(enroll=True)
    assert Flags.read(0b0010) == Flags(allow_clear=True)
    assert Flags.read(0b11110101) == Flags(verified=True, discloses=True)
    assert Flags(verified=True, discloses=True, enroll=True, allow_clear=True).octet() == 0b1111


def test_keys_are_not_printed() -> None:
    assert "\\x01" not in repr(KEYS)
