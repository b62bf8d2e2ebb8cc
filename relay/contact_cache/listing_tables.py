"""The tables of the listing index, and what differs between SQLite's full-text search and PostgreSQL's.

All of it is a cache of what contact points keep: where the tables are of another layout they are made anew, so there
are no migrations.

An index of words holds numbers of listings and nothing else: no places, no fields.  Each word goes into it up to three
times, under a mark for each tier that its field is in, so that "all words in the name" is a question of short lists.
Asking one list of all fields for the name alone means to walk through every listing that has the word anywhere, and
some words are in most.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

LAYOUT = 2
"""Counts up when the tables or the folding of words change."""

_MARKS = "abc"
"""Before each word, by tier: of the name; of name or organisation; of any field."""

TIERS = len(_MARKS)

_SHORT = 2
"""Letters of a beginning for which PostgreSQL has a list of its own."""

Fields = tuple[str, str, str, str]
"""Folded words of name, organisation, tags, languages: the order of their weight."""

metadata = MetaData()

listings = Table(
    "listings",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("identity", LargeBinary(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("languages", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("listings_expires", "expires"),
)
"""One row for each identity, its newest listing; tags and languages are lines."""

listing_fields = Table(
    "listing_fields",
    metadata,
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("name", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("languages", Text, nullable=False),
)
"""The same listings' folded words: what is looked at to put them in order.  Narrow, as hundreds are for one answer."""

listing_keys = Table(
    "listing_keys",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("listing_keys_expires", "expires"),
    sqlite_with_rowid=False,
)
"""Every listing that was taken in: one identity has several while two periods overlap, and none is fetched twice."""

listing_layout = Table("listing_layout", metadata, Column("version", Integer, primary_key=True))

_postgres_metadata = MetaData()

_postgres_words = Table(
    "listing_words",
    _postgres_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("search", TSVECTOR, nullable=False),
    Index("listing_words_search", "search", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
)


class WordIndex(Protocol):
    """Which listings have which words, by the listings' numbers."""

    @property
    def fitting(self) -> str:
        """SQL: the numbers of the listings that fit `:query`, in one and the same order."""
        ...

    def make(self, connection: Connection) -> None:
        """Make it where it is missing."""
        ...

    def drop(self, connection: Connection) -> None: ...

    def put(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        """Keep words; none of these numbers is there."""
        ...

    def forget(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        """Take out numbers that were put with these very words."""
        ...

    def query(self, words: Sequence[str], tier: int) -> str:
        """What `fitting` is asked: every word must begin a word of the tier's fields."""
        ...


class Fts5Words:
    """SQLite's FTS5.

    The tokenizer is `ascii`, which takes every character beyond ASCII for a letter: the words are folded already, and
    the tables of `unicode61` are older than the scripts that people write their names in.

    Numbers alone (`detail=none`) take a quarter of the space that places take.  Beginnings of one to ten letters have
    lists of their own: to look for a longer one, or one without, the lists of all words that begin so are merged first,
    which takes longer for a common word than all the rest.
    """

    _MAKE = text(
        "CREATE VIRTUAL TABLE IF NOT EXISTS listing_words USING fts5(words, tokenize='ascii', "
        "prefix='2 3 4 5 6 7 8 9 10 11', content='', detail=none, columnsize=0)"
    )
    _PUT = text("INSERT INTO listing_words (rowid, words) VALUES (:number, :words)")
    # What keeps no texts has to be told what it forgets.
    _FORGET = text(
        "INSERT INTO listing_words (listing_words, rowid, words) VALUES ('delete', :number, :words)"
    )

    @property
    def fitting(self) -> str:
        return "SELECT rowid AS number FROM listing_words WHERE listing_words MATCH :query"

    def make(self, connection: Connection) -> None:
        connection.execute(self._MAKE)

    def drop(self, connection: Connection) -> None:
        connection.execute(text("DROP TABLE IF EXISTS listing_words"))

    def put(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        connection.execute(self._PUT, _spelled(rows))

    def forget(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        connection.execute(self._FORGET, _spelled(rows))

    def query(self, words: Sequence[str], tier: int) -> str:
        # Words hold no quotation marks, and between these nothing is an operator.
        return " AND ".join(f'"{_MARKS[tier]}{word}"*' for word in words)


class TsVectorWords:
    """PostgreSQL's `tsvector` under a GIN index.

    The vector is written in its own notation, not made by a parser, which would make something else of what looks like
    a number or a host name.  Beginnings of one or two letters are words of their own in it, under capital marks: of
    longer ones the index finds the lists of all words that begin so, of these that would be thousands of lists.
    """

    _PUT = text(
        "INSERT INTO listing_words (number, search) VALUES (:number, CAST(CAST(:words AS text) AS tsvector))"
    )

    @property
    def fitting(self) -> str:
        # As text first: the driver would otherwise want a query of its own making.
        return "SELECT number FROM listing_words WHERE search @@ CAST(CAST(:query AS text) AS tsquery)"

    def make(self, connection: Connection) -> None:
        _postgres_metadata.create_all(connection)

    def drop(self, connection: Connection) -> None:
        _postgres_metadata.drop_all(connection)

    def put(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        # Words without quotation marks, and spaces between them, are that notation.
        spelled = [
            {"number": number, "words": " ".join((*marked, *_short_beginnings(marked)))}
            for number, marked in ((number, _marked(fields)) for number, fields in rows)
        ]
        connection.execute(self._PUT, spelled)

    def forget(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        numbers = [number for number, _ in rows]
        connection.execute(delete(_postgres_words).where(_postgres_words.c.number.in_(numbers)))

    def query(self, words: Sequence[str], tier: int) -> str:
        mark = _MARKS[tier]
        return " & ".join(
            f"'{mark.upper()}{word}'" if len(word) <= _SHORT else f"'{mark}{word}':*" for word in words
        )


def _short_beginnings(marked: Iterable[str]) -> Iterable[str]:
    """Of marked words, under capital marks."""
    return dict.fromkeys(
        word[0].upper() + word[1 : 1 + size] for word in marked for size in range(1, _SHORT + 1)
    )


def _spelled(rows: Sequence[tuple[int, Fields]]) -> list[dict[str, object]]:
    """Rows as the statements want them."""
    return [{"number": number, "words": " ".join(_marked(fields))} for number, fields in rows]


def _marked(fields: Fields) -> list[str]:
    """Every word once under the mark of each tier that it is in."""
    name, organisation, tags, languages = (field.split() for field in fields)
    tiers = (name, name + organisation, name + organisation + tags + languages)
    return [mark + word for mark, words in zip(_MARKS, tiers, strict=True) for word in dict.fromkeys(words)]
