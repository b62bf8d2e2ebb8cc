"""What is told of the load is coarse and late: no line, no call and no start of the process shows in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media_reflector.occupancy import FULL, PERIOD, OccupancyLevel

CAPACITY = 1000
WALL = 1_800_000_000 // PERIOD * PERIOD


@pytest.mark.parametrize(
    ("lines", "level"),
    [(0, 0), (249, 0), (250, 1), (499, 1), (500, 2), (749, 2), (750, 3), (949, 3), (950, FULL), (1000, FULL)],
)
def test_levels_are_quarters_and_full(lines: int, level: int) -> None:
    assert OccupancyLevel(CAPACITY).look(lines, WALL) == level


def test_lines_around_a_threshold_move_nothing() -> None:
    occupancy = OccupancyLevel(CAPACITY)
    told = [
        occupancy.look(lines, WALL + PERIOD * number)
        for number, lines in enumerate([251, 248, 252, 195, 251, 189])
    ]
    assert told == [1, 1, 1, 1, 1, 0]
    assert OccupancyLevel(CAPACITY).look(248, WALL) == 0, "without history the threshold alone decides"


def test_a_large_step_is_told_at_once_when_it_is_time() -> None:
    occupancy = OccupancyLevel(CAPACITY)
    assert [occupancy.look(lines, WALL + number * PERIOD) for number, lines in enumerate([990, 0])] == [4, 0]


@given(
    st.lists(st.tuples(st.floats(0.0, 400.0), st.integers(0, CAPACITY)), min_size=1, max_size=60),
    st.floats(0.0, PERIOD),
)
def test_it_changes_at_most_once_in_a_period_of_the_clock(
    looks: list[tuple[float, int]], start: float
) -> None:
    occupancy, wall = OccupancyLevel(CAPACITY), WALL + start
    told: dict[int, set[int]] = {}
    for pause, lines in looks:
        wall += pause
        told.setdefault(int(wall // PERIOD), set()).add(occupancy.look(lines, wall))
        assert 0 <= occupancy.level <= FULL
    assert all(len(levels) == 1 for levels in told.values())


def test_two_processes_change_at_the_same_moment_whenever_they_began() -> None:
    early, late = OccupancyLevel(CAPACITY), OccupancyLevel(CAPACITY)
    early.look(0, WALL + 1)
    late.look(0, WALL + 599)
    changes = [
        next(wall for wall in range(WALL + 600, WALL + 1300) if level.look(600, wall) == 2)
        for level in (early, late)
    ]
    assert changes == [WALL + 600, WALL + 600]
