"""Search over standing listings: a copy of all of them, on this machine, in SQLite or PostgreSQL.

Nothing here sends anything.  What is searched for is in memory for as long as the answer takes, in no log and in no
error; with a PostgreSQL server on another machine it would leave this one, so an agent uses SQLite.

Every word must begin a word of the listing: names are typed half, and in most languages the end of a word is its
grammar, so that beginnings do what a stemmer would do for one language.  Whole words come before beginnings, the name
before the organisation, that before tags, and those before languages (`relay.contact_cache.listing_order`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, text

from relay.contact_cache.database import Database, Purpose, open_database
from relay.contact_cache.listing_keeping import AT_ONCE, Listing, ListingKeeper, count_rows
from relay.contact_cache.listing_order import Numbered, best_first, rarity
from relay.contact_cache.listing_tables import (
    TIERS,
    Fts5Words,
    TsVectorWords,
    WordIndex,
    listing_fields,
    listing_keys,
    listings,
)
from relay.contact_cache.memory_database import MemoryDatabase
from relay.contact_cache.words import searched_words

__all__ = ["Found", "Listing", "ListingIndex", "MemoryIndex"]

MOST_LISTINGS = 250_000
"""Listings that are kept; when there are as many, those of further identities are passed over."""

MOST_RANKED = 300
"""Listings that are put in order for one answer.

