"""What is kept of standing listings, and what is let go: the newest of each identity, until it expires."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.sql import bindparam

from relay.contact_cache.listing_tables import (
    LAYOUT,
    Fields,
    WordIndex,
    listing_fields,
    listing_keys,
    listing_layout,
    listings,
    metadata,
)
from relay.contact_cache.words import joined_words

AT_ONCE = 500
"""Listings of one transaction."""


class Listing(Protocol):
    """What is kept of a listing; `relay.forward_publish.Listing` is one.  It was verified."""

    @property
    def identity(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def organisation(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def revision(self) -> int: ...
    @property
    def expires(self) -> int: ...


class ListingKeeper:
    """What is done within one transaction that writes; `words` finds what was kept."""

    def __init__(self, words: WordIndex, most: int) -> None:
        """`most`: listings; when there are as many, those of further identities are passed over."""
        self._words = words
        self._most = most

    def prepare(self, connection: Connection) -> None:
        """Make the tables, anew where they are of another layout."""
        metadata.create_all(connection, tables=[listing_layout])
        versions = list(connection.execute(select(listing_layout.c.version)).scalars())
        if versions != [LAYOUT]:
            self._words.drop(connection)
            metadata.drop_all(connection)
        metadata.create_all(connection)
        self._words.make(connection)
        if versions != [LAYOUT]:
            connection.execute(insert(listing_layout).values(version=LAYOUT))

    def expire(self, connection: Connection, before: int) -> int:
        """Forget some of what expired before that Unix time; 0 when all of it is gone, and the keys with it."""
        old = select(listings.c.number).where(listings.c.expires < before).limit(AT_ONCE)
        numbers = list(connection.execute(old).scalars())
        if numbers:
            self._forget_words(connection, numbers)
            connection.execute(delete(listings).where(listings.c.number.in_(numbers)))
        else:
            connection.execute(delete(listing_keys).where(listing_keys.c.expires < before))
        return len(numbers)

    def replace(self, connection: Connection, entries: Sequence[Listing]) -> int:
        """Take in listings; how many are new to search."""
        self._note_keys(connection, entries)
        newest: dict[bytes, Listing] = {}
        for entry in entries:
            if entry.identity not in newest or _order(entry) > _order(newest[entry.identity]):
                newest[entry.identity] = entry
        known = {
            row.identity: row
            for row in connection.execute(
                select(listings.c.identity, listings.c.number, listings.c.revision, listings.c.expires).where(
                    listings.c.identity.in_(list(newest))
                )
            )
        }
        newer = [
            (known[identity].number, entry)
            for identity, entry in newest.items()
            if identity in known and _order(entry) > (known[identity].revision, known[identity].expires)
        ]
        unknown = [entry for identity, entry in newest.items() if identity not in known]
        unknown = unknown[: max(0, self._most - count_rows(connection, listings))] if unknown else []
        if newer:
            self._forget_words(connection, [number for number, _ in newer])
            connection.execute(
                update(listings).where(listings.c.number == bindparam("its_number")),
                [{"its_number": number, **_row(entry)} for number, entry in newer],
            )
        if unknown:
            last = connection.execute(select(func.max(listings.c.number))).scalar_one() or 0
            added = list(enumerate(unknown, last + 1))
            connection.execute(
                insert(listings), [{"number": number, **_row(entry)} for number, entry in added]
            )
            newer += added
        if newer:
            self._put_words(connection, [(number, _fields(entry)) for number, entry in newer])
        return len(newer)

    def _put_words(self, connection: Connection, rows: Sequence[tuple[int, Fields]]) -> None:
        names = listing_fields.c.keys()
        connection.execute(
            insert(listing_fields),
            [dict(zip(names, (number, *fields), strict=True)) for number, fields in rows],
        )
        self._words.put(connection, rows)

    def _forget_words(self, connection: Connection, numbers: Sequence[int]) -> None:
        mine = listing_fields.c.number.in_(numbers)
        rows = [
            (row[0], (row[1], row[2], row[3], row[4]))
            for row in connection.execute(select(listing_fields).where(mine))
        ]
        if rows:
            self._words.forget(connection, rows)
            connection.execute(delete(listing_fields).where(mine))

    def _note_keys(self, connection: Connection, entries: Sequence[Listing]) -> None:
        latest = {entry.key: entry for entry in sorted(entries, key=_order)}
        asked = select(listing_keys.c.key, listing_keys.c.revision).where(
            listing_keys.c.key.in_(list(latest))
        )
        known = {row[0]: row[1] for row in connection.execute(asked)}
        higher = [entry for key, entry in latest.items() if entry.revision > known.get(key, -1)]
        if replaced := [entry.key for entry in higher if entry.key in known]:
            connection.execute(delete(listing_keys).where(listing_keys.c.key.in_(replaced)))
        # Of one identity two periods' at most are valid at once; who has more than these has them in vain.
        room = max(0, 2 * self._most - count_rows(connection, listing_keys))
        rows = [{"key": e.key, "revision": e.revision, "expires": e.expires} for e in higher[:room]]
        if rows:
            connection.execute(insert(listing_keys), rows)


def count_rows(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _order(entry: Listing) -> tuple[int, int]:
    """Two periods' listings of one identity can have one revision: then the one that is good for longer counts."""
    return entry.revision, entry.expires


def _fields(entry: Listing) -> Fields:
    return (
        joined_words([entry.name]),
        joined_words([entry.organisation]),
        joined_words(entry.tags),
        joined_words(entry.languages),
    )


def _row(entry: Listing) -> dict[str, Any]:
    return {
        "identity": entry.identity,
        "name": _plain(entry.name),
        "organisation": _plain(entry.organisation),
        "tags": "\n".join(map(_plain, entry.tags)),
        "languages": "\n".join(map(_plain, entry.languages)),
        "revision": entry.revision,
        "expires": entry.expires,
    }


def _plain(text: str) -> str:
    """One line that every database can keep, whatever a listing could not be kept from saying."""
    return "".join(character if character.isprintable() else " " for character in text)
