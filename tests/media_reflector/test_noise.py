"""Our Noise against published vectors and against the noiseprotocol library, for both patterns and in both roles."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from relay.core import PeerError
from relay.media_reflector.noise import (
    KK,
    NK,
    CipherState,
    Initiator,
    Pattern,
    Responder,
    read_public_key,
    shared_secret,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "noise"
PATTERNS = {"nkpsk0.json": NK, "kkpsk0.json": KK}
KEYS = st.binary(min_size=32, max_size=32)
PAYLOADS = st.binary(max_size=100)
BOTH = pytest.mark.parametrize("pattern", [NK, KK], ids=["NK", "KK"])


def _key(data: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(data)


def _public(private: bytes) -> bytes:
    return _key(private).public_key().public_bytes_raw()


def _initiator(pattern: Pattern, prologue: bytes, psk: bytes, ours: bytes, theirs: bytes) -> Initiator:
    """`ours` is our private key, `theirs` the responder's public one."""
    static = _key(ours) if pattern.initiator_known else None
    start = pattern.start(prologue, _public(ours), theirs)
    return Initiator(pattern, start, psk, static, read_public_key(theirs))


def _responder(pattern: Pattern, prologue: bytes, psk: bytes, ours: bytes, theirs: bytes) -> Responder:
    """`ours` is our private key, `theirs` the initiator's public one."""
    remote = read_public_key(theirs) if pattern.initiator_known else None
    return Responder(pattern, pattern.start(prologue, theirs, _public(ours)), psk, _key(ours), remote)


@pytest.mark.parametrize("name", PATTERNS)
def test_published_vector(name: str) -> None:
    vector: dict[str, Any] = json.loads((VECTORS / name).read_text())["vector"]
    pattern = PATTERNS[name]
    assert vector["protocol_name"].encode() == pattern.name

    def value(key: str) -> bytes:
        found = vector.get(key, "00" * 32)
        return bytes.fromhex(found[0] if isinstance(found, list) else found)

    initiator = _initiator(
        pattern,
        value("init_prologue"),
        value("init_psks"),
        value("init_static"),
        value("init_remote_static"),
    )
    responder = _responder(
        pattern,
        value("resp_prologue"),
        value("resp_psks"),
        value("resp_static"),
        value("resp_remote_static"),
    )
    payloads = [bytes.fromhex(message["payload"]) for message in vector["messages"]]
    expected = [bytes.fromhex(message["ciphertext"]) for message in vector["messages"]]

    first = initiator.write(payloads[0], value("init_ephemeral"))
    assert first == expected[0]
    assert responder.read(first) == payloads[0]
    answer = responder.write(payloads[1], value("resp_ephemeral"))
    assert answer == expected[1]
    assert initiator.read(answer) == payloads[1]
    assert initiator.handshake_hash == responder.handshake_hash == value("handshake_hash")

    ciphers = [CipherState(key) for key in initiator.split()]
    for index in range(2, len(payloads)):
        assert ciphers[index % 2].encrypt(b"", payloads[index]) == expected[index]
    ciphers = [CipherState(key) for key in responder.split()]
    for index in range(2, len(payloads)):
        assert ciphers[index % 2].decrypt(b"", expected[index]) == payloads[index]


def _library(pattern: Pattern, psk: bytes, prologue: bytes) -> NoiseConnection:
    connection = NoiseConnection.from_name(pattern.name)
    connection.set_psks(psk)
    connection.set_prologue(prologue)
    return connection


