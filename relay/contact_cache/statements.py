"""What is said to the database: the same to SQLite and PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from relay.contact_cache.digests import entry_digest
from relay.contact_cache.entry import Entry, Outcome, short_hash
from relay.contact_cache.tables import entries as _TABLE

Place = tuple[int, bytes]
"""Kind and key."""


@dataclass(frozen=True, slots=True)
class Version:
    """What tells the entries of one place apart."""

    revision: int
    digest: bytes
    """`entry_digest`: one revision with other bytes has another."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction did to one place; None where nothing was there, or is there now."""

    kind: int
    key: bytes
    old: Version | None
    new: Version | None


def store(connection: Connection, entries: Sequence[Entry]) -> tuple[list[Outcome], Sequence[Change]]:
    """Bring entries in their order; what became of each, and what that changed."""
    arrivals = [
        Version(entry.revision, entry_digest(entry.key, entry.revision, entry.body)) for entry in entries
    ]
    places: list[Place] = [(int(entry.kind), entry.key) for entry in entries]
    before = _versions(connection, places)
    bodies = _bodies_of_ties(connection, places, arrivals, before)
    now = dict(before)
    winners: dict[Place, Entry] = {}
    outcomes = []
    for place, arrival, entry in zip(places, arrivals, entries, strict=True):
        present = now.get(place)
        if present is None or arrival.revision > present.revision:
            outcome = Outcome.STORED
        elif arrival == present:
            outcome = Outcome.SAME
        elif arrival.revision == present.revision and entry.body > bodies[place]:
            outcome = Outcome.STORED
        else:
            outcome = Outcome.OLDER
        if outcome is Outcome.STORED:
            now[place] = arrival
            winners[place] = entry
            bodies[place] = entry.body
        outcomes.append(outcome)
    if winners:
        # In the order of the table: its pages are visited once, and two writers never wait for one another.
        rows = [row_of(winners[place], now[place]) for place in sorted(winners)]
        connection.execute(_upsert(connection.dialect.name), rows)
    return outcomes, [Change(*place, before.get(place), now[place]) for place in winners]


def forget(connection: Connection, before: int, limit: int) -> Sequence[Change]:
    """Delete at most `limit` entries that expire before that Unix second."""
    stale = (
        select(_TABLE.c.kind, _TABLE.c.key)
        .where(_TABLE.c.expires < before)
        .order_by(_TABLE.c.expires)
        .limit(limit)
    )
    found = [(kind, key) for kind, key in connection.execute(stale)]
    changes = []
    # As a subquery of the second statement the first would make SQLite walk through everything of the kind.
    for kind in {kind for kind, _ in found}:
        keys = sorted(key for other, key in found if other == kind)
        gone = (
            delete(_TABLE)
            .where(_TABLE.c.kind == kind, _TABLE.c.key.in_(keys), _TABLE.c.expires < before)
            .returning(_TABLE.c.key, _TABLE.c.revision, _TABLE.c.digest)
        )
        changes += [
            Change(kind, key, Version(revision, digest), None)
            for key, revision, digest in connection.execute(gone)
        ]
    return changes


def every_version() -> Select[int, bytes, int, bytes]:
    """All places and versions, by the index that holds no body."""
    return select(_TABLE.c.kind, _TABLE.c.key, _TABLE.c.revision, _TABLE.c.digest)


def _versions(connection: Connection, places: Sequence[Place]) -> dict[Place, Version]:
    found: dict[Place, Version] = {}
    for kind in {kind for kind, _ in places}:
        keys = [key for other, key in places if other == kind]
        present = every_version().where(_TABLE.c.kind == kind, _TABLE.c.key.in_(keys))
        for _, key, revision, digest in connection.execute(present):
            found[kind, key] = Version(revision, digest)
    return found


def _bodies_of_ties(
    connection: Connection,
    places: Sequence[Place],
    arrivals: Sequence[Version],
    before: dict[Place, Version],
) -> dict[Place, bytes]:
    """The bodies that an arrival of the same revision must be compared with: few, if any."""
    ties = {
        place
        for place, arrival in zip(places, arrivals, strict=True)
        if place in before and before[place].revision == arrival.revision and before[place] != arrival
    }
    found = {}
    for kind, key in ties:
        body = select(_TABLE.c.body).where(_TABLE.c.kind == kind, _TABLE.c.key == key)
        found[kind, key] = (connection.execute(body)).scalar_one()
    return found


def row_of(entry: Entry, version: Version) -> dict[str, object]:
    """The columns of an entry."""
    return {
        "kind": int(entry.kind),
        "key": entry.key,
        "revision": entry.revision,
        "expires": entry.expires,
        "body_hash": short_hash(entry.body),
        "digest": version.digest,
        "body": entry.body,
    }


@cache
def _upsert(dialect: str) -> Any:
    """The database decides once more: another program of a cluster may have written since this one looked."""
    new = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(_TABLE)
    higher = or_(
        new.excluded.revision > _TABLE.c.revision,
        and_(new.excluded.revision == _TABLE.c.revision, new.excluded.body > _TABLE.c.body),
    )
    return new.on_conflict_do_update(
        index_elements=[_TABLE.c.kind, _TABLE.c.key],
        set_={name: new.excluded[name] for name in ("revision", "expires", "body_hash", "digest", "body")},
        where=higher,
    )
