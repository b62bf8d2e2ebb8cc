"""How many of the entries that are here were brought by learned peers, and whether there is a place for more of theirs.

Counted in the database, in the transaction that gives the place: neither pulls that run at once, nor a crash, nor the
other programs of a cluster take a place twice.  Counted by the day on which entries expire, not by when they came: what
is here of a peer's is what has not expired yet, and no entry can be told from the counts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from relay.contact_cache.entry import Entry
from relay.contact_cache.pull_budget import places_left
from relay.contact_cache.tables import brought as _TABLE
from relay.contact_cache.tables import entries as _ENTRIES

PEER_SIZE = 16
"""Bytes by which a peer is told from others here; the tables of a cluster may lie on another machine."""

_DAY = 86400


def peer_of(onion: str) -> bytes:
    """What stands for a contact point in the table."""
    return hashlib.sha256(onion.encode()).digest()[:PEER_SIZE]


def places(connection: Connection, peer: bytes, kind: int, room: int, before: float) -> int:
    """How many more keys of a kind that learned peer may bring, where `room` are held at most.

    Of what expired before that Unix time nothing is here any more.
    """
    alone = func.sum(case((_TABLE.c.peer == peer, _TABLE.c.entries), else_=0))
    sums = select(alone, func.sum(_TABLE.c.entries)).where(
        _TABLE.c.kind == int(kind), _TABLE.c.day * _DAY >= int(before)
    )
    by_peer, by_all = connection.execute(sums).one()
    return places_left(room, int(by_peer or 0), int(by_all or 0))


def admit(
    connection: Connection, peer: bytes | None, entries: Sequence[Entry], room: int, free: int, before: float
) -> list[bool]:
    """Which of these entries, of one kind and of different keys, may be stored; their places are taken with that.

    `peer` is None for a seed, whose entries take any of the `free` places; a learned peer's take some of those that
    `places` leaves.  What is there may always be replaced.  A learned peer that makes an entry last longer than what it
    replaces is charged for that, too: the place would be thought free before it is.
    """
    kind = int(entries[0].kind)
    held = _expiries(connection, kind, [entry.key for entry in entries])
    left = free if peer is None else min(free, places(connection, peer, kind, room, before))
    admitted: list[bool] = []
    charged: Counter[int] = Counter()
    for entry in entries:
        there = held.get(entry.key)
        admitted.append(there is not None or left > 0)
        if admitted[-1]:
            left -= there is None
            if there is None or _day(there) < _day(entry.expires):
                charged[_day(entry.expires)] += 1
    if peer is not None and charged:
        connection.execute(delete(_TABLE).where(_TABLE.c.day * _DAY < int(before)))
        rows = [
            {"kind": kind, "peer": peer, "day": day, "entries": count}
            for day, count in sorted(charged.items())
        ]
        connection.execute(_add(connection.dialect.name), rows)
    return admitted


def _expiries(connection: Connection, kind: int, keys: Sequence[bytes]) -> dict[bytes, int]:
    present = select(_ENTRIES.c.key, _ENTRIES.c.expires).where(
        _ENTRIES.c.kind == kind, _ENTRIES.c.key.in_(keys)
    )
    return {row.key: row.expires for row in connection.execute(present)}


def _day(expires: int) -> int:
    """The day at whose beginning, at the latest, it is over."""
    return -(-expires // _DAY)


@cache
def _add(dialect: str) -> Any:
    new = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(_TABLE)
    return new.on_conflict_do_update(
        index_elements=[_TABLE.c.kind, _TABLE.c.peer, _TABLE.c.day],
        set_={"entries": _TABLE.c.entries + new.excluded.entries},
    )
