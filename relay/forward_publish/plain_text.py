"""Which text people may write where others read it: one line of visible characters, and language tags.

The rule is a list of code points and asks no table of the Unicode version that happens to be installed: all contact
points must judge alike, today's and later ones.
"""

import re

MOST_LANGUAGE = 8
"""Characters of a language tag."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,5})*")

_UNWANTED = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls
    "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"  # spaces that are not the one
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2800\u3164\uffa0"  # nothing to be seen
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029"  # ends of lines
    "\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\uffff"  # formats and what is no character
    "\ud800-\udfff"  # halves of pairs
    "\U000e0000-\U000e0fff"  # tags
    "]"
)
"""The two joiners U+200C and U+200D are wanted: Persian and the scripts of India are not written without them."""


def is_plain(text: str, most: int, *, least: int = 1) -> bool:
    """Whether `text` is one visible line of `least` to `most` bytes of UTF-8, its words parted by single spaces."""
    if _UNWANTED.search(text):
        return False
    return least <= len(text.encode()) <= most and text == text.strip(" ") and "  " not in text


def is_language(tag: str) -> bool:
    """Whether `tag` looks like a short tag of RFC 5646: "de", "pt-BR", "zh-Hant"."""
    return len(tag) <= MOST_LANGUAGE and _LANGUAGE.fullmatch(tag) is not None
