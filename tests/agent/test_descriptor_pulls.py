"""Reading descriptors: all of them, on circuits of their own, at random times, the same whoever is accepted."""

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from relay.agent.accepted import Accepted
from relay.agent.descriptor_pulls import MOST_PAGES, PACE, DescriptorPulls
from relay.agent.kept import NotKept, PlainFiles
from relay.agent.known_descriptors import FILE, KnownDescriptors
from relay.agent.whole_pulls import DAY, MOST_IN_VAIN, SOON, Page
from relay.core import SeededEntropy, TransportUnavailable
from relay.media_reflector.descriptor_entry import DescriptorEntry
from tests.agent.ticket_services import CLOCK, Service
from tests.agent.virtual_time import in_virtual_time

POINTS = ("a" * 56, "b" * 56)


class Points:
    """Contact points that all have the same."""

    def __init__(self, *pages: Sequence[DescriptorEntry]) -> None:
        self.pages = list(pages)
        self.claimed: int | None = None
        self.failing_from: int | None = None
        self.asked: list[tuple[float, str, int, str]] = []

    async def descriptors(self, onion: str, number: int, *, isolation: str) -> Page[DescriptorEntry]:
        self.asked.append((CLOCK.monotonic(), onion, number, isolation))
        if self.failing_from is not None and number >= self.failing_from:
            raise TransportUnavailable("the contact point gave no usable answer; try another one")
        found = self.pages[number] if number < len(self.pages) else ()
        return Page(len(self.pages) if self.claimed is None else self.claimed, found)

    def pulls(self) -> list[float]:
        """When each began."""
        return [at for at, _, number, _ in self.asked if number == 0]


class Agent:
    """Who reads, and what it learned; a `Learner`."""

    def __init__(self, place: Path, points: Points, *accepted: Service) -> None:
        self.state, self.points = PlainFiles(place), points
        self.accepted = Accepted({one.reference.identity: one.reference for one in accepted})
        self.known = KnownDescriptors(self.state)
        self.learned: list[bytes] = []

    def learn(self, entries: Sequence[DescriptorEntry]) -> None:
        self.learned += [descriptor.identity for descriptor in self.known.take(entries)]

    def pulls(self, seed: str = "pulls") -> DescriptorPulls:
        return DescriptorPulls(self, self.points, POINTS, CLOCK, SeededEntropy(seed))

    async def run_for(self, seconds: float, seed: str = "pulls") -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pulls(seed).run(), seconds)


@in_virtual_time
async def test_all_pages_are_had_on_one_circuit_of_their_own(tmp_path: Path) -> None:
    one, two, three = (Service(letter * 56) for letter in "cde")
    agent = Agent(tmp_path, Points([one.entry(), two.entry()], [three.entry()]), one, three)
    assert await agent.pulls().pull(POINTS[0]) == 2
    assert agent.learned == [one.reference.identity, three.reference.identity]
    agent.learned = []
    assert await agent.pulls("again").pull(POINTS[0]) == 2
    assert agent.learned == [], "no news"
    circuits = [isolation for _, _, _, isolation in agent.points.asked]
    assert circuits[0] == circuits[1] != circuits[2] == circuits[3]
    assert [number for _, _, number, _ in agent.points.asked] == [0, 1, 0, 1]


@in_virtual_time
async def test_what_is_asked_for_is_the_same_whoever_is_accepted(tmp_path: Path) -> None:
    services = [Service(letter * 56) for letter in "cdefgh"]
    asked = []
    for number, accepted in enumerate((services[:1], services[5:], services, ())):
        began = CLOCK.monotonic()
        pages = [one.entry() for one in services[:3]], [one.entry() for one in services[3:]]
        agent = Agent(tmp_path / str(number), Points(*pages), *accepted)
        await agent.run_for(DAY)
        asked.append([(at - began, onion, page, circuit) for at, onion, page, circuit in agent.points.asked])
        assert len(agent.learned) == len(accepted)
    assert all(
        [(onion, page, circuit) for _, onion, page, circuit in one]
        == [(onion, page, circuit) for _, onion, page, circuit in asked[0]]
        for one in asked
    )
    # In time as well, but for what floating-point numbers make of it.
    for one in asked:
        assert [at for at, *_ in one] == pytest.approx([at for at, *_ in asked[0]])


