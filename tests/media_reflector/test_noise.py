"""Our Noise against published vectors and against the noiseprotocol library."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from relay.core import PeerError
from relay.media_reflector.noise import PROTOCOL_NAME, NKpsk0Initiator, NKpsk0Responder

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "noise" / "nkpsk0.json").read_text()
)["vector"]
KEYS = st.binary(min_size=32, max_size=32)
PAYLOADS = st.binary(max_size=100)


def _bytes(name: str) -> bytes:
    value = VECTOR[name]
    return bytes.fromhex(value[0] if isinstance(value, list) else value)


def test_published_vector() -> None:
    assert VECTOR["protocol_name"].encode() == PROTOCOL_NAME
    initiator = NKpsk0Initiator(
        _bytes("init_prologue"), _bytes("init_psks"), _bytes("init_remote_static"), _bytes("init_ephemeral")
    )
    static = X25519PrivateKey.from_private_bytes(_bytes("resp_static"))
    responder = NKpsk0Responder(_bytes("resp_prologue"), _bytes("resp_psks"), static)
    payloads = [bytes.fromhex(message["payload"]) for message in VECTOR["messages"]]
    expected = [bytes.fromhex(message["ciphertext"]) for message in VECTOR["messages"]]

    first = initiator.write(payloads[0])
    assert first == expected[0]
    assert responder.read(first) == payloads[0]
    answer = responder.write(payloads[1], _bytes("resp_ephemeral"))
    assert answer == expected[1]
    assert initiator.read(answer) == payloads[1]
    assert initiator.handshake_hash == responder.handshake_hash == _bytes("handshake_hash")

    up, down = initiator.split()
    for index in range(2, len(payloads)):
        assert (up, down)[index % 2].encrypt(b"", payloads[index]) == expected[index]
    up, down = responder.split()
    for index in range(2, len(payloads)):
        assert (up, down)[index % 2].decrypt(b"", expected[index]) == payloads[index]


def _library(psk: bytes, prologue: bytes) -> NoiseConnection:
    connection = NoiseConnection.from_name(PROTOCOL_NAME)
    connection.set_psks(psk)
    connection.set_prologue(prologue)
    return connection


@settings(max_examples=25, deadline=None)
@given(psk=KEYS, static=KEYS, ephemeral=KEYS, prologue=PAYLOADS, first=PAYLOADS, second=PAYLOADS)
def test_as_initiator_against_noiseprotocol(
    psk: bytes, static: bytes, ephemeral: bytes, prologue: bytes, first: bytes, second: bytes
) -> None:
    theirs = _library(psk, prologue)
    theirs.set_as_responder()
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, static)
    theirs.start_handshake()
    public = X25519PrivateKey.from_private_bytes(static).public_key().public_bytes_raw()
    ours = NKpsk0Initiator(prologue, psk, public, ephemeral)
    assert theirs.read_message(ours.write(first)) == first
    assert ours.read(bytes(theirs.write_message(second))) == second
    up, down = ours.split()
    assert theirs.decrypt(up.encrypt(b"", b"up")) == b"up"
    assert down.decrypt(b"", theirs.encrypt(b"down")) == b"down"


@settings(max_examples=25, deadline=None)
@given(psk=KEYS, static=KEYS, ephemeral=KEYS, prologue=PAYLOADS, first=PAYLOADS, second=PAYLOADS)
def test_as_responder_against_noiseprotocol(
    psk: bytes, static: bytes, ephemeral: bytes, prologue: bytes, first: bytes, second: bytes
) -> None:
    key = X25519PrivateKey.from_private_bytes(static)
    theirs = _library(psk, prologue)
    theirs.set_as_initiator()
    theirs.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, key.public_key().public_bytes_raw())
    theirs.start_handshake()
    ours = NKpsk0Responder(prologue, psk, key)
    assert ours.read(bytes(theirs.write_message(first))) == first
    assert theirs.read_message(ours.write(second, ephemeral)) == second
    up, down = ours.split()
    assert up.decrypt(b"", theirs.encrypt(b"up")) == b"up"
    assert theirs.decrypt(down.encrypt(b"", b"down")) == b"down"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=148))
def test_noise_raises_only_the_peers_fault(message: bytes) -> None:
    static = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    with pytest.raises(PeerError):
        NKpsk0Responder(b"", bytes(32), static).read(message)
    initiator = NKpsk0Initiator(b"", bytes(32), static.public_key().public_bytes_raw(), bytes(range(32)))
    with pytest.raises(PeerError):
        initiator.read(message)


def test_a_low_order_key_is_refused() -> None:
    static = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    with pytest.raises(PeerError, match="bad key"):
        NKpsk0Responder(b"", bytes(32), static).read(bytes(32) + bytes(16))


def test_garbage_in_place_of_the_answer_does_not_spend_a_copy() -> None:
    static = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    initiator = NKpsk0Initiator(b"", bytes(32), static.public_key().public_bytes_raw(), bytes(range(32)))
    responder = NKpsk0Responder(b"", bytes(32), static)
    responder.read(initiator.write(b""))
    answer = responder.write(b"yes", bytes(range(1, 33)))
    with pytest.raises(PeerError):
        initiator.copy().read(bytes(range(9, 41)) + bytes(16))
    assert initiator.copy().read(answer) == b"yes"
