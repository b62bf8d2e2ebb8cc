"""Search over standing listings, as `bayonne contact search` asks: how long answers take.

`python -m bench.search [--listings 100000] [--rounds 200] [--postgresql] [--out search-out]`; ends with 1 when a row
does not hold.  With `--postgresql` a server of its own keeps them, on this machine; otherwise SQLite.  Names are made
up of syllables, their frequencies as words have them (Zipf); some tags and languages are in most listings, which is the
worst that can be searched for.
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.postgres import USER, postgres
from bench.report import Report, Row, at_most, reported
from relay.contact_cache.search import ListingIndex
from relay.core import Clock, ConfigurationError, Entropy, SeededEntropy, SystemClock

LIMIT_MS = 50.0
"""Milliseconds that the slowest of a hundred answers may take, at 100,000 listings."""

_BATCH = 2000

_SYLLABLES = (
    *("ka", "lo", "mi", "re", "to", "sa", "ne", "vi", "du", "po", "ga", "li"),
    *("an", "er", "on", "el", "is", "um", "bra", "stei", "mc", "jö", "ña", "ović"),
)
_COMMON_TAGS = ("journalist", "lawyer", "press", "human", "rights", "union", "doctor", "radio")
_LANGUAGES = ("en", "en", "en", "en", "en", "en", "de", "fr", "es", "es", "ar", "fa", "ru", "zh", "pt-BR")
_KINDS = ("Foundation", "Press", "News", "Union")
_EXPIRES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class MadeListing:
    """A listing of nobody."""

    identity: bytes
    key: bytes
    name: str
    organisation: str
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    revision: int
    expires: int


class Population:
    """Listings, and words that are searched for in them."""

    def __init__(self, entropy: Entropy, words: int = 20_000) -> None:
        self._entropy = entropy
        made = dict.fromkeys(self._word() for _ in range(words))
        self.words = tuple(made)
        self._weights = np.cumsum(1.0 / (np.arange(len(self.words)) + 5.0))

    def _word(self) -> str:
        return "".join(self._entropy.choice(_SYLLABLES) for _ in range(2 + self._entropy.below(3)))

    def word(self) -> str:
        """One as often as it is in names."""
        place = np.searchsorted(self._weights, self._entropy.uniform(0.0, self._weights[-1]))
        return self.words[min(int(place), len(self.words) - 1)]

    def listing(self, number: int) -> MadeListing:
        key = hashlib.sha256(b"listing %d" % number).digest()
        tags = [self._entropy.choice(_COMMON_TAGS) for _ in range(1 + self._entropy.below(4))] + [self.word()]
        return MadeListing(
            identity=hashlib.sha256(key).digest(),
            key=key,
            name=f"{self.word().title()} {self.word().title()}",
            organisation=f"{self.word().title()} {self._entropy.choice(_KINDS)}",
            tags=tuple(dict.fromkeys(tags)),
            languages=tuple(dict.fromkeys(self._entropy.choice(_LANGUAGES) for _ in range(2))),
            revision=1,
            expires=_EXPIRES,
        )

    def searches(self) -> dict[str, Callable[[], str]]:
        """What people type, by kind; each call another text."""
        choice, word = self._entropy.choice, self.word
        rare = self.words[len(self.words) // 2 :]
        return {
            "one word": word,
            "two words": lambda: f"{word()} {choice(_COMMON_TAGS)}",
            "three words": lambda: f"{word()} {choice(_COMMON_TAGS)} {choice(_LANGUAGES)[:2]}",
            "a beginning of one to three letters": lambda: word()[: 1 + self._entropy.below(3)],
            "two beginnings": lambda: f"{word()[:2]} {word()[:2]}",
            "a rare word": lambda: choice(rare),
            "a word in most listings": lambda: choice(("en", *_COMMON_TAGS)),
            "three words in most listings": lambda: f"{choice(_COMMON_TAGS)} {choice(_COMMON_TAGS)} en",
            "eight letters, each a word": lambda: " ".join("kaelomis"),
            "a word in none": lambda: f"xx{word()}xx",
        }


@contextmanager
def kept_in(postgresql: bool) -> Iterator[tuple[str, Path]]:
    """The URL of an empty database, and the folder of its files; both go afterwards."""
    if postgresql:
        with postgres() as place:
            yield f"postgresql://{USER}@/postgres?host={place}", place / "data" / "base"
        return
    with tempfile.TemporaryDirectory(prefix="bvr-") as name:
        yield f"sqlite:///{name}/listings.db", Path(name)


async def measure(
    url: str, place: Path, count: int, rounds: int, clock: Clock, say: Callable[[str], None]
) -> list[Row]:
    """Fill an index of `count` listings and time `rounds` answers of each kind."""
    population = Population(SeededEntropy("bench.search"))
    index = await ListingIndex.open(url)
    try:
        began = clock.monotonic()
        said = began
        for first in range(0, count, _BATCH):
            numbers = range(first, min(first + _BATCH, count))
            await index.replace_many([population.listing(number) for number in numbers])
            if clock.monotonic() - said > 2.0:
                said = clock.monotonic()
                say(f"taking in: {first + len(numbers)} of {count} listings")
        filled = clock.monotonic() - began
        say(f"{count} listings kept in {filled:.1f} s")
        database = url.partition(":")[0]
        rows = await _time_all(index, population, f"{count} listings, {database}", rounds, clock, say)
        rows.append(reported("taking in all listings, s", filled, f"{count} listings in batches of {_BATCH}"))
    finally:
        await index.close()
    rows.append(reported("disk, MB", _size(place) / 1e6, f"{count} listings"))
    return rows


async def _time_all(
    index: ListingIndex,
    population: Population,
    over: str,
    rounds: int,
    clock: Clock,
    say: Callable[[str], None],
) -> list[Row]:
    rows: list[Row] = []
    every: list[float] = []
    effort: list[float] = []
    how = f"{rounds} answers of 20 each over {over}, one at a time"
    for kind, make in population.searches().items():
        times, works = [], []
        for _ in range(rounds):
            words = make()
            began, worked = clock.monotonic(), time.process_time()
            await index.search(words)
            times.append(1000.0 * (clock.monotonic() - began))
            works.append(1000.0 * (time.process_time() - worked))
        every += times
        effort += works
        say(
            f"{kind}: p50 {_percentile(times, 50):.1f} ms, p99 {_percentile(times, 99):.1f} ms; "
            f"of CPU {_percentile(works, 50):.1f} ms, {_percentile(works, 99):.1f} ms"
        )
        rows.append(reported(f"{kind}, p50 ms", _percentile(times, 50), how))
        rows.append(at_most(f"{kind}, p99 ms", LIMIT_MS, _percentile(times, 99), how))
    rows.append(at_most("all together, p99 ms", LIMIT_MS, _percentile(every, 99), how))
    rows.append(reported("all together, p99 of CPU ms", _percentile(effort, 99), how))
    return rows


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def _percentile(times: Sequence[float], percent: float) -> float:
    return float(np.percentile(times, percent))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and keep what was found."""
    parser = argparse.ArgumentParser(description="how long searches over standing listings take")
    parser.add_argument("--listings", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true", help="in PostgreSQL, which must be installed")
    parser.add_argument("--out", type=Path, default=Path("search-out"))
    options = parser.parse_args()
    clock = SystemClock()
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(quick=options.listings < 100_000)
    try:
        with kept_in(options.postgresql) as (url, place):
            report.rows = asyncio.run(measure(url, place, options.listings, options.rounds, clock, _say))
    except ConfigurationError as error:
        print(f"search: {error}", file=sys.stderr)
        return 2
    report.write(options.out, clock)
    print(report.table())
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