@in_virtual_time
async def test_pulls_come_at_random_times_from_points_drawn_by_lot(tmp_path: Path) -> None:
    one = Service("c" * 56)
    agent = Agent(tmp_path, Points([one.entry()]), one)
    began = CLOCK.monotonic()
    await agent.run_for(3 * DAY)
    times = agent.points.pulls()
    gaps = [after - before for before, after in pairwise(times)]
    assert 0 <= times[0] - began <= SOON
    assert all(0.75 * PACE.shortest <= gap <= PACE.shortest + 1 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.1 * PACE.shortest
    assert {onion for _, onion, _, _ in agent.points.asked} == set(POINTS)


@in_virtual_time
async def test_a_large_set_is_pulled_seldom(tmp_path: Path) -> None:
    one = Service("c" * 56)
    agent = Agent(tmp_path, Points(*[[one.entry()]] * 150), one)
    await agent.run_for(3 * DAY)
    gaps = [after - before for before, after in pairwise(agent.points.pulls())]
    assert gaps
    assert all(gap > 0.5 * DAY for gap in gaps)


@in_virtual_time
async def test_an_agent_that_is_started_often_does_not_pull_each_time(tmp_path: Path) -> None:
    one = Service("c" * 56)
    points = Points([one.entry()])
    for seed in ("one", "two", "three"):
        await Agent(tmp_path, points, one).run_for(0.2 * PACE.shortest, seed)
    assert len(points.pulls()) == 1
    (tmp_path / FILE).write_bytes(b"damaged")
    await Agent(tmp_path, points, one).run_for(SOON, "four")
    assert len(points.pulls()) == 2


@in_virtual_time
async def test_a_contact_point_that_is_not_there_is_asked_less_and_less(tmp_path: Path) -> None:
    one = Service("c" * 56)
    agent = Agent(tmp_path, Points([one.entry()]), one)
    agent.points.failing_from = 0
    await agent.run_for(2 * DAY)
    assert 20 < len(agent.points.asked) < 60
    agent.points.failing_from, agent.points.pages = None, [[one.entry()]]
    await agent.run_for(SOON)
    assert len(agent.learned) == 1


@in_virtual_time
async def test_what_came_before_it_broke_off_is_used(tmp_path: Path) -> None:
    one, two = Service("c" * 56), Service("d" * 56)
    agent = Agent(tmp_path, Points([one.entry()], [two.entry()]), one, two)
    agent.points.failing_from = 1
    with pytest.raises(TransportUnavailable):
        await agent.pulls().pull(POINTS[0])
    assert agent.learned == [one.reference.identity]


@in_virtual_time
async def test_a_full_disk_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, content: bytes) -> None:
        raise NotKept("the disk is full")

    one = Service("c" * 56)
    agent = Agent(tmp_path, Points([one.entry()]), one)
    monkeypatch.setattr(agent.state, "write", full)
    await agent.run_for(DAY)
    assert len(agent.points.pulls()) > 20
    assert agent.learned == [one.reference.identity]


@pytest.mark.parametrize("claimed", [2**40, 10_000])
def test_a_lying_contact_point_wastes_bounded_effort(tmp_path: Path, claimed: int) -> None:
    @in_virtual_time
    async def lie() -> None:
        one = Service("c" * 56)
        agent = Agent(tmp_path, Points([one.entry()]), one)
        agent.points.claimed = claimed
        assert await agent.pulls().pull(POINTS[0]) == 1 + MOST_IN_VAIN
        agent.points.pages = [[one.entry()]] * (MOST_PAGES + 9)
        assert await agent.pulls().pull(POINTS[0]) == MOST_PAGES
        agent.points.claimed = 0
        assert await agent.pulls().pull(POINTS[0]) == 1

    lie()
