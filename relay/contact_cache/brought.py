"""What learned peers bring: whether there is a place for it, what it is charged, and the entries themselves.

All three in one transaction, one at a time in the whole cluster: neither pulls that run at once, nor the other programs
of a cluster take a place twice, and what was not stored takes none.  Charges are counts by peer and by the day on
which entries expire, not by when they came; no entry can be told from them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from relay.contact_cache.entry import Entry, Outcome
from relay.contact_cache.pull_budget import places_left
from relay.contact_cache.statements import Change, store
from relay.contact_cache.tables import brought as _TABLE
from relay.contact_cache.tables import entries as _ENTRIES

PEER_SIZE = 16
"""Bytes by which a peer is told from others here; the tables of a cluster may lie on another machine."""

_DAY = 86400
_LOCK = 0x627272746272
"""Of an advisory lock in PostgreSQL, which all programs that work with one database share."""


def peer_of(onion: str) -> bytes:
    """What stands for a contact point in the table."""
    return sha256(onion.encode()).digest()[:PEER_SIZE]


class Charges:
    """How many entries of one kind each learned peer is charged with, by the day until which; one peer brings more.

    For every day, at least as many charges last until then as there are entries that only learned peers brought and
    that last until then.  An entry that a learned peer adds is charged until its day.  One that a learned peer makes
    last longer takes along the earliest charge that would end before it; where there is none, enough last longer.
    """

    def __init__(self, peer: bytes, rows: Iterable[tuple[bytes, int, int]] = ()) -> None:
        """`peer` is who brings; `rows`: peer, day and count, one row for each peer and day."""
        self._peer = peer
        self._days: dict[int, Counter[bytes]] = {}
        self._touched: set[tuple[bytes, int]] = set()
        for peer, day, count in rows:
            self._days.setdefault(day, Counter())[peer] = count

    def places(self, room: int) -> int:
        """How many more entries that are not here yet it may bring, where `room` are held at most."""
        alone = sum(peers[self._peer] for peers in self._days.values())
        return places_left(room, alone, sum(peers.total() for peers in self._days.values()))

    def add(self, expires: int) -> None:
        """It brought an entry that was not here."""
        self._change(self._peer, _day(expires), 1)

    def prolong(self, until: int, expires: int) -> None:
        """It replaced an entry that would have expired at `until`.

        The charge that goes along is its own from now on; of those of one day its own is taken before another's.
        """
        earlier = [day for day, peers in self._days.items() if _day(until) <= day < _day(expires) and +peers]
        if earlier:
            peers = self._days[min(earlier)]
            payer = self._peer if peers[self._peer] else max(peers, key=peers.__getitem__)
            self._change(payer, min(earlier), -1)
            self._change(self._peer, _day(expires), 1)

    def changed(self) -> list[tuple[bytes, int, int]]:
        """The rows that are not what they were."""
        return [(peer, day, self._days[day][peer]) for peer, day in sorted(self._touched)]

    def _change(self, peer: bytes, day: int, by: int) -> None:
        self._days.setdefault(day, Counter())[peer] += by
        self._touched.add((peer, day))


def places(connection: Connection, peer: bytes, kind: int, room: int, before: float) -> int:
    """`Charges.places` as it is now.  Of what expired before that Unix time nothing is here any more."""
    return _read(connection, peer, kind, before).places(room)


def bring(
    connection: Connection, peer: bytes | None, entries: Sequence[Entry], room: int, free: int, before: float
) -> tuple[list[Outcome | None], Sequence[Change]]:
    """Store entries of one kind and of different keys; what became of each, None where it had no place.

    `peer` is None for a seed, whose entries take any of the `free` places; a learned peer's take some of those that
    `places` leaves.  What is there may always be replaced.
    """
    kind = int(entries[0].kind)
    charges = None
    left = free
    if peer is not None:
        _wait_for_turn(connection)
        charges = _read(connection, peer, kind, before)
        left = min(free, charges.places(room))
    held = _expiries(connection, kind, [entry.key for entry in entries], before)
    chosen: list[Entry] = []
    for entry in entries:
        if entry.key in held:
            chosen.append(entry)
        elif left > 0:
            left -= 1
            chosen.append(entry)
    stored, changes = store(connection, chosen)
    became = {entry.key: outcome for entry, outcome in zip(chosen, stored, strict=True)}
    if charges is not None:
        for entry in chosen:
            if became[entry.key] is not Outcome.STORED:
                continue
            if entry.key in held:
                charges.prolong(held[entry.key], entry.expires)
            else:
                charges.add(entry.expires)
        _write(connection, kind, charges, before)
    return [became.get(entry.key) for entry in entries], changes


def _wait_for_turn(connection: Connection) -> None:
    """Until this transaction ends nobody else reads charges to change them.

    SQLite has one writer anyway.  The lock comes before any row is locked, so that nobody waits in a ring.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _read(connection: Connection, peer: bytes, kind: int, before: float) -> Charges:
    found = (
        select(_TABLE.c.peer, _TABLE.c.day, _TABLE.c.entries)
        .where(_TABLE.c.kind == int(kind), _TABLE.c.day * _DAY >= int(before))
        .order_by(_TABLE.c.peer)
    )
    return Charges(peer, ((row.peer, row.day, row.entries) for row in connection.execute(found)))


def _write(connection: Connection, kind: int, charges: Charges, before: float) -> None:
    connection.execute(delete(_TABLE).where(_TABLE.c.day * _DAY < int(before)))
    rows = [
        {"kind": kind, "peer": peer, "day": day, "entries": count} for peer, day, count in charges.changed()
    ]
    if rows:
        connection.execute(_upsert(connection.dialect.name), rows)
        connection.execute(delete(_TABLE).where(_TABLE.c.kind == kind, _TABLE.c.entries == 0))


def _expiries(connection: Connection, kind: int, keys: Sequence[bytes], before: float) -> dict[bytes, int]:
    """When what is there expires; what has expired is there no more, swept or not."""
    present = select(_ENTRIES.c.key, _ENTRIES.c.expires).where(
        _ENTRIES.c.kind == kind, _ENTRIES.c.key.in_(keys), _ENTRIES.c.expires >= int(before)
    )
    return {row.key: row.expires for row in connection.execute(present)}


def _day(expires: int) -> int:
    """The day at whose beginning, at the latest, it is over."""
    return -(-expires // _DAY)


@cache
def _upsert(dialect: str) -> Any:
    new = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(_TABLE)
    return new.on_conflict_do_update(
        index_elements=[_TABLE.c.kind, _TABLE.c.peer, _TABLE.c.day],
        set_={"entries": new.excluded.entries},
    )
