"""The agent's copy of all listings: fetched whole, on circuits of its own, at random times, within bounds."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from relay.agent.kept import NotKept, PlainFiles
from relay.agent.listings import MOST_PAGES, PACE, ListingKeeper, open_listings
from relay.agent.whole_pulls import DAY, MOST_IN_VAIN, SOON, Page
from relay.contact_cache.search import Listing
from relay.core import SeededEntropy, TransportUnavailable
from tests.agent.virtual_time import WALL, LoopClock, in_virtual_time

POINTS = ("a" * 56, "b" * 56)


@dataclass(frozen=True, slots=True)
class Listed:
    identity: bytes
    key: bytes
    name: str
    organisation: str = ""
    tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    revision: int = 1
    expires: int = int(WALL + 100 * DAY)


def listed(number: int, *, expires: float = WALL + 100 * DAY) -> Listed:
    key = hashlib.sha256(b"%d" % number).digest()
    return Listed(hashlib.sha256(key).digest(), key, f"Person{number} Name", expires=int(expires))


@dataclass
class Points:
    """Contact points that all have the same."""

    clock: LoopClock
    pages: list[Sequence[Listed]]
    claimed: int | None = None
    failing: bool = False
    asked: list[tuple[float, str, int, str]] = field(default_factory=list)

    async def page(self, onion: str, number: int, *, isolation: str) -> Page[Listing]:
        self.asked.append((self.clock.monotonic(), onion, number, isolation))
        if self.failing:
            raise TransportUnavailable("the contact point gave no usable answer; try another one")
        found = self.pages[number] if number < len(self.pages) else ()
        return Page(len(self.pages) if self.claimed is None else self.claimed, found)

    def pulls(self) -> list[float]:
        """When each began."""
        return [at for at, _, number, _ in self.asked if number == 0]


class Memory:
    """Keeps listings without a thread, for which virtual time would not wait."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Listing] = {}

    async def replace_many(self, entries: Sequence[Listing]) -> int:
        before = len(self.kept)
        self.kept.update({entry.identity: entry for entry in entries})
        return len(self.kept) - before

    async def count(self) -> int:
        return len(self.kept)

    async def image(self) -> bytes:
        return repr(self.kept).encode()

    async def expire(self, before: float) -> int:
        gone = [identity for identity, entry in self.kept.items() if entry.expires < before]
        for identity in gone:
            del self.kept[identity]
        return len(gone)


class Agent:
    """An agent's state, its contact points, and what it keeps."""

    def __init__(self, place: Path, *pages: Sequence[Listed]) -> None:
        self.clock, self.index, self.state = LoopClock(), Memory(), PlainFiles(place)
        self.points = Points(self.clock, list(pages))

    def keeper(self, seed: str = "keeper") -> ListingKeeper:
        return ListingKeeper(self.index, self.points, POINTS, self.state, self.clock, SeededEntropy(seed))

    async def run_for(self, seconds: float, seed: str = "keeper") -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.keeper(seed).run(), seconds)


@in_virtual_time
async def test_all_pages_are_had_on_one_circuit_of_their_own(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1), listed(2)], [listed(3)])
    keeper = one.keeper()
    first = await keeper.pull(POINTS[0])
    assert (first.pages, first.news, first.whole) == (2, 3, True)
    again = await keeper.pull(POINTS[0])
    assert (again.pages, again.news) == (2, 0)
    assert len(one.index.kept) == 3
    circuits = [isolation for _, _, _, isolation in one.points.asked]
    assert circuits[0] == circuits[1] != circuits[2] == circuits[3]
    # What is asked for does not depend on what is known already.
    assert [number for _, _, number, _ in one.points.asked] == [0, 1, 0, 1]


@in_virtual_time
async def test_pulls_come_at_random_times_from_points_drawn_by_lot(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1)])
    began = one.clock.monotonic()
    await one.run_for(10 * DAY)
    times = one.points.pulls()
    gaps = [after - before for before, after in pairwise(times)]
    assert 0 <= times[0] - began <= SOON
    assert all(0.75 * PACE.shortest <= gap <= PACE.shortest + 1 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.1 * PACE.shortest
    assert {onion for _, onion, _, _ in one.points.asked} == set(POINTS)


@in_virtual_time
async def test_a_large_set_is_pulled_once_a_day(tmp_path: Path) -> None:
    one = Agent(tmp_path, *[[listed(number)] for number in range(450)])
    await one.run_for(4 * DAY)
    times = one.points.pulls()
    assert all(0.75 * DAY <= after - before <= DAY + 1 for before, after in pairwise(times))
    assert len(one.index.kept) == 450


@in_virtual_time
async def test_an_agent_that_is_started_often_does_not_pull_each_time(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1)])
    for seed in ("one", "two", "three"):
        await one.run_for(0.2 * PACE.shortest, seed)
    assert len(one.points.pulls()) == 1
    one.state.write("listings.json", b"damaged")
    await one.run_for(SOON, "four")
    assert len(one.points.pulls()) == 2


@in_virtual_time
async def test_a_contact_point_that_is_not_there_is_asked_less_and_less(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1)])
    one.points.failing = True
    await one.run_for(2 * DAY)
    assert 5 < len(one.points.asked) < 30
    one.points.failing = False
    await one.run_for(SOON)
    assert len(one.index.kept) == 1


@pytest.mark.parametrize("claimed", [2**40, 10_000])
def test_a_lying_contact_point_wastes_bounded_effort(tmp_path: Path, claimed: int) -> None:
    @in_virtual_time
    async def lie() -> None:
        one = Agent(tmp_path, [listed(1)])
        one.points.claimed = claimed
        pulled = await one.keeper().pull(POINTS[0])
        assert (pulled.pages, pulled.whole) == (1 + MOST_IN_VAIN, False)
        one.points.pages = [[listed(number)] for number in range(MOST_PAGES + 9)]
        assert (await one.keeper().pull(POINTS[0])).pages == MOST_PAGES
        one.points.claimed = 0
        assert (await one.keeper().pull(POINTS[0])).pages == 1

    lie()


@in_virtual_time
async def test_what_expires_is_found_no_more(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1, expires=WALL + 2 * DAY), listed(2)])
    await one.run_for(DAY)
    assert len(one.index.kept) == 2
    one.points.pages = [[listed(2)]]
    await one.run_for(1.2 * DAY)
    assert [entry.name for entry in one.index.kept.values()] == ["Person2 Name"]


async def test_what_was_pulled_is_searched_in_the_state_directory(tmp_path: Path) -> None:
    one = Agent(tmp_path, [listed(1), listed(2)], [listed(3)])
    index = await open_listings(one.state)
    try:
        keeper = ListingKeeper(index, one.points, POINTS, one.state, one.clock, SeededEntropy("k"))
        pulled = await keeper.pull(POINTS[0])
        assert pulled.news == 3
        await keeper._keep(pulled.pages)
    finally:
        await index.close()
    again = await open_listings(one.state)
    try:
        assert [found.name for found in await again.search("person3")] == ["Person3 Name"]
    finally:
        await again.close()


@in_virtual_time
async def test_a_full_disk_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Agent(tmp_path, [listed(1)])

    def full(_state: PlainFiles, _name: str, _content: bytes) -> None:
        raise NotKept("the disk is full")

    monkeypatch.setattr(PlainFiles, "write", full)
    await one.run_for(2 * DAY)
    assert len(one.points.pulls()) > 4
