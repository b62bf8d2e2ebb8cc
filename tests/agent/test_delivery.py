"""One body, several contact points: the first that takes it."""

import asyncio

import pytest

from relay.agent.delivery import PATIENCE, Target, first_that_takes
from relay.core import TransportUnavailable
from tests.agent.virtual_time import LoopClock, in_virtual_time

TARGETS = [("a" * 56, "x"), ("b" * 56, "y"), ("c" * 56, "z")]


class Points:
    def __init__(self, *, down: str = "", slow: str = "") -> None:
        self.down = down
        self.slow = slow
        self.asked: list[Target] = []

    async def send(self, onion: str, token: str, body: bytes) -> None:
        assert body == b"body"
        self.asked.append((onion, token))
        if onion[0] in self.down:
            raise TransportUnavailable("the contact point did not answer; try again")
        if onion[0] in self.slow:
            await asyncio.sleep(25.0)


@in_virtual_time
async def test_the_first_that_takes_it_is_the_last_that_is_asked() -> None:
    points = Points(down="a")
    assert await first_that_takes(TARGETS, b"body", points.send) == TARGETS[1]
    assert points.asked == TARGETS[:2]


@in_virtual_time
async def test_one_that_is_slow_gives_way_but_the_last_one_gets_its_time() -> None:
    clock = LoopClock()
    began = clock.monotonic()
    points = Points(slow="abc")
    assert await first_that_takes(TARGETS, b"body", points.send) == TARGETS[2]
    assert clock.monotonic() - began == pytest.approx(2 * PATIENCE + 25.0)


@in_virtual_time
async def test_where_none_takes_it_that_is_said() -> None:
    for targets in (TARGETS, []):
        with pytest.raises(TransportUnavailable):
            await first_that_takes(targets, b"body", Points(down="abc").send)
