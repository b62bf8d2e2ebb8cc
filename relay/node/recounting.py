"""Counts of a store that several contact points of one operator share: what the others wrote is not in ours."""

import asyncio
from contextlib import suppress
from typing import Protocol

from relay.core import Clock, Entropy, TransportUnavailable

EVERY = 600.0
"""Seconds between two counts, the mean; each at a moment of its own, or all of a cluster would count at once."""

_SHARE = 0.01
"""Of the time that counting may take, as nothing is written meanwhile: a million records take many seconds."""


class Recounted(Protocol):
    """A store whose counts are in memory; `relay.contact_cache.SqlEntryStore` is one."""

    async def recount(self) -> None: ...


async def recount_now_and_then(store: Recounted, clock: Clock, entropy: Entropy) -> None:
    """Until cancelled.  A database that does not answer is asked again."""
    pause = EVERY
    while True:
        await asyncio.sleep(entropy.uniform(0.5, 1.5) * pause)
        began = clock.monotonic()
        with suppress(TransportUnavailable):
            await store.recount()
        pause = max(EVERY, (clock.monotonic() - began) / _SHARE)
