"""Tokens: bound by their own key, to one nonce, at one contact point."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import NONCE_SIZE, TokenKey, is_token, token_bytes, token_of, token_text
from relay.forward_publish.binding_text import (
    format_challenge,
    format_credentials,
    parse_challenge,
    parse_credentials,
)

ONION = "a" * 56
KEY = TokenKey.generate(SeededEntropy("token"))
NONCE = SeededEntropy("nonce").token(NONCE_SIZE)


def test_a_token_is_the_hash_of_its_key() -> None:
    assert len(KEY.token) == 52
    assert is_token(KEY.token)
    assert token_of(KEY.answer(NONCE, ONION).public_key) == KEY.token
    assert TokenKey.from_seed(KEY.seed) == KEY
    assert repr(KEY) == "TokenKey()"
    with pytest.raises(MisuseError):
        TokenKey.from_seed(b"")


def test_a_binding_is_good_for_one_nonce_at_one_contact_point_and_one_token() -> None:
    binding = KEY.answer(NONCE, ONION)
    binding.verify(ONION)
    other = TokenKey.generate(SeededEntropy("other"))
    wrong = [
        (replace(binding, nonce=bytes(NONCE_SIZE)), ONION),
        (binding, "b" * 56),
        (replace(binding, token=other.token), ONION),
        (replace(binding, public_key=other.answer(NONCE, ONION).public_key), ONION),
        (replace(binding, signature=bytes(64)), ONION),
        (replace(binding, signature=b""), ONION),
        (replace(binding, nonce=b""), ONION),
    ]
    for forged, onion in wrong:
        with pytest.raises(PeerError):
            forged.verify(onion)


@given(st.binary(min_size=32, max_size=32))
def test_text_round_trip(nonce: bytes) -> None:
    assert parse_challenge(format_challenge(nonce)) == nonce
    binding = KEY.answer(nonce, ONION)
    assert parse_credentials(format_credentials(binding), KEY.token) == binding


@given(st.text(max_size=60), st.text('ABab01-_="', max_size=90))
def test_any_text_raises_only_peer_error(text: str, value: str) -> None:
    for candidate in (
        text,
        f'Bayonne-Token nonce="{value}"',
        f'Bayonne-Token key="{value}", nonce="", signature=""',
    ):
        with pytest.raises(PeerError):
            parse_credentials(candidate, KEY.token)
    with pytest.raises(PeerError):
        parse_challenge(text)


def test_one_way_of_writing_only() -> None:
    text = format_challenge(NONCE)
    last = text[-2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    neighbour = alphabet[alphabet.index(last) ^ 1]  # differs in bits that carry nothing
    with pytest.raises(PeerError):
        parse_challenge(text[:-2] + neighbour + '"')


@pytest.mark.parametrize("text", ["", "a" * 51, "A" * 52, "1" * 52, "a" * 51 + "é"])
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text)


@given(st.binary(min_size=32, max_size=32))
def test_a_token_is_text_in_a_uri_and_bytes_in_a_record(raw: bytes) -> None:
    token = token_text(raw)
    assert is_token(token)
    assert token_bytes(token) == raw


def test_there_is_one_way_to_write_a_token() -> None:
    token = token_text(bytes(32))
    for wrong in ("", token[:-1], token + "a", token.upper(), token[:-1] + "b", "1" * 52, "\u0131" * 52):
        with pytest.raises(PeerError, match="bad token"):
            token_bytes(wrong)
    with pytest.raises(MisuseError):
        token_text(bytes(31))
