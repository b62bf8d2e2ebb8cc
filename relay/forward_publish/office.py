"""Takes and gives out entries, by request; a request is all that it learns.

What is put is looked at in the order of what looking costs: form, proof of work, signature, time, and only then the
store.  Whatever is refused is counted by reason and leaves the store as it was.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from relay.core import Counters, PeerError, TransportUnavailable
from relay.forward_publish.answers import (
    PAGE_OF_SUMMARIES,
    PutAnswer,
    PutResult,
    digests_answer,
    page_size,
    peers_answer,
    slots_answer,
    summary_answer,
)
from relay.forward_publish.depths import entries_under, is_wide, place_of
from relay.forward_publish.entries import LEAST_IN_BUCKET, Entry, EntryKind, ReadEntry, key_range
from relay.forward_publish.limits import ContactPointLimits
from relay.forward_publish.parsers import EntryParsers
from relay.forward_publish.periods import CLOCK_SKEW
from relay.forward_publish.requests import (
    Digests,
    Fetch,
    Middle,
    Peers,
    Put,
    Request,
    Summary,
    Want,
    parse_request,
)
from relay.forward_publish.work import bits_wanted, work_bits

PeerNames = Callable[[str, float], Sequence[str]]
"""Names of other contact points, for one that gives its own name or none, at a Unix time."""

_REFUSED = {
    "forged": "entries forged",
    "expired": "entries expired",
    "future-dated": "entries future-dated",
    "oversized": "entries oversized",
    "truncated": "entries truncated",
    "non-canonical": "entries non-canonical",
    "wrong kind": "entries of a wrong kind",
}


class Outcome(IntEnum):
    """What a store did with an entry; its own enumeration has these values."""

    STORED = 0
    SAME = 1
    OLDER = 2


class Store(Protocol):
    """Where entries stay; `relay.contact_cache` has one.

    All of it raises `TransportUnavailable` where the database fails.
    """

    async def put(self, entry: Entry) -> int:
        """An `Outcome`.  Whoever gets STORED or SAME will find the entry again, whatever crashes."""
        ...

    async def select(
        self, kind: int, first: bytes, last: bytes, *, offset: int = 0, limit: int
    ) -> Sequence[Entry]:
        """Entries whose keys lie from `first` to `last`, both included, in the order of keys."""
        ...

    async def around(
        self, kind: int, lower: tuple[bytes, bytes], upper: tuple[bytes, bytes], *, limit: int
    ) -> Sequence[Entry]:
        """The last `limit` entries of the range `lower` and the first `limit` of `upper`, in the order of keys."""
        ...

    async def select_keys(self, kind: int, short_keys: Sequence[bytes]) -> Sequence[Entry]:
        """Entries whose keys begin with one of these."""
        ...

    async def summaries(
        self, kind: int, first: bytes, last: bytes, *, offset: int = 0, limit: int
    ) -> Sequence[tuple[bytes, int, bytes]]:
        """As `select`: key, revision, first 8 bytes of the body's SHA-256."""
        ...

    async def revision(self, kind: int, key: bytes) -> int | None: ...

    async def count(self, kind: int) -> int: ...

    def counts(self, kind: int) -> npt.NDArray[np.int32]:
        """How many by each of the 2^14 first bits of the key."""
        ...

    def digests(self, kind: int) -> Sequence[tuple[bytes, int]]:
        """Digest (16 bytes) and count of each of the 4,096 prefixes of 12 bits."""
        ...

    async def expire(self, before: float) -> int:
        """Forget all that expired before that Unix time; how many."""
        ...


class RecordVisit:
    """One connection to the office, as far as it counts."""

    __slots__ = ("fetches", "puts")

    def __init__(self) -> None:
        self.puts = 0
        self.fetches = 0