@BOTH
@settings(max_examples=25, deadline=None)
@given(psk=KEYS, one=KEYS, other=KEYS, ephemeral=KEYS, prologue=PAYLOADS, first=PAYLOADS, second=PAYLOADS)
def test_as_initiator_against_noiseprotocol(
    pattern: Pattern,
    psk: bytes,
    one: bytes,
    other: bytes,
    ephemeral: bytes,
    prologue: bytes,
    first: bytes,
    second: bytes,
) -> None:
    theirs = _library(pattern, psk, prologue)
    theirs.set_as_responder()
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, other)
    if pattern.initiator_known:
        theirs.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, _public(one))
    theirs.start_handshake()
    ours = _initiator(pattern, prologue, psk, one, _public(other))
    assert theirs.read_message(ours.write(first, ephemeral)) == first
    assert ours.read(bytes(theirs.write_message(second))) == second
    up, down = (CipherState(key) for key in ours.split())
    assert theirs.decrypt(up.encrypt(b"", b"up")) == b"up"
    assert down.decrypt(b"", theirs.encrypt(b"down")) == b"down"


@BOTH
@settings(max_examples=25, deadline=None)
@given(psk=KEYS, one=KEYS, other=KEYS, ephemeral=KEYS, prologue=PAYLOADS, first=PAYLOADS, second=PAYLOADS)
def test_as_responder_against_noiseprotocol(
    pattern: Pattern,
    psk: bytes,
    one: bytes,
    other: bytes,
    ephemeral: bytes,
    prologue: bytes,
    first: bytes,
    second: bytes,
) -> None:
    theirs = _library(pattern, psk, prologue)
    theirs.set_as_initiator()
    theirs.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, _public(other))
    if pattern.initiator_known:
        theirs.set_keypair_from_private_bytes(Keypair.STATIC, one)
    theirs.start_handshake()
    ours = _responder(pattern, prologue, psk, other, _public(one))
    assert ours.read(bytes(theirs.write_message(first))) == first
    assert theirs.read_message(ours.write(second, ephemeral)) == second
    up, down = (CipherState(key) for key in ours.split())
    assert up.decrypt(b"", theirs.encrypt(b"up")) == b"up"
    assert theirs.decrypt(down.encrypt(b"", b"down")) == b"down"


ONE, OTHER = bytes(range(32)), bytes(range(32, 64))


@BOTH
@settings(max_examples=100, deadline=None)
@given(message=st.binary(max_size=148))
def test_noise_raises_only_the_peers_fault(pattern: Pattern, message: bytes) -> None:
    with pytest.raises(PeerError):
        _responder(pattern, b"", bytes(32), ONE, _public(OTHER)).read(message)
    initiator = _initiator(pattern, b"", bytes(32), OTHER, _public(ONE))
    initiator.write(b"", bytes(range(7, 39)))
    with pytest.raises(PeerError):
        initiator.read(message)


@BOTH
def test_a_low_order_key_is_refused(pattern: Pattern) -> None:
    with pytest.raises(PeerError, match="bad key"):
        _responder(pattern, b"", bytes(32), ONE, _public(OTHER)).read(bytes(32) + bytes(16))


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(PeerError, match="bad key"):
        read_public_key(bytes(31))
    with pytest.raises(PeerError, match="bad key"):
        shared_secret(_key(ONE), read_public_key(bytes(32)))


@BOTH
def test_garbage_in_place_of_the_answer_does_not_spend_a_copy(pattern: Pattern) -> None:
    initiator = _initiator(pattern, b"", bytes(32), OTHER, _public(ONE))
    responder = _responder(pattern, b"", bytes(32), ONE, _public(OTHER))
    responder.read(initiator.write(b"", bytes(range(7, 39))))
    answer = responder.write(b"yes", bytes(range(1, 33)))
    with pytest.raises(PeerError):
        initiator.copy().read(bytes(range(9, 41)) + bytes(16))
    assert initiator.copy().read(answer) == b"yes"


def test_with_kk_the_initiator_must_be_the_one_that_was_expected() -> None:
    impostor = _initiator(KK, b"", bytes(32), bytes(range(64, 96)), _public(ONE))
    responder = _responder(KK, b"", bytes(32), ONE, _public(OTHER))
    with pytest.raises(PeerError, match="not authentic"):
        responder.read(impostor.write(b"", bytes(range(7, 39))))
