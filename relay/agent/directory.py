"""The agent's end of the record port: putting entries out, finding its contacts' records (DESIGN.md section 5).

Every key that is looked for has a circuit of its own, never one that rings or listens.  A contact point is asked for a
prefix, never for a key, and for no longer a prefix than it has shown 64 entries under, all signed and in time, before
it was asked (`relay.forward_publish.known_buckets`).  A lookup of one key takes 31 answers at most, whatever is shown:
one of the bucket that it begins with, one for each of 14 bits, and the 16 pages of the last bucket.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from relay.agent.whole_pulls import Page
from relay.contact_cache.search import Listing
from relay.core import Clock, Entropy, PeerError, TransportUnavailable
from relay.forward_publish import (
    ANSWER_SIZE,
    MOST_PAGES,
    MOST_PREFIX_BITS,
    PUT_ANSWER_SIZE,
    Bucket,
    Entry,
    EntryKind,
    EntryParsers,
    Fetch,
    KnownBuckets,
    Middle,
    Put,
    StoredListing,
    StoredRecord,
    grind,
    prefix_of,
    put_entry,
)
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.wire import OnionDialer, exchange

RECORD_PORT = 7221
STEP_PAUSE = 0.002
"""Seconds between two steps of the work, in which cells are sealed as ever."""

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
        self._known = KnownBuckets()

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
        key, isolation = wanted[0], self._circuit()
        bits = self._known.bits(onion, key, self._clock.wall())
        first = await self._first_page(onion, key, bits, isolation)
        if first.wide:
            deeper = await self._narrow(onion, key, bits, isolation)
            if deeper > bits:
                # And no further in this lookup, whatever it says now: there is an end to what it may cost.
                bits = deeper
                first = await self._first_page(onion, key, bits, isolation)
        bucket = await self._whole(onion, first, isolation)
        # Signatures are checked not where cells are sealed, or whoever served the bucket could see it.
        look = await asyncio.to_thread(bucket.look, wanted, self._clock.wall(), self._entropy)
        if not look.confirmed:
            self._known.forget(onion, key)
        return [entry for entry in look.found if isinstance(entry, StoredRecord)], bits

    async def _narrow(self, onion: str, key: bytes, bits: int, isolation: str) -> int:
        """How many bits of `key` may be named, where so many may be already: a further one for each bucket whose
        halves are borne out, as far as the contact point says that it is worth asking."""
        wide = True
        while wide and bits < MOST_PREFIX_BITS:
            middle = await self._bucket_page(onion, Middle(bits, prefix_of(key, bits)), isolation)
            now = self._clock.wall()
            until = await asyncio.to_thread(middle.halves_good_until, now)
            if until is None:
                break
            self._known.halve(onion, key, bits, until, now)
            wide = middle.half_is_wide(key)
            bits += 1
        return bits

    async def _first_page(self, onion: str, key: bytes, bits: int, isolation: str) -> Bucket:
        return await self._bucket_page(onion, Fetch(EntryKind.RECORD, bits, prefix_of(key, bits)), isolation)

    async def _whole(self, onion: str, first: Bucket, isolation: str) -> Bucket:
        if first.pages > MOST_PAGES:
            raise TransportUnavailable("the contact point has more under that prefix than can be fetched")
        pages = [first]
        for number in range(1, first.pages):
            asked = Fetch(first.kind, first.bits, first.prefix, number)
            pages.append(await self._bucket_page(onion, asked, isolation))
        return Bucket.join(pages)

    async def _bucket_page(self, onion: str, asked: Fetch | Middle, isolation: str) -> Bucket:
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
