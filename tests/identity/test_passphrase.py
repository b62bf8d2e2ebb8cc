"""RFC 8265 section 4.2: what is the same passphrase, and what is none."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError
from relay.identity.passphrase import LONGEST, SHORTEST, chosen, prepared

# RFC 8265 section 4.3, table 4: passwords that are legal, and what two of them are compared as.
LEGAL = [
    ("correct horse battery staple", "correct horse battery staple"),
    ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
    ("πßå", "πßå"),
    ("Jack of ♦s", "Jack of ♦s"),
    ("foo\u1680bar", "foo bar"),
]
# Table 5: no passwords.
ILLEGAL = ["", "my cat is a \u0009by"]


@pytest.mark.parametrize(("typed", "meant"), LEGAL)
def test_the_passwords_of_the_rfc(typed: str, meant: str) -> None:
    assert prepared(typed) == meant.encode()


@pytest.mark.parametrize("typed", ILLEGAL)
def test_what_the_rfc_refuses(typed: str) -> None:
    with pytest.raises(MisuseError):
        prepared(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [("caf\u00e9", "cafe\u0301"), ("\u1112\u1161\u11ab", "한"), ("a\u3000b", "a b"), ("\u212b", "å".upper())],
)
def test_one_passphrase_typed_in_two_ways(one: str, other: str) -> None:
    assert prepared(one) == prepared(other)


@pytest.mark.parametrize("typed", ["Secret", "ｓecret", " secret", "secret "])
def test_what_looks_much_the_same_is_another_one(typed: str) -> None:
    assert prepared(typed) != prepared("secret")


@pytest.mark.parametrize(
    "sign",
    [
        "\x00",
        "\x7f",
        "\xad",
        "\u200b",
        "\u200d",
        "\u2028",
        "\u034f",
        "\ufe0f",
        "\ue000",
        "\U000e0041",
        "\uffff",
        "\u1100",
        "·",
    ],
)
def test_what_does_not_show_or_stand_alone_is_refused(sign: str) -> None:
    with pytest.raises(MisuseError, match="do not show"):
        prepared(f"pass{sign}phrase")


@pytest.mark.parametrize("typed", ["l·l", "क्\u200dष", "٠١٢٣"])
def test_what_has_its_place_is_taken(typed: str) -> None:
    assert prepared(typed) == typed.encode()


def test_new_ones_have_a_least_length_in_characters() -> None:
    assert chosen("ä" * SHORTEST)
    with pytest.raises(MisuseError, match="at least 12 characters"):
        chosen("ä" * (SHORTEST - 1))
    with pytest.raises(MisuseError, match="at most"):
        prepared("x" * (LONGEST + 1))


@given(st.text(max_size=40))
def test_whatever_is_typed_is_one_passphrase_or_refused(typed: str) -> None:
    try:
        made = prepared(typed).decode()
    except MisuseError:
        return
    assert prepared(made) == made.encode(), "applied twice it changes nothing"
    assert unicodedata.is_normalized("NFC", made)
