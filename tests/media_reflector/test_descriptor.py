"""Descriptor and reference: signed, current, of the reflector that was asked for, and nothing else."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.media_reflector import Descriptor, ReflectorKeys, ReflectorReference
from relay.media_reflector.descriptor import CLOCK_SKEW, VALIDITY, sign_descriptor, verify_descriptor

ONION = "a" * 56
WALL = 1_800_000_000.0
KEYS = ReflectorKeys.generate(SeededEntropy("keys"))
SIGNED = KEYS.signed_descriptor(ONION, "192.0.2.1", 7210, WALL)
REFERENCE = ReflectorReference(ONION, KEYS.public_identity)
HOUR = WALL // 3600 * 3600


def _changed(**fields: Any) -> bytes:
    descriptor = verify_descriptor(SIGNED, REFERENCE, WALL)
    return sign_descriptor(msgspec.structs.replace(descriptor, **fields), KEYS.identity_key)


def test_a_signed_descriptor_verifies() -> None:
    descriptor = verify_descriptor(SIGNED, REFERENCE, WALL)
    assert isinstance(descriptor, Descriptor)
    assert (descriptor.udp_host, descriptor.udp_port) == ("192.0.2.1", 7210)
    assert descriptor.reference == REFERENCE


@pytest.mark.parametrize("wall", [HOUR - CLOCK_SKEW, HOUR + VALIDITY + CLOCK_SKEW])
def test_clock_skew_is_survived(wall: float) -> None:
    verify_descriptor(SIGNED, REFERENCE, wall)


@pytest.mark.parametrize("wall", [HOUR - CLOCK_SKEW - 1, HOUR + VALIDITY + CLOCK_SKEW + 1])
def test_out_of_date(wall: float) -> None:
    with pytest.raises(PeerError, match="out of date"):
        verify_descriptor(SIGNED, REFERENCE, wall)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 2}, "version"),
        ({"profile": "video"}, "profile"),
        ({"onion": "b" * 56}, "another reflector"),
        ({"static_key": bytes(31)}, "key"),
        ({"kem_key": bytes(1215)}, "key"),
        ({"udp_port": 0}, "address"),
        ({"udp_port": 65536}, "address"),
        ({"udp_host": "reflector.example"}, "address"),
        ({"udp_host": ""}, "address"),
        ({"udp_host": "fe80::1%eth0"}, "address"),
        ({"udp_host": "0.0.0.0"}, "address"),
        ({"udp_host": "::"}, "address"),
        ({"udp_host": "::ffff:0.0.0.0"}, "address"),
        ({"udp_host": "224.0.0.1"}, "address"),
        ({"udp_host": "ff02::1"}, "address"),
        ({"udp_host": "::ffff:239.1.2.3"}, "address"),
        ({"udp_host": "255.255.255.255"}, "address"),
    ],
)
def test_what_is_wrong_though_signed_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        verify_descriptor(_changed(**fields), REFERENCE, WALL)


@pytest.mark.parametrize("host", ["127.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_addresses_of_one_machine(host: str) -> None:
    assert verify_descriptor(_changed(udp_host=host), REFERENCE, WALL).udp_host == host


def test_signed_by_somebody_else() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    forged = sign_descriptor(verify_descriptor(SIGNED, REFERENCE, WALL), other)
    with pytest.raises(PeerError, match="signature"):
        verify_descriptor(forged, REFERENCE, WALL)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(SIGNED) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    damaged = bytearray(SIGNED)
    damaged[position] ^= 1 << bit
    with pytest.raises(PeerError):
        verify_descriptor(bytes(damaged), REFERENCE, WALL)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_noise_raises_only_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        verify_descriptor(data, REFERENCE, WALL)


@given(
    st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=56, max_size=56), st.binary(min_size=32, max_size=32)
)
def test_references_round_trip(onion: str, identity: bytes) -> None:
    reference = ReflectorReference(onion, identity)
    assert ReflectorReference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bayonne-reflector:",
        str(REFERENCE)[:-1],
        str(REFERENCE)[:-1] + "b",
        str(REFERENCE) + "a",
        str(REFERENCE).upper(),
        str(REFERENCE).replace("/", "."),
        "x" + str(REFERENCE),
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(MisuseError):
        ReflectorReference.parse(text)


def test_a_descriptor_does_not_say_when_it_was_made() -> None:
    assert KEYS.signed_descriptor(ONION, "192.0.2.1", 7210, HOUR + 1) == KEYS.signed_descriptor(
        ONION, "192.0.2.1", 7210, HOUR + 3599
    )
