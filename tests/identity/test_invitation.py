"""Invitations: a codec that says one thing in one way."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.identity import Identity, Invitation

onions = st.binary(min_size=35, max_size=35).map(lambda raw: base64.b32encode(raw).decode().lower())
keys = st.binary(min_size=32, max_size=32)
invitations = st.builds(Invitation, keys, keys, st.lists(onions, min_size=1, max_size=8).map(tuple))


@given(invitations)
def test_round_trip_in_any_case(invitation: Invitation) -> None:
    text = invitation.format()
    assert text.startswith("bayonne:")
    assert Invitation.parse(text) == invitation
    assert Invitation.parse(f" {text.upper()}\n") == invitation


@given(
    st.one_of(
        st.text(max_size=100),
        st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=300).map("bayonne:".__add__),
    )
)
def test_any_text_raises_only_peer_error(text: str) -> None:
    with pytest.raises(PeerError):
        Invitation.parse(text)


def test_every_changed_character_is_noticed() -> None:
    entropy = SeededEntropy(3)
    text = Invitation.generate(Identity.generate(entropy).public_key, ("a" * 56,), entropy).format()
    for position in range(8, len(text)):
        other = "b" if text[position] == "a" else "a"
        with pytest.raises(PeerError):
            Invitation.parse(text[:position] + other + text[position + 1 :])
        with pytest.raises(PeerError):
            Invitation.parse(text[:position])


def test_limits() -> None:
    with pytest.raises(PeerError):
        Invitation.parse("bayonne:" + "a" * 2000)
    for points in ((), ("a" * 56,) * 9, ("a" * 55,), ("1" * 56,)):
        with pytest.raises(MisuseError):
            Invitation(bytes(32), bytes(32), points).format()


def test_nothing_secret_in_the_representation() -> None:
    assert repr(Invitation(bytes(32), bytes(32), ("a" * 56,))) == "Invitation()"
