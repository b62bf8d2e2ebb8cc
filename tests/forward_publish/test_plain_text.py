"""Text that others read: visible, one line, in its own direction."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.forward_publish.plain_text import is_language, is_plain


@pytest.mark.parametrize(
    "text", ["Alice", "Алиса", "アリス 2", "أليس", "می\u200cخواهم", "O’Neill & Co.", "a" * 48, "é" * 24]
)
def test_names_of_the_world_are_plain(text: str) -> None:
    assert is_plain(text, 48)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", " Alice", "Alice ", "Alice  Tower", "a" * 49, "é" * 25, "Ali\nce", "Ali\x00ce", "Ali\x7fce", "\x85",
        "Ali\u202ece", "Ali\u2066ce", "Ali\u200fce", "Ali\u061cce", "Ali\u200bce", "\u3164", "\u2800", "Ali\u00a0ce",
        "Ali\u2028ce", "\ufeffAlice", "Ali\ufffece", "Ali\udc80ce", "Ali\U000e0041ce", "Ali\u00adce",
    ],
)  # fmt: skip
def test_what_cannot_be_seen_or_turns_a_line_is_not(text: str) -> None:
    assert not is_plain(text, 48)


@given(st.text(max_size=60))
def test_what_is_plain_can_be_encoded_and_has_no_control(text: str) -> None:
    if is_plain(text, 48, least=0):
        assert len(text.encode()) <= 48
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Zl", "Zp", "Cs"}
        assert not {unicodedata.bidirectional(character) for character in text} & {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        }  # fmt: skip


def test_nothing_is_plain_only_where_nothing_is_allowed() -> None:
    assert is_plain("", 48, least=0)
    assert not is_plain("", 48)


def test_languages() -> None:
    assert all(map(is_language, ["de", "pt-BR", "zh-Hant", "fil", "es-419", "ca-1990"]))
    assert not any(
        map(is_language, ["", "d", "DE", "klingonese", "zh-Hant-TW", "de-", "-de", "de\n", "de_DE", "dé"])
    )
