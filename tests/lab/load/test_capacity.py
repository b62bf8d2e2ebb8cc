"""The search for the most lines, on machines that are made up."""

from dataclasses import dataclass

import pytest

from relay.lab.load.capacity import Ceiling, Limit, Search, lines_of_link


@dataclass(frozen=True)
class Machine:
    """So much CPU for each line; from some number on, ticks, cells or the load itself are late."""

    cost: float
    misses_from: float = 1e9
    loses_from: float = 1e9
    load_ends_at: float = 1e9

    def measure(self, lines: int) -> "Seen":
        late = lines >= min(self.misses_from, self.loses_from, self.load_ends_at)
        cpu = min(1.0, lines * self.cost)
        return Seen(cpu, 0.5, not late and cpu < 1, lines < self.load_ends_at, int(lines >= self.misses_from))


@dataclass(frozen=True)
class Seen:
    cpu: float
    load_cpu: float
    carried: bool
    load_kept_up: bool
    missed: int


ROOM = Ceiling(1_000_000)


@pytest.mark.parametrize("capacity", [60, 900, 1400, 4321, 30_000, 200_000])
def test_the_cpu_is_found_within_the_precision(capacity: int) -> None:
    search = Search(Machine(0.7 / capacity).measure, ROOM)
    lines, limit = search.run()
    assert limit is Limit.CPU
    assert capacity * 0.93 - 20 <= lines <= capacity
    assert len(search.tried) <= 14


def test_two_workers_may_use_two_cores() -> None:
    def measure(lines: int) -> Seen:
        return Seen(lines * 0.0001, 0.5, True, True, 0)

    assert Search(measure, ROOM, workers=2).run()[0] == pytest.approx(14_000, rel=0.06)


@pytest.mark.parametrize(
    ("machine", "limit"),
    [
        (Machine(0.0001, misses_from=3000), Limit.TICKS),
        (Machine(0.0001, loses_from=3000), Limit.LOSS),
        (Machine(0.0001, load_ends_at=3000), Limit.GENERATOR),
    ],
)
def test_what_stops_it_is_named(machine: Machine, limit: Limit) -> None:
    lines, found = Search(machine.measure, ROOM).run()
    assert found is limit
    assert 2800 <= lines < 3000


@pytest.mark.parametrize(
    ("ceiling", "limit"),
    [(Ceiling(500), Limit.MEMORY), (Ceiling(5000, 510), Limit.LINK), (Ceiling(2000, 3000), Limit.MEMORY)],
)
def test_a_ceiling_is_not_passed(ceiling: Ceiling, limit: Limit) -> None:
    lines, found = Search(Machine(0.00001).measure, ceiling).run()
    assert found is limit
    assert ceiling.lines * 0.94 <= lines <= ceiling.lines


def test_one_standstill_does_not_decide() -> None:
    failed: list[int] = []

    def measure(lines: int) -> Seen:
        first = not failed
        failed.append(lines)
        return Seen(lines * 0.0001, 0.5, not first, True, int(first))

    assert Search(measure, ROOM).run()[0] >= 6500
    assert failed[:2] == [1000, 1000]


def test_a_machine_that_carries_nothing_says_so() -> None:
    lines, limit = Search(Machine(0.0001, misses_from=0).measure, ROOM).run()
    assert (lines, limit) == (0, Limit.TICKS)


def test_a_gigabit_holds_eleven_thousand_lines() -> None:
    """226 bytes on the wire, 50 times a second: 90.4 kbit/s."""
    assert lines_of_link(1000) == 11_061