Where more than these fit, the words are in so many listings that they tell little apart: then those that have all words
in the name are looked at first, and of each sort the first so many.
"""

MOST_COUNTED = 2000
"""Listings with one word, where how rare it is still tells something."""

MOST_FOUND = 100

_PRAGMAS = (
    # It is a copy: what a crash loses is fetched again.
    "PRAGMA synchronous=NORMAL",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-32768",
)

_SETTINGS = {
    # Words in most listings are best looked for in the listings themselves, until there are enough, and rare ones in
    # the index: which it is shows only when the words are known.
    "plan_cache_mode": "force_custom_plan",
    # Translating a plan takes longer than any answer.
    "jit": "off",
}


def _purpose(keeper: ListingKeeper) -> Purpose:
    return Purpose(
        prepare=keeper.prepare,
        pragmas=_PRAGMAS,
        settings=_SETTINGS,
        unusable_url="search: not a database URL that this installation can use",
        cannot_open="search: the database of listings cannot be opened; see who may write there, or move it away: "
        "it is fetched again",
        silent="the database of listings does not answer; look at its disk",
        full="the disk of the database of listings is full: new ones cannot be found until there is room",
    )


@dataclass(frozen=True, slots=True)
class Found:
    """One listing that a search found; `rank` is its place, from 1, the best."""

    identity: bytes
    name: str
    organisation: str
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    rank: int


class ListingIndex:
    """All standing listings.  Methods raise `TransportUnavailable` where the database fails."""

    def __init__(self, database: Database, keeper: ListingKeeper, search: "_Search") -> None:
        """For `open`, which alone makes one."""
        self._database = database
        self._keeper = keeper
        self._search = search

    @classmethod
    async def open(cls, url: str, *, most: int = MOST_LISTINGS) -> "ListingIndex":
        """Connect (`sqlite:///FILE` or `postgresql://…`) and make the tables where they are missing.

        Raises `ConfigurationError`.
        """
        words = TsVectorWords() if url.startswith("postgresql") else Fts5Words()
        keeper = ListingKeeper(words, most)
        return cls(await open_database(url, _purpose(keeper)), keeper, _Search(words))

    async def close(self) -> None:
        await self._database.close()

    async def replace_many(self, entries: Sequence[Listing]) -> int:
        """Take in listings; of one identity the highest revision is kept.  How many are new to search."""
        changed = 0
        for first in range(0, len(entries), AT_ONCE):
            changed += await self._database.write(
                partial(self._keeper.replace, entries=entries[first : first + AT_ONCE])
            )
        return changed

    async def expire(self, before: float) -> int:
        """Forget all that expired before that Unix time; how many can be found no more."""
        total = 0
        while forgotten := await self._database.write(partial(self._keeper.expire, before=int(before))):
            total += forgotten
        return total

    async def count(self) -> int:
        """How many identities have a listing here."""
        return await self._database.read(lambda connection: count_rows(connection, listings))

    async def digests(self) -> list[tuple[bytes, int]]:
        """Key and revision of every listing that was taken in and has not expired, in the order of the keys."""
        asked = select(listing_keys.c.key, listing_keys.c.revision).order_by(listing_keys.c.key)
        return await self._database.read(
            lambda connection: [(row[0], row[1]) for row in connection.execute(asked)]
        )

    async def search(self, words: str, *, limit: int = 20) -> list[Found]:
        """The listings that have every one of `words`, best first; equally good ones always in the same order.

        `words` is any text: there is no syntax, and what is no letter or digit parts words.  At most `MOST_FOUND`.
        """
        wanted = searched_words(words)
        limit = min(limit, MOST_FOUND)
        if not wanted or limit < 1:
            return []
        return await self._database.read(partial(self._search.answer, words=wanted, limit=limit))


class MemoryIndex(ListingIndex):
    """In memory alone; `image` is all of it."""

    def __init__(self, database: MemoryDatabase, keeper: ListingKeeper, search: "_Search") -> None:
        super().__init__(database, keeper, search)
        self._memory = database

    @classmethod
    async def load(cls, image: bytes | None = None, *, most: int = MOST_LISTINGS) -> "MemoryIndex":
        """As it was when `image` was made; empty without one, or where that is of no use."""
        words = Fts5Words()
        keeper = ListingKeeper(words, most)
        return cls(await MemoryDatabase.open(_purpose(keeper), image), keeper, _Search(words))

    async def image(self) -> bytes:
        return await self._memory.image()


class _Search:
    """What is done within one transaction that reads."""

    def __init__(self, words: WordIndex) -> None:
        self._words = words
        # Prepared once: building a statement takes as long as many rows.
        fitting = f"({words.fitting} LIMIT :most) AS fitting"
        fields = ", ".join(f"listing_fields.{column.name}" for column in listing_fields.c)
        self._fitting = text(f"SELECT {fields} FROM {fitting} JOIN listing_fields USING (number)")
        self._fitting_numbers = text(f"SELECT number FROM {fitting}")
        self._fitting_count = text(f"SELECT count(*) FROM {fitting}")

    def answer(self, connection: Connection, words: Sequence[str], limit: int) -> list[Found]:
        numbers = self._best(connection, words, limit)
        rows = connection.execute(select(listings).where(listings.c.number.in_(numbers)))
        by_number = {row.number: row for row in rows}
        # In PostgreSQL one may have been forgotten since the last statement.
        shown = [by_number[number] for number in numbers if number in by_number]
        return [
            Found(
                row.identity,
                row.name,
                row.organisation,
                tuple(row.tags.splitlines()),
                tuple(row.languages.splitlines()),
                rank,
            )
            for rank, row in enumerate(shown, 1)
        ]

    def _best(self, connection: Connection, words: Sequence[str], limit: int) -> list[int]:
        """The numbers of the best listings."""
        asked = {"query": self._words.query(words, TIERS - 1), "most": MOST_RANKED + 1}
        numbers = list(connection.execute(self._fitting_numbers, asked).scalars())
        if len(numbers) <= MOST_RANKED:
            rows = connection.execute(select(listing_fields).where(listing_fields.c.number.in_(numbers)))
            return best_first(_numbered(rows), words, self._rarities(connection, words, len(numbers)))[:limit]
        equal = [1.0] * len(words)
        ranked: dict[int, None] = {}
        for tier in range(TIERS):
            asked = {"query": self._words.query(words, tier), "most": MOST_RANKED}
            fitting = _numbered(connection.execute(self._fitting, asked))
            ranked.update(dict.fromkeys(best_first(fitting, words, equal)))
            if len(ranked) >= limit:
                break
        return list(ranked)[:limit]

    def _rarities(self, connection: Connection, words: Sequence[str], fit: int) -> list[float]:
        """What each word counts; it is counted where that can change an order."""
        if len(words) == 1 or fit < 2:
            return [1.0] * len(words)
        counts = []
        for word in words:
            asked = {"query": self._words.query([word], TIERS - 1), "most": MOST_COUNTED}
            counts.append(connection.execute(self._fitting_count, asked).scalar_one())
        return [rarity(count, MOST_COUNTED) for count in counts]


def _numbered(rows: Iterable[Any]) -> Iterator[Numbered]:
    return ((row[0], row[1], row[2], row[3], row[4]) for row in rows)
