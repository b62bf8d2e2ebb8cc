"""RFC 7714 and RFC 3711 vectors first, then libsrtp as the second opinion, then properties."""

import json
from pathlib import Path

import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError
from relay.rtp.packet import pack_header
from relay.rtp.srtp import AeadSrtp, SessionKeys, SrtpDrop, derive, derive_session_keys

VECTORS = Path(__file__).parent.parent / "vectors"
KEY = bytes(range(16))
SALT = bytes(range(100, 112))
SSRC = 0x5501A0B2


def _vector(name: str) -> dict[str, str]:
    vector: dict[str, str] = json.loads((VECTORS / name).read_text())
    return vector


def _pair(rollover_counter: int = 0) -> tuple[AeadSrtp, AeadSrtp]:
    keys = derive_session_keys(KEY, SALT)
    return (
        AeadSrtp(keys, rollover_counter=rollover_counter),
        AeadSrtp(keys, rollover_counter=rollover_counter),
    )


def _header(sequence_number: int) -> bytes:
    return pack_header(111, sequence_number & 0xFFFF, sequence_number * 960 & 0xFFFFFFFF, SSRC)


def _libsrtp(ssrc_type: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(
        pylibsrtp.Policy(
            key=KEY + SALT,
            ssrc_type=ssrc_type,
            srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
    )


class TestVectors:
    def test_rfc_7714_section_16_1_1_encryption(self) -> None:
        vector = _vector("rfc7714/aead_aes_128_gcm.json")
        srtp = AeadSrtp(SessionKeys(bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"])))
        packet = bytes.fromhex(vector["rtp_packet"])
        assert srtp.protect(packet[:12], packet[12:]).hex() == vector["srtp_packet"]

    def test_rfc_7714_section_16_1_2_decryption(self) -> None:
        vector = _vector("rfc7714/aead_aes_128_gcm.json")
        srtp = AeadSrtp(SessionKeys(bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"])))
        payload = srtp.unprotect(bytes.fromhex(vector["srtp_packet"]))
        assert payload == b"Gallia est omnis divisa in partes tres"

    def test_rfc_7714_sections_16_1_3_and_16_1_4_tagging_only(self) -> None:
        vector = _vector("rfc7714/aead_aes_128_gcm.json")
        keys = SessionKeys(bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"]))
        packet = bytes.fromhex(vector["rtp_packet"])
        tagged = bytes.fromhex(vector["tagged_only_packet"])
        assert AeadSrtp(keys).protect(packet, b"") == tagged
        assert AeadSrtp(keys).unprotect(tagged, header_size=len(packet)) == b""

    def test_rfc_3711_appendix_b3_key_derivation(self) -> None:
        vector = _vector("rfc3711/key_derivation.json")
        key, salt = bytes.fromhex(vector["master_key"]), bytes.fromhex(vector["master_salt"])
        assert derive(key, salt, 0, 16).hex().upper() == vector["cipher_key"]
        assert derive(key, salt, 2, 14).hex().upper() == vector["cipher_salt"]
        assert derive(key, salt, 1, 94).hex().upper() == vector["auth_key"]


class TestAgainstLibsrtp:
    @settings(max_examples=40, deadline=None)
    @given(
        start=st.integers(0, 0x7FFF),
        payloads=st.lists(st.binary(max_size=200), min_size=1, max_size=8),
    )
    def test_libsrtp_opens_what_we_seal(self, start: int, payloads: list[bytes]) -> None:
        ours, _ = _pair()
        theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
        for offset, payload in enumerate(payloads):
            header = _header(start + offset)
            assert theirs.unprotect(ours.protect(header, payload)) == header + payload

    @settings(max_examples=40, deadline=None)
    @given(
        start=st.integers(0, 0x7FFF),
        payloads=st.lists(st.binary(max_size=200), min_size=1, max_size=8),
    )
    def test_we_open_what_libsrtp_seals(self, start: int, payloads: list[bytes]) -> None:
        theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        _, ours = _pair()
        for offset, payload in enumerate(payloads):
            packet = theirs.protect(_header(start + offset) + payload)
            assert ours.unprotect(packet) == payload

    def test_both_ways_across_the_rollover(self) -> None:
        up, down = _libsrtp(pylibsrtp.Policy.SSRC_ANY_OUTBOUND), _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
        sender, receiver = _pair()
        for index in range(0x7F00, 0x1_0100):
            header, payload = _header(index), index.to_bytes(4)
            assert down.unprotect(sender.protect(header, payload)) == header + payload
            assert receiver.unprotect(up.protect(header + payload)) == payload

    def test_reordering_at_the_rollover_as_libsrtp_does(self) -> None:
        sender, receiver = _pair()
        theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
        packets = [(index, sender.protect(_header(index), b"x")) for index in range(0xFFF0, 0x1_0010)]
        order = packets[:12] + packets[20:] + packets[12:20]
        for index, packet in order:
            assert receiver.unprotect(packet) == b"x", index
            assert theirs.unprotect(packet)[12:] == b"x", index

    def test_header_with_csrc_and_extension(self) -> None:
        header = bytes.fromhex("916f0001000000005501a0b2") + b"CSRC" + bytes.fromhex("bede000111223344")
        ours, _ = _pair()
        theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
        assert theirs.unprotect(ours.protect(header, b"voice")) == header + b"voice"


class TestReplay:
    def test_a_packet_opens_once(self) -> None:
        sender, receiver = _pair()
        packet = sender.protect(_header(7), b"once")
        assert receiver.unprotect(packet) == b"once"
        assert receiver.unprotect(packet) is SrtpDrop.REPLAYED

    def test_the_window_is_at_least_64_wide_and_bounded(self) -> None:
        sender, receiver = _pair()
        packets = [sender.protect(_header(index), b"") for index in range(300)]
        assert receiver.unprotect(packets[299]) == b""
        assert all(receiver.unprotect(packets[index]) == b"" for index in range(299 - 64, 299))
        assert receiver.unprotect(packets[10]) is SrtpDrop.REPLAYED

    @settings(max_examples=30, deadline=None)
    @given(st.permutations(range(60)), st.lists(st.integers(0, 59), max_size=20))
    def test_any_order_within_the_window_opens_each_packet_once(
        self, order: list[int], again: list[int]
    ) -> None:
        sender, receiver = _pair()
        packets = [sender.protect(_header(0x7FD0 + index), bytes([index])) for index in range(60)]
        # The first one sets the packet index, as the handshake's header does for a line.
        assert receiver.unprotect(packets[0]) == b"\0"
        for index in order:
            expected = SrtpDrop.REPLAYED if index == 0 else bytes([index])
            assert receiver.unprotect(packets[index]) == expected
        assert all(receiver.unprotect(packets[index]) is SrtpDrop.REPLAYED for index in again)

    def test_a_forged_packet_does_not_move_the_window(self) -> None:
        sender, receiver = _pair()
        packets = [sender.protect(_header(index), b"voice") for index in range(3)]
        far = pack_header(111, 30_000, 0, SSRC) + bytes(40)
        assert receiver.unprotect(packets[0]) == b"voice"
        assert receiver.unprotect(far) is SrtpDrop.NOT_AUTHENTIC
        assert receiver.unprotect(packets[1]) == b"voice"


class TestHostile:
    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_noise_is_dropped_with_a_reason(self, packet: bytes) -> None:
        _, receiver = _pair()
        assert isinstance(receiver.unprotect(packet), SrtpDrop)

    @settings(max_examples=100, deadline=None)
    @given(position=st.integers(0, 12 + 16 + 4), bit=st.integers(0, 7))
    def test_any_flipped_bit_is_noticed(self, position: int, bit: int) -> None:
        sender, receiver = _pair()
        packet = bytearray(sender.protect(_header(1), b"voice"))
        packet[position] ^= 1 << bit
        assert isinstance(receiver.unprotect(bytes(packet)), SrtpDrop)

    def test_an_old_packet_before_the_first_rollover_is_a_replay(self) -> None:
        sender, receiver = _pair()
        assert receiver.unprotect(sender.protect(_header(3), b"")) == b""
        assert receiver.unprotect(pack_header(111, 0xFFF0, 0, SSRC) + bytes(20)) is SrtpDrop.REPLAYED


class TestMisuse:
    def test_a_sequence_number_is_never_used_twice(self) -> None:
        sender, _ = _pair()
        sender.protect(_header(5), b"")
        with pytest.raises(MisuseError):
            sender.protect(_header(5), b"")

    def test_key_sizes(self) -> None:
        with pytest.raises(MisuseError):
            derive_session_keys(bytes(32), bytes(12))