class RecordOffice:
    """Answers the requests of the record port."""

    def __init__(
        self,
        store: Store,
        limits: ContactPointLimits,
        counters: Counters,
        parsers: EntryParsers | None = None,
        peers: PeerNames | None = None,
    ) -> None:
        """`counters` knows at least the names in `OFFICE_COUNTS`."""
        self._store = store
        self._limits = limits
        self._counters = counters
        self._parsers = parsers or EntryParsers()
        self._peers = peers

    async def answer(self, request: bytes, now: float, visit: RecordVisit | None = None) -> bytes:
        """The answer to one request of `visit`, or of somebody who asks only once; `now` is Unix time.

        Raises `PeerError`: close the connection; and `TransportUnavailable` where the store fails to find what is
        asked for.
        """
        try:
            asked = parse_request(request)
        except PeerError as error:
            wrong = error.reason == "wrong kind"
            self._counters.count("entries of a wrong kind" if wrong else "requests malformed")
            raise
        self._admit(asked, visit or RecordVisit())
        match asked:
            case Put():
                return (await self._put(asked, now)).to_bytes()
            case Fetch():
                return await self._fetch(asked)
            case Middle():
                return await self._middle(asked)
            case Digests(kind):
                self._counters.count("digests answered")
                return digests_answer(asked, self._store.digests(kind))
            case Summary():
                return await self._summary(asked)
            case Want(kind, keys):
                self._counters.count("wishes answered")
                found = await self._store.select_keys(kind, keys)
                return slots_answer(asked, [entry.body for entry in found[: len(keys)]])
            case Peers(onion):
                self._counters.count("peers answered")
                return peers_answer(asked, self._peers(onion, now) if self._peers is not None else ())

    async def expire(self, now: float) -> int:
        """Forget what nobody can use any more; call it now and then."""
        return await self._store.expire(now - CLOCK_SKEW)

    def _admit(self, asked: Request, visit: RecordVisit) -> None:
        if isinstance(asked, Put):
            visit.puts += 1
            if visit.puts > self._limits.puts_per_connection:
                self._counters.count("entries over the connection")
                raise PeerError("too many entries")
            return
        visit.fetches += 1
        if visit.fetches > self._limits.fetches_per_connection:
            self._counters.count("requests over the connection")
            raise PeerError("too many requests")

    async def _put(self, asked: Put, now: float) -> PutAnswer:
        base = self._limits.work_bits
        try:
            entry = self._parsers.parse(asked.kind, asked.body)
            done = work_bits(entry, asked.work)
            if done < base:
                return self._more_work(base)
            entry.verify()
            entry.check_time(now)
        except PeerError as error:
            self._counters.count(_REFUSED.get(error.reason, "entries malformed"))
            raise
        try:
            refusal = await self._admit_entry(asked.kind, entry, done)
            return refusal or await self._keep(entry)
        except TransportUnavailable:
            # Whoever publishes has to know that it is not kept; why is the operator's matter.
            self._counters.count("store failures")
            return PutAnswer(PutResult.FULL)

    async def _admit_entry(self, kind: EntryKind, entry: ReadEntry, done: int) -> PutAnswer | None:
        """Why there is no room for it, or not for so little work.

        What is there may always be replaced: whoever fills the store must not silence those who were there.
        """
        count, limit = await self._store.count(kind), self._limits.entries(kind)
        wanted = bits_wanted(count, limit, self._limits.work_bits)
        # Asked of the database only where the answer matters: lookups wait at the same door.
        if (count < limit and done >= wanted) or await self._store.revision(kind, entry.key) is not None:
            return None
        if count >= limit:
            self._counters.count("entries over capacity")
            return PutAnswer(PutResult.FULL)
        return self._more_work(wanted)

    async def _keep(self, entry: ReadEntry) -> PutAnswer:
        match Outcome(await self._store.put(entry)):
            case Outcome.STORED:
                self._counters.count("entries stored")
            case Outcome.SAME:
                # An answer may have got lost: who asks again is told the truth, that it is kept.
                self._counters.count("entries replayed")
            case Outcome.OLDER:
                self._counters.count("entries older")
                return PutAnswer(PutResult.OLDER)
        return PutAnswer(PutResult.ACCEPTED)

    def _more_work(self, bits: int) -> PutAnswer:
        self._counters.count("entries without work")
        return PutAnswer(PutResult.MORE_WORK, bits)

    async def _fetch(self, asked: Fetch) -> bytes:
        counts = self._store.counts(asked.kind)
        size = page_size(asked.kind)
        pages = _pages(entries_under(counts, asked.bits, asked.prefix), size)
        place = place_of(counts, asked.bits, asked.prefix, asked.page * size)
        found: Sequence[Entry] = ()
        if place is not None:
            last = key_range(asked.bits, asked.prefix)[1]
            found = await self._store.select(asked.kind, place.first, last, offset=place.offset, limit=size)
        self._counters.count("buckets answered")
        return slots_answer(
            asked,
            [entry.body for entry in found],
            pages=pages,
            wide=is_wide(counts, asked.bits, asked.prefix),
        )

    async def _middle(self, asked: Middle) -> bytes:
        counts, bits, lower = self._store.counts(asked.kind), asked.bits + 1, 2 * asked.prefix
        ranges = key_range(bits, lower), key_range(bits, lower + 1)
        found = await self._store.around(asked.kind, *ranges, limit=LEAST_IN_BUCKET)
        wide = is_wide(counts, bits, lower) + 2 * is_wide(counts, bits, lower + 1)
        self._counters.count("buckets answered")
        return slots_answer(asked, [entry.body for entry in found], wide=wide)

    async def _summary(self, asked: Summary) -> bytes:
        counts = self._store.counts(asked.kind)
        pages = _pages(entries_under(counts, asked.bits, asked.prefix), PAGE_OF_SUMMARIES)
        place = place_of(counts, asked.bits, asked.prefix, asked.page * PAGE_OF_SUMMARIES)
        rows: Sequence[tuple[bytes, int, bytes]] = ()
        if place is not None:
            last = key_range(asked.bits, asked.prefix)[1]
            rows = await self._store.summaries(
                asked.kind, place.first, last, offset=place.offset, limit=PAGE_OF_SUMMARIES
            )
        self._counters.count("summaries answered")
        return summary_answer(asked, rows, pages=pages)


def _pages(entries: int, size: int) -> int:
    """An empty bucket has one page, which is empty."""
    return max(1, -(-entries // size))
