"""SRTP between two ends of ZRTP: RFC 3711's own keys, an oracle made of primitives, and what does not pass."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from relay.core import MisuseError, SeededEntropy
from relay.rtp import RtpPacket
from relay.rtp.srtp import derive
from relay.rtp.voice_srtp import MOST_SOURCES, SrtpReceiver, SrtpSender, SrtpTag

# RFC 3711 appendix B.3.
KEY = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
SALT = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
CIPHER_KEY = bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
CIPHER_SALT = bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1")
AUTH_KEY = bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
SIZES = {SrtpTag.HS80: 10, SrtpTag.HS32: 4}


def packet(number: int, ssrc: int = 7, payload: bytes = b"\x78" + bytes(59)) -> bytes:
    return RtpPacket(96, number & 0xFFFF, 960 * number & 0xFFFFFFFF, ssrc, payload).to_bytes()


def by_hand(plain: bytes, index: int, tag: SrtpTag) -> bytes:
    """RFC 3711 sections 4.1.1 and 4.2.1, in a few lines."""
    ssrc = int.from_bytes(plain[8:12])
    iv = int.from_bytes(CIPHER_SALT) << 16 ^ ssrc << 64 ^ index << 16
    stream = Cipher(algorithms.AES(CIPHER_KEY), modes.CTR(iv.to_bytes(16))).encryptor()
    sealed = plain[:12] + stream.update(plain[12:])
    return sealed + hmac.digest(AUTH_KEY, sealed + (index >> 16).to_bytes(4), "sha1")[: SIZES[tag]]


def test_the_keys_are_those_of_the_rfc() -> None:
    assert derive(KEY, SALT, 0, 16) == CIPHER_KEY
    assert derive(KEY, SALT, 2, 14) == CIPHER_SALT
    assert derive(KEY, SALT, 1, 20) == AUTH_KEY


@pytest.mark.parametrize("tag", list(SrtpTag))
def test_what_is_sent_is_what_the_rfc_says_and_comes_back(tag: SrtpTag) -> None:
    sender, receiver = SrtpSender(KEY, SALT, tag), SrtpReceiver(KEY, SALT, tag)
    for number in (0xFFFE, 0xFFFF, 0x10000, 0x10001):
        plain = packet(number)
        sealed = sender.protect(plain)
        assert sealed == by_hand(plain, number, tag)
        assert receiver.unprotect(sealed) == plain


def test_nothing_that_is_not_the_peers_passes_and_nothing_passes_twice() -> None:
    sender, receiver = SrtpSender(KEY, SALT, SrtpTag.HS80), SrtpReceiver(KEY, SALT, SrtpTag.HS80)
    sealed = sender.protect(packet(1))
    assert sealed is not None
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        assert receiver.unprotect(bytes(changed)) is None, f"byte {at}"
    chance = SeededEntropy("noise")
    for size in (0, 1, 11, 12, 13, 22, 80, 1500, 5000):
        assert receiver.unprotect(chance.token(size)) is None
    assert receiver.unprotect(packet(2)) is None, "in the clear"
    assert receiver.unprotect(sealed) is not None
    assert receiver.unprotect(sealed) is None
    assert receiver.counters["passed"] == 1


def test_a_number_used_before_is_not_used_again() -> None:
    sender = SrtpSender(KEY, SALT, SrtpTag.HS80)
    assert sender.protect(packet(1)) is not None
    assert sender.protect(packet(1, payload=bytes(60))) is None
    assert sender.protect(b"") is None
    assert sender.protect(packet(2, payload=bytes(5000))) is None
    assert sender.counters["dropped"] == 3


def test_there_are_never_many_sources() -> None:
    sender, receiver = SrtpSender(KEY, SALT, SrtpTag.HS32), SrtpReceiver(KEY, SALT, SrtpTag.HS32)
    opened = [receiver.unprotect(sender.protect(packet(5, ssrc)) or b"") for ssrc in range(20)]
    assert sum(one is not None for one in opened) == MOST_SOURCES
    assert receiver.counters["other_source"] == 20 - MOST_SOURCES
    assert receiver.unprotect(sender.protect(packet(6, 0)) or b"") is not None, (
        "those it has, it goes on with"
    )


def test_once_forgotten_nothing_passes() -> None:
    sender, receiver = SrtpSender(KEY, SALT, SrtpTag.HS80), SrtpReceiver(KEY, SALT, SrtpTag.HS80)
    sealed = sender.protect(packet(1))
    assert sealed is not None
    sender.forget()
    receiver.forget()
    assert sender.protect(packet(2)) is None
    assert receiver.unprotect(sealed) is None


@pytest.mark.parametrize(("key", "salt"), [(32, 14), (16, 12), (15, 14)])
def test_other_sizes_of_keys_are_a_mistake_of_ours(key: int, salt: int) -> None:
    with pytest.raises(MisuseError):
        SrtpSender(bytes(key), bytes(salt), SrtpTag.HS80)
