"""Descriptor and reference: signed, current, of the reflector that was asked for, and nothing else."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.media_reflector import ANSWER_SIZE, Descriptor, ReflectorKeys, ReflectorReference
from relay.media_reflector.descriptor import (
    CLOCK_SKEW,
    DESCRIPTOR_LIMIT,
    MAX_TRUNKS,
    MOST_CAPACITY,
    MOST_SLOTS,
    VALIDITY,
    rounded_capacity,
    sign_descriptor,
    verify_descriptor,
)

ONION = "a" * 56
WALL = 1_800_000_000.0
KEYS = ReflectorKeys.generate(SeededEntropy("keys"))
ADDRESSES = [("192.0.2.1", 7210), ("2001:db8::1", 7211)]
SIGNED = KEYS.signed_descriptor(ONION, ADDRESSES, WALL, capacity=1234)
REFERENCE = ReflectorReference(ONION, KEYS.public_identity)
OTHER = ReflectorReference("b" * 56, bytes(range(32)))
HOUR = WALL // 3600 * 3600


def _changed(**fields: Any) -> bytes:
    descriptor = verify_descriptor(SIGNED, REFERENCE, WALL)
    return sign_descriptor(msgspec.structs.replace(descriptor, **fields), KEYS.identity_key)


def test_a_signed_descriptor_verifies() -> None:
    descriptor = verify_descriptor(SIGNED, REFERENCE, WALL)
    assert isinstance(descriptor, Descriptor)
    assert descriptor.reference == REFERENCE
    assert descriptor.takes_lines


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
        ({"version": 1}, "version"),
        ({"profile": "video"}, "profile"),
        ({"onion": "b" * 56}, "another reflector"),
        ({"static_key": bytes(31)}, "key"),
        ({"kem_key": bytes(1215)}, "key"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": 1234}, "capacity"),
        ({"capacity": 1_100_000}, "capacity"),
        ({"occupancy": 5}, "occupancy"),
        ({"occupancy": -1}, "occupancy"),
        ({"trunks": ((bytes(31), 10),)}, "trunks"),
        ({"trunks": ((bytes(32), 0),)}, "trunks"),
        ({"trunks": ((bytes(32), 100_001),)}, "trunks"),
        ({"trunks": ((bytes(32), 10), (bytes(32), 20))}, "trunks"),
        ({"trunks": ((KEYS.public_identity, 10),)}, "trunks"),
        ({"trunks": tuple((bytes([number]) * 32, 1) for number in range(17))}, "trunks"),
        ({"backup": "bayonne-reflector:x/y"}, "backup"),
        ({"backup": f" {OTHER}"}, "backup"),
        ({"backup": str(REFERENCE)}, "backup"),
        ({"addresses": ()}, "address"),
        ({"addresses": (("192.0.2.1", 0),)}, "address"),
        ({"addresses": (("192.0.2.1", 65536),)}, "address"),
        ({"addresses": (("192.0.2.1", 1), ("192.0.2.2", 1))}, "address"),
        ({"addresses": (("2001:db8::1", 1), ("2001:db8::2", 1))}, "address"),
        ({"addresses": (("2001:db8::1", 1), ("192.0.2.1", 1))}, "address"),
    ],
)
def test_what_is_wrong_though_signed_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        verify_descriptor(_changed(**fields), REFERENCE, WALL)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "reflector.example",
        "192.0.2.1 ",
        "192.0.2.01",
        "3221225985",
        "0.0.0.0",
        "255.255.255.255",
        "240.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "::",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "2001:db8::1%1",
        "2001:db8:0::1",
        "2001:DB8::1",
        "::ffff:192.0.2.1",
        "::ffff:c000:201",
        "::ffff:239.1.2.3",
        "::ffff:0.0.0.0",
    ],
)
def test_cells_go_to_one_machine_and_its_address_is_written_in_one_way(host: str) -> None:
    for addresses in (((host, 7210),), (("192.0.2.1", 7210), (host, 7210))):
        with pytest.raises(PeerError, match="address"):
            verify_descriptor(_changed(addresses=addresses), REFERENCE, WALL)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "2001:db8::1", "::1", "fd00::5"])
def test_addresses_of_one_machine(host: str) -> None:
    addresses = ((host, 7210),)
    assert verify_descriptor(_changed(addresses=addresses), REFERENCE, WALL).addresses == addresses


def test_the_address_is_chosen_by_ip_version() -> None:
    both = verify_descriptor(SIGNED, REFERENCE, WALL)
    assert both.address_for(4, 6) == both.address_for(4) == ADDRESSES[0]
    assert both.address_for(6, 4) == both.address_for(6) == ADDRESSES[1]
    old = verify_descriptor(_changed(addresses=(ADDRESSES[0],)), REFERENCE, WALL)
    assert old.address_for(6, 4) == ADDRESSES[0]
    assert old.address_for(6) is None


@pytest.mark.parametrize(
    ("fields", "takes"),
    [({"draining": True}, False), ({"occupancy": 4}, False), ({"occupancy": 3}, True)],
)
def test_drained_or_full_ones_take_no_lines(fields: dict[str, Any], takes: bool) -> None:
    assert verify_descriptor(_changed(**fields), REFERENCE, WALL).takes_lines is takes


@pytest.mark.parametrize(
    ("lines", "told"), [(2, 2), (99, 99), (100, 100), (1234, 1200), (10_999, 10_000), (99_999, 99_000)]
)
def test_capacities_are_rounded_down_to_two_digits(lines: int, told: int) -> None:
    assert rounded_capacity(lines) == told == rounded_capacity(told)


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
    assert KEYS.signed_descriptor(ONION, ADDRESSES, HOUR + 1, capacity=100) == KEYS.signed_descriptor(
        ONION, ADDRESSES, HOUR + 3599, capacity=100
    )


def test_the_largest_descriptor_fits_its_limit_and_an_answer() -> None:
    trunks = [(bytes([number]) * 32, MOST_SLOTS) for number in range(MAX_TRUNKS)]
    longest = [("203.113.113.113", 65535), ("2001:db8:1111:1111:1111:1111:1111:1111", 65535)]
    signed = KEYS.signed_descriptor(
        ONION, longest, WALL, capacity=MOST_CAPACITY, trunks=trunks, backup=str(OTHER)
    )
    assert len(signed) <= DESCRIPTOR_LIMIT < ANSWER_SIZE
    assert len(verify_descriptor(signed, REFERENCE, WALL).trunks) == MAX_TRUNKS
