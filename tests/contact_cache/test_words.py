"""Words without case, accents and punctuation."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contact_cache.words import MOST_TEXT, MOST_WORD, MOST_WORDS, joined_words, searched_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna-Lena  O'Neill", ("anna", "lena", "o", "neill")),
        ("Zoë Jović, Łódź", ("zoe", "jovic", "lodz")),
        ("STRASSE straße", ("strasse", "strasse")),
        ("Ærø Þór", ("aero", "thor")),
        ("İstanbul ISTANBUL ıstanbul", ("istanbul", "istanbul", "istanbul")),
        ("Ελλάδα", ("ελλαδα",)),
        ("Ёлка", ("елка",)),
        ("שָׁלוֹם", ("שלום",)),
        ("مُحَمَّد", ("محمد",)),
        ("हिन्दी", ("हिन्दी",)),
        ("记者 Tokyo東京", ("记", "者", "tokyo", "東", "京")),
        ("한국어", ("한국어",)),
        ("pt-BR 4.5e10", ("pt", "br", "4", "5e10")),
        ("ｆｕｌｌ ﬁnd", ("full", "find")),
        ("* \" ' ( ) : ^ - + & | ! \\ \0 \ud800", ()),
    ],
)
def test_what_people_write_otherwise_is_one_word(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


def test_all_is_bounded() -> None:
    assert words_of("x" * 1000) == ("x" * MOST_WORD,)
    assert len(words_of("a " * 10_000)) == MOST_TEXT // 2
    assert searched_words(" ".join("abcdefghijklm")) == tuple("abcdefgh")
    assert len(searched_words("abcdefghijklm")) == 1 < MOST_WORDS
    assert searched_words("a b A á b") == ("a", "b")
    assert joined_words(["One two", "", "three"]) == "one two three"


@given(st.text())
def test_words_hold_nothing_that_a_query_language_could_take_for_its_own(text: str) -> None:
    for word in words_of(text):
        assert 1 <= len(word) <= MOST_WORD
        assert word[0].isalnum()
        assert all(c.isalnum() or unicodedata.category(c).startswith("M") for c in word)
        word.encode()


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    once = words_of(text)
    assert words_of(" ".join(once))[: len(once)] == once


@given(st.text(max_size=20))
def test_case_does_not_matter(text: str) -> None:
    assert words_of(text.swapcase().casefold()) == words_of(text.casefold())
