"""Entries in SQL: what a contact point keeps, finds by ranges of keys, and forgets.

Counts and digests are kept in memory (`relay.contact_cache.tally`) and rebuilt at opening from an index that holds no
body.  Where several programs of a cluster write to one PostgreSQL, each knows of the others' entries after `recount`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Column, Connection, Integer, Select, bindparam, select

from relay.contact_cache import brought
from relay.contact_cache.database import Database, open_database
from relay.contact_cache.entry import Entry, Outcome, Row, Summary
from relay.contact_cache.statements import Change, every_version
from relay.contact_cache.tables import entries as _TABLE
from relay.contact_cache.tally import Tally
from relay.contact_cache.writing import MOST_IN_BATCH, Heard, Writer
from relay.core import MisuseError

_COLUMNS = (_TABLE.c.kind, _TABLE.c.key, _TABLE.c.revision, _TABLE.c.expires, _TABLE.c.body)
_KEY_SIZE = 32
_SAME_SHORT_KEY = 4
"""Entries of one short key that are looked for; nobody can make even two keys that begin with the same 16 bytes."""
_SCAN = 4096
"""Rows that opening reads in one step."""

_MOST_REVISION = 2**63 - 1


def _range(*columns: Column[Any], backwards: bool = False) -> Select[*tuple[Any, ...]]:
    """One page of a range: prepared once, as building the statement costs as much as many rows."""
    kind, key = _TABLE.c.kind, _TABLE.c.key
    return (
        select(*columns)
        .where(kind == bindparam("kind"), key.between(bindparam("first"), bindparam("last")))
        .order_by(key.desc() if backwards else key)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )


_ROWS = _range(*_COLUMNS)
_LAST_ROWS = _range(*_COLUMNS, backwards=True)
_SUMMARIES = _range(_TABLE.c.key, _TABLE.c.revision, _TABLE.c.body_hash)


class SqlEntryStore:
    """Entries of all kinds.  All methods raise `TransportUnavailable` where the database fails."""

    def __init__(self, database: Database, heard: Heard | None = None) -> None:
        """For `open`, which alone makes one."""
        self._database = database
        self._tallies: dict[int, Tally] = {}
        self._writer = Writer(database, self._take, heard)

    @classmethod
    async def open(cls, url: str, heard: Heard | None = None) -> "SqlEntryStore":
        """Connect, bring the tables up to date, count.  Raises `ConfigurationError`.

        `url` is `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`, in SQLAlchemy's way; `heard` hears whether the
        database takes what is written.
        """
        store = cls(await open_database(url), heard)
        try:
            await store.recount()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish what waits to be written, and let go of the database."""
        await self._writer.close()
        await self._database.close()

    async def put(self, entry: Entry) -> Outcome:
        """Keep `entry` unless something that wins over it is there.  Durable when this returns."""
        _check(entry)
        return (await self._writer.put((entry,)))[0]

    async def put_many(self, entries: Sequence[Entry]) -> list[Outcome]:
        """The same for each, in their order.  Where it raises, a beginning of them may have been kept."""
        for entry in entries:
            _check(entry)
        outcomes: list[Outcome] = []
        for start in range(0, len(entries), MOST_IN_BATCH):
            outcomes += await self._writer.put(entries[start : start + MOST_IN_BATCH])
        return outcomes

    async def places(self, kind: int, room: int, learned: str, before: float) -> int:
        """How many keys that are not here yet may be brought of a kind of which `room` are held at most.

        `learned` is the onion name of a learned peer, "" for a seed; `before` is as for `expire`.
        """
        free = max(0, room - self._tally(kind).total)
        if not learned:
            return free
        peer = brought.peer_of(learned)
        return await self._database.read(
            lambda connection: min(free, brought.places(connection, peer, kind, room, before))
        )

    async def bring(
        self, entries: Sequence[Entry], room: int, learned: str, before: float
    ) -> list[Outcome | None]:
        """Keep what a peer brought, as `put_many` does, at most a batch; None for what it has no place for.

        The entries are of one kind and of different keys; the other arguments are those of `places`.  What is there
        may always be replaced.  Where it raises, nothing was kept, and no place was taken.
        """
        for entry in entries:
            _check(entry)
        peer = brought.peer_of(learned) if learned else None

        def work(connection: Connection) -> tuple[list[Outcome | None], Sequence[Change]]:
            free = room - self._tally(entries[0].kind).total
            return brought.bring(connection, peer, entries, room, free, before)

        return await self._writer.alone(work)

    async def expire(self, before: float) -> int:
        """Forget all that expires before that Unix time, by small steps between which others write; how many."""
        total = 0
        while count := await self._writer.sweep(int(before)):
            total += count
        return total

    async def select(
        self, kind: int, first: bytes, last: bytes, *, after: bytes | None = None, offset: int = 0, limit: int
    ) -> list[Row]:
        """At most `limit` entries whose keys lie from `first` to `last`, both included, in the order of keys.

        Pages go on behind the key `after`, or at `offset`, which is right for few hundreds of rows.
        """
        asked = _asked(kind, first, last, after, offset, limit)
        return await self._database.read(
            lambda connection: [Row(*row) for row in connection.execute(_ROWS, asked)]
        )

    async def around(
        self, kind: int, lower: tuple[bytes, bytes], upper: tuple[bytes, bytes], *, limit: int
    ) -> list[Row]:
        """The last `limit` entries of the range of keys `lower` and the first `limit` of `upper`, in the order of keys.

        Both ranges include their ends.
        """
        below, above = (_asked(kind, *ends, None, 0, limit) for ends in (lower, upper))

        def work(connection: Connection) -> list[Row]:
            last = [Row(*row) for row in connection.execute(_LAST_ROWS, below)]
            return last[::-1] + [Row(*row) for row in connection.execute(_ROWS, above)]

        return await self._database.read(work)

    async def select_keys(self, kind: int, short_keys: Sequence[bytes]) -> list[Row]:
        """Entries whose keys begin with one of these (16 bytes), in the order of keys."""
        ends = [(short.ljust(_KEY_SIZE, b"\0"), short.ljust(_KEY_SIZE, b"\xff")) for short in set(short_keys)]
        wanted = [_asked(kind, first, last, None, 0, _SAME_SHORT_KEY) for first, last in sorted(ends)]
        # One statement for all of them would walk through everything: SQLite joins ranges in no better way.
        return await self._database.read(
            lambda connection: [Row(*row) for asked in wanted for row in connection.execute(_ROWS, asked)]
        )

    async def summaries(
        self, kind: int, first: bytes, last: bytes, *, after: bytes | None = None, offset: int = 0, limit: int
    ) -> list[Summary]:
        """As `select`, without a body being read."""
        asked = _asked(kind, first, last, after, offset, limit)
        return await self._database.read(
            lambda connection: [Summary(*row) for row in connection.execute(_SUMMARIES, asked)]
        )

    async def revision(self, kind: int, key: bytes) -> int | None:
        """The revision of what is kept there."""
        found = select(_TABLE.c.revision).where(_TABLE.c.kind == int(kind), _TABLE.c.key == key)
        return await self._database.read(lambda connection: connection.execute(found).scalar_one_or_none())

    async def count(self, kind: int) -> int:
        """How many entries of a kind there are, expired ones that were not swept yet included."""
        return self._tally(kind).total

    def counts(self, kind: int) -> npt.NDArray[np.int32]:
        """How many by each of the 2^14 first bits of the key: a view that goes on changing."""
        return self._tally(kind).counts

    def digests(self, kind: int) -> Sequence[tuple[bytes, int]]:
        """Digest and count of each of the 4096 prefixes of 12 bits, in order (`relay.contact_cache.digests`)."""
        return self._tally(kind).children()

    async def recount(self) -> None:
        """Count again what is there: at opening, and in a cluster now and then."""
        async with self._writer.turn:
            # On the connection that nobody writes on meanwhile: lookups go on.
            self._tallies = await self._database.write(_count)

    def _tally(self, kind: int) -> Tally:
        return self._tallies.setdefault(int(kind), Tally())

    def _take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            tally = self._tally(change.kind)
            if change.old is not None:
                tally.remove(change.key, change.old.digest)
            if change.new is not None:
                tally.add(change.key, change.new.digest)


def _count(connection: Connection) -> dict[int, Tally]:
    """By an index that holds no body, and never more than a step of it in memory."""
    tallies: dict[int, Tally] = {}
    found = connection.execute(every_version().execution_options(yield_per=_SCAN))
    for part in found.partitions():
        for kind in {row.kind for row in part}:
            rows = [row for row in part if row.kind == kind]
            tally = tallies.setdefault(kind, Tally())
            tally.add_many([row.key for row in rows], [row.digest for row in rows])
    return tallies


def _check(entry: Entry) -> None:
    """A mistake of one caller must not fail the transaction that others share."""
    if len(entry.key) != _KEY_SIZE or not 0 <= entry.revision <= _MOST_REVISION:
        raise MisuseError("an entry to be stored has an impossible key or revision")


def _asked(
    kind: int, first: bytes, last: bytes, after: bytes | None, offset: int, limit: int
) -> dict[str, object]:
    """What a prepared statement is asked for.  Nothing lies between a key and the same with a zero behind it."""
    if after is not None:
        first = max(first, after + b"\0")
    return {
        "kind": int(kind),
        "first": first,
        "last": last,
        "offset": offset,
        "limit": limit,
    }
