"""Blinded keys: Tor's own vectors, stem, arithmetic from a textbook, and what must not hold."""

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from stem.descriptor import hidden_service

from relay.core import MisuseError, PeerError
from relay.identity import Identity, blind_public_key
from relay.identity.blinding import BlindedKey, ExpandedKey, blind, blinding_factor

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ed25519_blinding" / "tor.json").read_text())[
    "vectors"
]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
IDENTITY: Point = (0, 1)
TOR_PREFIX = b"Derive temporary signing key hash input"
secrets = st.binary(min_size=32, max_size=32)
periods = st.integers(0, 2**40)


def add(one: Point, other: Point) -> Point:
    """RFC 7748 section 4.1's edwards25519, in affine coordinates, as in a textbook."""
    (x1, y1), (x2, y2) = one, other
    t = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, P)
    return x % P, y % P


def times(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def decoded(data: bytes) -> Point:
    y = int.from_bytes(data, "little") & (1 << 255) - 1
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - xx) % P == 0
    return (P - x if x & 1 != data[31] >> 7 else x), y


def encoded(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def clamped(factor: bytes) -> int:
    return int.from_bytes(factor, "little") & ((1 << 254) - 8) | 1 << 254


def factor_by_hand(public_key: bytes, secret: bytes, period: int) -> bytes:
    """rend-spec-v3 appendix A.2, with our domain; B's coordinates are computed, not copied."""
    x, y = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    base = f"({x}, {y})".encode()
    number = b"key-blind" + period.to_bytes(8, "big") + (86400).to_bytes(8, "big")
    domain = b"bayonne blinding factor, version 1\0"
    return hashlib.sha3_256(domain + public_key + secret + base + number).digest()


def as_tor_blinds(seed: bytes, factor: bytes) -> ExpandedKey:
    """With Tor's own label for the prefix: which one a blinded key has is for its owner to choose."""
    expanded = ExpandedKey.of_seed(seed)
    return expanded.blinded(factor, hashlib.sha512(TOR_PREFIX + expanded.prefix).digest()[:32])


@pytest.mark.parametrize("vector", VECTORS)
def test_as_tor_blinds(vector: dict[str, str]) -> None:
    given = {name: bytes.fromhex(value) for name, value in vector.items()}
    expanded = ExpandedKey.of_seed(given["seed"])
    assert expanded.scalar + expanded.prefix == given["expanded_secret"]
    assert expanded.public == given["public"]
    assert expanded.sign(given["public"], given["public"]) == given["self_signature"]
    assert blind(given["public"], given["factor"]) == given["blinded_public"]
    private = as_tor_blinds(given["seed"], given["factor"])
    assert private.scalar + private.prefix == given["blinded_secret"]
    assert private.public == given["blinded_public"]


def test_all_of_tors_vectors_are_there() -> None:
    assert len(VECTORS) == 10


@settings(max_examples=10, deadline=None)
@given(secrets, secrets, st.binary(max_size=100))
def test_as_stem_blinds_and_signs(seed: bytes, factor: bytes, message: bytes) -> None:
    identity = Ed25519PrivateKey.from_private_bytes(seed)
    public = blind(identity.public_key().public_bytes_raw(), factor)
    assert public == hidden_service._blinded_pubkey(identity, factor)
    theirs = hidden_service._blinded_sign(message, identity, public, factor)
    assert as_tor_blinds(seed, factor).sign(message, public) == theirs


@settings(max_examples=20, deadline=None)
@given(secrets, secrets, periods)
def test_as_independent_arithmetic_has_it(seed: bytes, secret: bytes, period: int) -> None:
    me = Identity.from_seed(seed)
    factor = factor_by_hand(me.public_key, secret, period)
    assert blinding_factor(me.public_key, secret, period) == factor
    expected = encoded(times(clamped(factor), decoded(me.public_key)))
    # What others find and what the owner has are one key.
    assert blind_public_key(me.public_key, secret, period) == expected == me.blinded(secret, period).public
    scalar = clamped(hashlib.sha512(seed).digest()[:32])
    private = me.blinded(secret, period)._private
    assert private.scalar == (scalar * clamped(factor) % L).to_bytes(32, "little")
    assert private.public == expected


@settings(max_examples=30, deadline=None)
@given(secrets, secrets, periods, st.binary(max_size=200), st.integers(0, 511))
def test_what_it_signs_is_an_ordinary_signature(
    seed: bytes, secret: bytes, period: int, message: bytes, flip: int
) -> None:
    key = Identity.from_seed(seed).blinded(secret, period)
    public, signature = Ed25519PublicKey.from_public_bytes(key.public), key.sign(message)
    public.verify(signature, message)
    assert key.sign(message) == signature
    damaged = bytearray(signature)
    damaged[flip // 8] ^= 1 << flip % 8
    with pytest.raises(InvalidSignature):
        public.verify(bytes(damaged), message)
    with pytest.raises(InvalidSignature):
        public.verify(signature, message + b"\0")


def test_every_part_makes_another_key() -> None:
    me, other = Identity.from_seed(bytes(32)), Identity.from_seed(bytes([1] * 32))
    keys = [
        one.blinded(secret, period).public
        for one in (me, other)
        for secret in (b"a" * 32, b"b" * 32)
        for period in (1, 2)
    ]
    assert len({*keys, me.public_key, other.public_key}) == 10
    prefixes = {me.blinded(b"a" * 32, period)._private.prefix for period in range(10)}
    assert len(prefixes) == 10


def test_nothing_of_it_shows_a_key() -> None:
    key = Identity.from_seed(bytes(32)).blinded(bytes(32), 0)
    assert key.public.hex() not in repr(key)
    assert repr(key._private.scalar) not in repr(key)


ORDER_EIGHT = decoded(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
SMALL_ORDER = [encoded(times(number, ORDER_EIGHT)) for number in range(8)]
NOT_CANONICAL = [
    *((y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)),
    *((y | 1 << 255).to_bytes(32, "little") for y in (1, P - 1)),  # x is 0, and said to be odd
]
NOT_ON_THE_CURVE = (2).to_bytes(32, "little")


def test_the_points_of_small_order_are_all_there() -> None:
    assert len(set(SMALL_ORDER)) == 8
    assert times(8, ORDER_EIGHT) == IDENTITY
    assert len(NOT_CANONICAL) == 40


@pytest.mark.parametrize(
    "public", [*SMALL_ORDER, *NOT_CANONICAL, NOT_ON_THE_CURVE, b"", b"x" * 31, b"x" * 33], ids=bytes.hex
)
def test_a_key_of_no_use_is_refused(public: bytes) -> None:
    with pytest.raises(PeerError):
        blind_public_key(public, bytes(32), 0)
    with pytest.raises(PeerError):
        blind(public, bytes(32))


@pytest.mark.parametrize("number", range(1, 8))
def test_a_key_with_a_part_of_small_order_is_refused(number: int) -> None:
    good = decoded(Identity.from_seed(bytes(32)).public_key)
    with pytest.raises(PeerError):
        blind_public_key(encoded(add(good, times(number, ORDER_EIGHT))), bytes(32), 0)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_key_or_a_peers_fault(public: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert len(blind_public_key(public, bytes(32), 0)) == 32


def test_misuse_is_told() -> None:
    with pytest.raises(MisuseError):
        BlindedKey.derive(bytes(32), Identity.from_seed(bytes(32)).public_key, b"short", 0)
    with pytest.raises(MisuseError):
        blinding_factor(bytes(32), bytes(32), -1)
