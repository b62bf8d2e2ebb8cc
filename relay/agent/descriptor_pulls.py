"""Reads reflectors' descriptors at contact points: all of them, always, so that none says which ones count here.

As with listings (`relay.agent.listings`), page by page everything is fetched, known or not, accepted or not; a pull has
a circuit of its own, goes to one contact point, drawn by lot, and begins at a random time.  Signatures are checked, of
accepted reflectors' alone, when the last page has come: how long that takes shows nobody how many they are.

64 reflectors are one answer of 256 KiB; small networks are read every hour, large ones up to once a day.
"""

import asyncio
import functools
from collections.abc import Sequence
from typing import Protocol

from relay.agent.accepted import Accepted
from relay.agent.kept import NotKept
from relay.agent.known_descriptors import KnownDescriptors, authentic, candidates
from relay.agent.whole_pulls import Pace, Page, all_pages
from relay.core import Clock, Entropy, TransportUnavailable, get_logger
from relay.media_reflector.descriptor_entry import DescriptorEntry

MOST_PAGES = 160
"""Answers of one pull: 40 MiB, 10,240 reflectors."""
PACE = Pace(shortest=3600.0, pages_a_day=200, retry_first=300.0, retry_last=2 * 3600.0)
"""50 MiB a day, where one pull takes several answers."""

_log = get_logger("reflectors")


class DescriptorSource(Protocol):
    """Asks contact points for all descriptors, as `FETCH` with no prefix."""

    async def descriptors(self, onion: str, number: int, *, isolation: str) -> Page[DescriptorEntry]:
        """Page `number`, from 0, of one of ever the same size, with what has the right form; nothing else is checked.

        Raises `TransportUnavailable`, also on nonsense."""
        ...


class Learner(Protocol):
    """Who descriptors are for; a `ReflectorPool` is one."""

    known: KnownDescriptors

    @property
    def accepted(self) -> Accepted:
        """What the owner accepts now."""
        ...

    def learn(self, entries: Sequence[DescriptorEntry]) -> None:
        """Use what is news of `authentic` entries."""
        ...


class DescriptorPulls:
    """Keeps what is known of accepted reflectors fresh."""

    def __init__(
        self,
        learner: Learner,
        source: DescriptorSource,
        contact_points: Sequence[str],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._learner = learner
        self._source = source
        self._contact_points = tuple(contact_points)
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Pull when it is time, until cancelled."""
        known = self._learner.known
        wait = PACE.at_start(known.pulled_at, known.pages, self._clock.wall(), self._entropy)
        retry = PACE.retry_first
        while True:
            await asyncio.sleep(wait)
            try:
                pages = await self.pull(self._entropy.choice(self._contact_points))
            except TransportUnavailable as error:
                _log.info("descriptors were not fetched", why=str(error))
                wait, retry = PACE.after_failure(retry, self._entropy)
                continue
            retry = PACE.retry_first
            await self._keep(pages)
            wait = PACE.after(pages, self._entropy)

    async def pull(self, onion: str) -> int:
        """Fetch all descriptors of one contact point; how many answers it took.

        Raises `TransportUnavailable`; what came until then is used.
        """
        isolation = f"descriptors-{self._entropy.token(16).hex()}"
        ask = functools.partial(self._source.descriptors, onion, isolation=isolation)
        found: list[DescriptorEntry] = []
        number = 0
        try:
            async for answer in all_pages(ask, MOST_PAGES):
                number += 1
                found += candidates(answer.entries, self._learner.accepted)
        except TransportUnavailable:
            await self._learn(found)
            raise
        await self._learn(found)
        return number

    async def _learn(self, found: Sequence[DescriptorEntry]) -> None:
        good = await asyncio.to_thread(authentic, found, self._learner.accepted, self._clock.wall())
        self._learner.learn(good)

    async def _keep(self, pages: int) -> None:
        known = self._learner.known
        try:
            await asyncio.to_thread(known.keep, known.kept(self._clock.wall(), pages))
        except NotKept as error:
            # They are fetched again after the next start, and that is all.
            _log.warning("descriptors were not kept", why=str(error))
