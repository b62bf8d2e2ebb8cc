"""The agent's end of the record port: putting entries out, finding its contacts' records (DESIGN.md section 5).

Every key that is looked for has a circuit of its own, never one that rings or listens.  A contact point is asked for a
prefix, never for a key, and for no longer a prefix than it has shown 64 entries under, all signed and in time, before
it was asked (`relay.forward_publish.known_buckets`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from relay.agent.whole_pulls import Page
from relay.contact_cache.search import Listing
from relay.core import Clock, Entropy, PeerError, TransportUnavailable
from relay.forward_publish import (
    ANSWER_SIZE,
    FEW_PAGES,
    MOST_PAGES,
    PUT_ANSWER_SIZE,
    Bucket,
    Entry,
    EntryKind,
    EntryParsers,
    Fetch,
    KnownBuckets,
    Put,
    StoredListing,
    StoredRecord,
    grind,
    prefix_of,
    put_entry,
    upper_half_page,
)
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.wire import OnionDialer, exchange

RECORD_PORT = 7221
STEP_PAUSE = 0.002
"""Seconds between two steps of the work, in which cells are sealed as ever."""
MOST_POINTS = 256
"""Contact points of which it is remembered what they have shown."""


_PARSERS = EntryParsers({EntryKind.DESCRIPTOR: DescriptorEntry.parse})


class Request(Protocol):
    """One of `relay.forward_publish.requests`."""

    def to_bytes(self) -> bytes: ...


class Directory:
    """Reads and writes entries at contact points."""

    def __init__(self, dialer: OnionDialer, clock: Clock, entropy: Entropy, *, timeout: float = 60.0) -> None:
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._timeout = timeout
        self._known: dict[str, KnownBuckets] = {}

    # -- out -----------------------------------------------------------------------------------------------------

    async def put(self, onion: str, entry: Entry) -> bool:
        """Leave `entry` there.  False where a newer one is there already.

        Raises `TransportUnavailable`, also where the contact point has no room, wants more work than is
        reasonable, or talks nonsense.
        """

        async def ask(request: Put) -> bytes:
            return await self._ask(onion, request, PUT_ANSWER_SIZE, self._circuit())

        return await put_entry(entry, ask, find_work)

    # -- in ------------------------------------------------------------------------------------------------------

    async def fetch(self, onion: str, keys: Sequence[bytes]) -> list[StoredRecord]:
        """The record under the first of `keys` that has one: one, or none.  Its signature is good.

        Keys that lie in a bucket that came for an earlier one are not asked for again.  Raises
        `TransportUnavailable`.
        """
        had: set[tuple[int, int]] = set()
        found: dict[bytes, StoredRecord] = {}
        for number, key in enumerate(keys):
            if not any(prefix_of(key, bits) == prefix for bits, prefix in had):
                records, bits = await self._look(onion, keys[number:])
                had.add((bits, prefix_of(key, bits)))
                found |= {record.key: record for record in records}
            if key in found:
                return [found[key]]
        return []

    async def page(self, onion: str, number: int, *, isolation: str) -> Page[Listing]:
        """See `relay.agent.listings.ListingSource`."""
        bucket = await self._bucket_page(onion, Fetch(EntryKind.LISTING, page=number), isolation)
        good = await asyncio.to_thread(bucket.good, self._clock.wall())
        return Page(bucket.pages, [entry for entry in good if isinstance(entry, StoredListing)])

    async def descriptors(self, onion: str, number: int, *, isolation: str) -> Page[DescriptorEntry]:
        """See `relay.agent.descriptor_pulls.DescriptorSource`."""
        asked = Fetch(EntryKind.DESCRIPTOR, page=number)
        bucket = await self._bucket_page(onion, asked, isolation)
        entries = [entry for entry in bucket.entries if isinstance(entry, DescriptorEntry)]
        return Page(bucket.pages, entries)

    async def _look(self, onion: str, wanted: Sequence[bytes]) -> tuple[list[StoredRecord], int]:
        """What the bucket around the first of `wanted` holds of them, and with how many bits it was asked for."""
        known, isolation, deeper = self._remember(onion), self._circuit(), True
        while True:
            bits = known.bits(wanted[0], self._clock.wall())
            asked = Fetch(EntryKind.RECORD, bits, prefix_of(wanted[0], bits))
            first = await self._bucket_page(onion, asked, isolation)
            deeper = deeper and bits < first.depth
            if deeper and first.pages > FEW_PAGES:
                sample = await self._join(onion, first, (upper_half_page(first.pages),), isolation)
                if await self._halve(known, sample):
                    continue
            bucket = await self._whole(onion, first, isolation)
            # Signatures are checked not where cells are sealed, or whoever served the bucket could see it.
            look = await asyncio.to_thread(bucket.look, wanted, self._clock.wall(), self._entropy)
            if look.confirmed or not bits:
                if deeper:
                    await self._halve(known, bucket)
                return [entry for entry in look.found if isinstance(entry, StoredRecord)], bits
            known.join(bucket)
            deeper = False  # in this lookup: what it shows now it has shown before

    async def _halve(self, known: KnownBuckets, bucket: Bucket) -> bool:
        """Whether the halves of a bucket may be asked for, by what of it is here."""
        now = self._clock.wall()
        return known.halve(bucket, await asyncio.to_thread(bucket.halves_good_until, now), now)

    async def _whole(self, onion: str, first: Bucket, isolation: str) -> Bucket:
        if first.pages > MOST_PAGES:
            raise TransportUnavailable("the contact point has more under that prefix than can be fetched")
        return await self._join(onion, first, range(1, first.pages), isolation)

    async def _join(self, onion: str, first: Bucket, others: Iterable[int], isolation: str) -> Bucket:
        """The first page of a bucket and some others."""
        pages = [first]
        for number in others:
            asked = Fetch(first.kind, first.bits, first.prefix, number)
            pages.append(await self._bucket_page(onion, asked, isolation))
        return Bucket.join(pages)

    def _remember(self, onion: str) -> KnownBuckets:
        if onion not in self._known and len(self._known) >= MOST_POINTS:
            self._known.pop(next(iter(self._known)))
        return self._known.setdefault(onion, KnownBuckets())

    async def _bucket_page(self, onion: str, asked: Fetch, isolation: str) -> Bucket:
        answer = await self._ask(onion, asked, ANSWER_SIZE, isolation)
        try:
            return await asyncio.to_thread(Bucket.parse, answer, asked, _PARSERS)
        except PeerError:
            raise _nonsense() from None

    async def _ask(self, onion: str, request: Request, limit: int, isolation: str) -> bytes:
        try:
            return await exchange(
                self._dialer,
                onion,
                RECORD_PORT,
                request.to_bytes(),
                isolation=isolation,
                limit=limit,
                timeout=self._timeout,
            )
        except (PeerError, OSError):
            raise _nonsense() from None

    def _circuit(self) -> str:
        return f"records-{self._entropy.token(16).hex()}"


async def find_work(entry: Entry, bits: int) -> bytes:
    """The proof of work for `entry`, found in steps so small that the cells do not notice."""
    for found in grind(entry, bits):
        if found is not None:
            return found
        await asyncio.sleep(STEP_PAUSE)
    raise AssertionError("grinding ends with what it looked for")


def _nonsense() -> TransportUnavailable:
    return TransportUnavailable("the contact point gave no usable answer; try another one")
