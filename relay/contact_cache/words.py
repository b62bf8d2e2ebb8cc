"""Words as search compares them: without case, accents and punctuation, the same whatever database keeps them.

SQLite and PostgreSQL each fold text in a way of their own (`unicode61`, `unaccent`), by Unicode tables of different
age, so this is done here, and both are given words that they have nothing left to do to.
"""

import unicodedata
from collections.abc import Iterator, Sequence

MOST_TEXT = 256
"""Characters that are looked at; the rest of a longer text is not."""

MOST_WORD = 48
"""Characters of a word; longer ones are cut, in listings and in what is searched alike."""

MOST_WORDS = 8
"""Words of one search; further ones are passed over."""

_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "ŧ": "t",
        "ı": "i",
        "ŋ": "n",
    }
)
"""Letters that Unicode does not take apart, as people without them on their keyboard write them."""

_LAST_KEPT_CLASS = 9
"""Marks of a higher combining class are accents and vowel points; up to this one they make another letter (nukta,
virama, the Japanese sound marks)."""

_ALONE = (
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, for compatibility
    (0x20000, 0x3FFFF),  # Han, other extensions
)
"""Characters that are words of their own: these scripts put no spaces between words."""


def words_of(text: str) -> tuple[str, ...]:
    """The folded words of `text`, in order, repetitions included; they hold letters, digits and marks alone."""
    opened = unicodedata.normalize("NFKD", text[:MOST_TEXT].casefold())
    # Once more: taking apart can bring forth capitals, and folding what has to be taken apart.
    opened = unicodedata.normalize("NFKD", opened.casefold().translate(_LETTERS))
    kept = "".join(c for c in opened if unicodedata.combining(c) <= _LAST_KEPT_CLASS)
    return tuple(_split(unicodedata.normalize("NFC", kept)))


def searched_words(text: str) -> tuple[str, ...]:
    """As `words_of`, each word once and at most `MOST_WORDS`: what a person searches for."""
    return tuple(dict.fromkeys(words_of(text)))[:MOST_WORDS]


def joined_words(texts: Sequence[str]) -> str:
    """The words of all `texts`, with spaces between them."""
    return " ".join(word for text in texts for word in words_of(text))


def _split(text: str) -> Iterator[str]:
    word = ""
    for character in text:
        if _is_alone(character):
            if word:
                yield word
            yield character
            word = ""
        elif character.isalnum() or (word and unicodedata.category(character).startswith("M")):
            if len(word) < MOST_WORD:
                word += character
        elif word:
            yield word
            word = ""
    if word:
        yield word


def _is_alone(character: str) -> bool:
    point = ord(character)
    return point >= 0x3041 and character.isalnum() and any(low <= point <= high for low, high in _ALONE)
