"""In which order listings are shown that have all the words: the same whatever database keeps them."""

from collections.abc import Iterable, Sequence
from math import log, log2

_WEIGHTS = (10.0, 5.0, 3.0, 1.0)
"""Of a word in name, organisation, tags, languages."""

_WHOLE = 2.0
"""How many times as much a whole word counts as the beginning of one."""

Numbered = tuple[int, str, str, str, str]
"""The number of a listing, and its folded fields, words parted by single spaces."""


def rarity(count: int, most: int) -> float:
    """What a word counts that is in `count` listings: 1 where it is in `most`, beyond which nobody counts, or more."""
    return 1.0 + log((most + 1) / (min(count, most) + 1))


def best_first(rows: Iterable[Numbered], words: Sequence[str], rarities: Sequence[float]) -> list[int]:
    """The numbers of `rows`, best first, equally good ones by number.

    A word counts by how rare it is, by the fields that it is in, and twice where it is there whole.  The shorter name
    and organisation come first: who is called what was searched for, and nothing else, is more likely meant.
    """
    # Hundreds of rows for one answer: plain searches for " word" in texts that begin and end with a space.
    wanted = [(f" {word}", f" {word} ", rare) for word, rare in zip(words, rarities, strict=True)]
    scored = []
    for number, name, organisation, tags, languages in rows:
        score = 0.0
        for weight, field in zip(_WEIGHTS, (name, organisation, tags, languages), strict=True):
            padded = f" {field} "
            for begun, whole, rare in wanted:
                if begun in padded:
                    score += weight * rare * (_WHOLE if whole in padded else 1.0)
        length = name.count(" ") + organisation.count(" ")
        scored.append((-score / log2(4.0 + length), number))
    scored.sort()
    return [number for _, number in scored]
