"""The agent's copy of all standing listings: fetched whole, so that no search has to leave the machine.

Page by page everything is fetched, known or not: asking for what is missing would tell a contact point since when, and
would seldom be less, as every listing is published anew under another key each day.  A pull has a circuit of its own,
goes to one contact point, drawn by lot, and begins at a random time.

100,000 listings are 196 answers, 51 MB; from that many on there is one pull a day, in smaller networks there are up to
five.  Beside a line that is always up, 49 GB a month, that is some per cent, so it is on unless `[search] enabled` says
no.
"""

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from relay.agent.kept import Kept, NotKept, read_or_pass_over
from relay.agent.whole_pulls import DAY, Pace, Page, all_pages
from relay.contact_cache.search import Listing, MemoryIndex
from relay.core import Clock, Entropy, TransportUnavailable, get_logger
from relay.wire import UNREADABLE

DATABASE = "listings.db"
"""What the index is kept as: it is whole in memory, and so never lies on the disk in the clear where that is sealed."""

MOST_PAGES = 512
"""Answers of one pull: 128 MiB, 262,144 listings."""

PACE = Pace(shortest=DAY / 4, pages_a_day=400, retry_first=600.0, retry_last=6 * 3600.0)
"""About 100 MiB a day, where one pull takes many answers."""

SWEEP = 3600.0
"""Seconds, at most, for which a listing is found that has expired."""

_KEPT = "listings.json"

_log = get_logger("listings")


class SearchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[search]`: whether standing listings are kept here, to be searched."""

    enabled: bool = True


class ListingSource(Protocol):
    """Asks contact points for all listings, as `FETCH` with no prefix."""

    async def page(self, onion: str, number: int, *, isolation: str) -> Page[Listing]:
        """Page `number`, from 0, of one of ever the same size, with what verified and is in time.

        Raises `TransportUnavailable`, also on nonsense."""
        ...


class Keeping(Protocol):
    """What keeps listings; a `MemoryIndex` does."""

    async def replace_many(self, entries: Sequence[Listing]) -> int: ...
    async def expire(self, before: float) -> int: ...
    async def count(self) -> int: ...
    async def image(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull brought."""

    pages: int
    """Answers."""
    news: int
    """Listings that are new to search."""
    whole: bool
    """Whether all that the contact point has was had."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the last whole pull ended, Unix time, and how many answers it took."""

    at: float
    pages: int


class ListingKeeper:
    """Keeps an index of all listings fresh."""

    def __init__(
        self,
        index: Keeping,
        source: ListingSource,
        contact_points: Sequence[str],
        state: Kept,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._index = index
        self._source = source
        self._contact_points = tuple(contact_points)
        self._state = state
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Pull when it is time, forget what has expired, until cancelled."""
        # What was kept of the last pull counts as long as what it brought is there.
        there = await self._index.count() > 0
        due = self._clock.monotonic() + (
            self._first_wait() if there else PACE.at_start(0.0, 0, 0.0, self._entropy)
        )
        retry = PACE.retry_first
        while True:
            await self._sweep()
            if (left := due - self._clock.monotonic()) > 0:
                await asyncio.sleep(min(left, SWEEP))
                continue
            try:
                pulled = await self.pull(self._entropy.choice(self._contact_points))
            except TransportUnavailable as error:
                _log.info("listings were not fetched", why=str(error))
                wait, retry = PACE.after_failure(retry, self._entropy)
                due = self._clock.monotonic() + wait
                continue
            retry = PACE.retry_first
            await self._keep(pulled.pages)
            due = self._clock.monotonic() + PACE.after(pulled.pages, self._entropy)

    async def pull(self, onion: str) -> Pulled:
        """Fetch all listings of one contact point.  Raises `TransportUnavailable`; what came until then is kept."""
        isolation = f"listings-{self._entropy.token(16).hex()}"
        ask = functools.partial(self._source.page, onion, isolation=isolation)
        number = pages = news = 0
        async for answer in all_pages(ask, MOST_PAGES):
            pages = pages or answer.pages
            number += 1
            news += await self._index.replace_many(answer.entries)
        return Pulled(number, news, whole=number >= pages)

    async def _keep(self, pages: int) -> None:
        try:
            image = await self._index.image()
            await asyncio.to_thread(self._state.write, DATABASE, image)
            self._state.write(_KEPT, msgspec.json.encode(_Kept(self._clock.wall(), pages)))
        except NotKept as error:
            # It only saves a pull after the next start.
            _log.warning("when listings were fetched was not kept", why=str(error))

    async def _sweep(self) -> None:
        try:
            await self._index.expire(self._clock.wall())
        except TransportUnavailable as error:
            _log.info("listings were not swept", why=str(error))

    def _first_wait(self) -> float:
        """Seconds until the first pull: an agent that is started often does not pull each time."""
        content = read_or_pass_over(self._state, _KEPT)
        try:
            kept = None if content is None else msgspec.json.decode(content, type=_Kept)
        except UNREADABLE:
            # It only saves a pull.
            kept = None
        last, pages = (kept.at, kept.pages) if kept is not None else (0.0, 0)
        return PACE.at_start(last, pages, self._clock.wall(), self._entropy)


async def open_listings(state: Kept) -> MemoryIndex:
    """The index as it was kept last; empty where it never was."""
    return await MemoryIndex.load(await asyncio.to_thread(read_or_pass_over, state, DATABASE))
