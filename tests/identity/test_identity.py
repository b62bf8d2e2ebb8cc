"""Identities: RFC 8032 vectors, agreement in both directions, addresses that are nothing else."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.identity import Identity, format_address, parse_address

# RFC 8032 section 7.1, tests 1 to 3: secret key, public key.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ),
]


@pytest.mark.parametrize(("seed", "public_key"), RFC_8032)
def test_public_key_is_the_rfcs(seed: str, public_key: str) -> None:
    assert Identity.from_seed(bytes.fromhex(seed)).public_key.hex() == public_key


def test_two_identities_share_one_secret_and_a_third_does_not() -> None:
    entropy = SeededEntropy(1)
    alice, bob, eve = (Identity.generate(entropy) for _ in range(3))
    shared = alice.diffie_hellman(bob.public_key)
    assert shared == bob.diffie_hellman(alice.public_key)
    assert len(shared) == 32
    assert shared != eve.diffie_hellman(bob.public_key)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"", bytes(31)])
def test_a_key_of_no_use_is_the_peers_fault(key: bytes) -> None:
    with pytest.raises(PeerError):
        Identity.from_seed(bytes(32)).diffie_hellman(key)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_address_round_trip(key: bytes) -> None:
    address = format_address(key)
    assert len(address) == 56
    assert parse_address(address) == key
    assert parse_address(address.upper() + ".BAYONNE.ALT") == key


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_an_address_is_never_an_onion_name(key: bytes) -> None:
    raw = base64.b32decode(format_address(key).upper())
    # rend-spec-v3 section 6: onion_address = base32(PUBKEY | CHECKSUM | VERSION), VERSION = 3
    tor_checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    assert raw[34] != 3
    onion = base64.b32encode(key + tor_checksum + b"\x03").decode().lower()
    with pytest.raises(PeerError):
        parse_address(onion)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_parsing_any_text_raises_only_peer_error(text: str) -> None:
    with pytest.raises(PeerError):
        parse_address(text)


def test_every_wrong_character_is_noticed() -> None:
    address = Identity.from_seed(bytes(32)).address
    for position in range(56):
        other = "b" if address[position] == "a" else "a"
        with pytest.raises(PeerError):
            parse_address(address[:position] + other + address[position + 1 :])


def test_nothing_secret_in_the_representation() -> None:
    identity = Identity.generate(SeededEntropy(2))
    assert repr(identity) == "Identity()"
    assert identity.sip_uri("alice") == f"sip:alice@{identity.address}.bayonne.alt"


def test_wrong_sizes_are_our_misuse() -> None:
    with pytest.raises(MisuseError):
        Identity.from_seed(bytes(31))
    with pytest.raises(MisuseError):
        format_address(bytes(33))
