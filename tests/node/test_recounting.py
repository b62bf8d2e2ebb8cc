"""A store that others write to is counted again now and then, the more seldom the longer it takes."""

import asyncio

from relay.core import SystemEntropy, TransportUnavailable
from relay.node.recounting import EVERY, recount_now_and_then
from tests.agent.virtual_time import LoopClock, in_virtual_time


class _Store:
    def __init__(self, seconds: float, *, failing: bool = False) -> None:
        self.seconds, self.failing = seconds, failing
        self.counted: list[float] = []

    async def recount(self) -> None:
        self.counted.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.failing:
            raise TransportUnavailable("the record store does not answer; look at its disk")


async def counted(store: _Store, seconds: float) -> list[float]:
    task = asyncio.create_task(recount_now_and_then(store, LoopClock(), SystemEntropy()))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [later - earlier for earlier, later in zip(store.counted, store.counted[1:], strict=False)]


@in_virtual_time
async def test_at_moments_that_differ_and_not_at_the_start() -> None:
    store = _Store(0.1)
    pauses = await counted(store, 100 * EVERY)
    assert 80 < len(pauses) < 125
    assert 0.5 * EVERY < min(pauses) < 0.7 * EVERY
    assert 1.3 * EVERY < max(pauses) < 1.6 * EVERY


@in_virtual_time
async def test_a_large_store_is_not_kept_from_writing() -> None:
    store = _Store(30.0)
    pauses = await counted(store, 100 * 3000.0)
    assert sum(30.0 for _ in store.counted) < 0.02 * 100 * 3000.0
    assert sum(pauses) / len(pauses) > 2000.0


@in_virtual_time
async def test_a_failure_does_not_end_it() -> None:
    store = _Store(0.1, failing=True)
    await counted(store, 10 * EVERY)
    assert len(store.counted) > 4
