"""What is said of two workers, and what is not where the load shares their cores."""

from dataclasses import replace

import pytest

from bench import curve
from bench.curve import rows_of_two, two_workers
from bench.relays import Bench
from bench.report import Point, Report
from relay.core import ManualClock

ONE = Point("native", 1, 1000, 0.2, 4.0, 0.0, 0, 0.1, carried=True, load_kept_up=True)
SINGLE = [
    ONE,
    replace(ONE, lines=2000, cpu=0.5, microseconds_per_cell=5.0),
    replace(ONE, lines=3000, cpu=0.8),
]
TWO = [
    replace(ONE, workers=2, cpu=0.3, microseconds_per_cell=6.0),
    replace(ONE, workers=2, lines=2000, cpu=0.5, microseconds_per_cell=5.0),
    replace(ONE, workers=2, lines=3000, cpu=1.2, microseconds_per_cell=7.0, missed=9, carried=False),
]


def test_lines_carried_and_cost_are_told_beside_those_of_one_worker() -> None:
    found = {row.measure: row for row in rows_of_two(TWO, SINGLE, shared=False)}
    most = found["lines carried by two workers"]
    assert (most.value, most.holds) == (2000, None)
    assert "one worker with a core of its own: 2000" in most.how
    assert found["two workers: CPU per cell, 1000 lines, us"].value == 6.0
    assert found["two workers against one, 1000 lines, times"].value == 1.5
    assert "not all lines were carried" in found["two workers: CPU per cell, 3000 lines, us"].how


def test_cores_that_the_load_shares_are_named() -> None:
    assert all("same two cores" in row.how for row in rows_of_two(TWO, [], shared=True))
    assert "not measured" in rows_of_two(TWO, [], shared=True)[0].how


def test_two_cores_may_be_used_as_far_as_two_times_one() -> None:
    (most, *_) = rows_of_two([replace(TWO[0], cpu=1.39), replace(TWO[1], cpu=1.41)], [], shared=False)
    assert most.value == 1000


def test_nothing_is_said_of_a_cost_where_the_load_itself_did_not_keep_up() -> None:
    rows = rows_of_two([replace(TWO[2], load_kept_up=False)], SINGLE, shared=True)
    assert [(row.measure, row.value) for row in rows] == [("lines carried by two workers", 0)]


def test_more_lines_are_tried_until_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def best(_: Bench, lines: int, seconds: float, *, workers: int) -> Point:
        tried.append((lines, workers))
        return replace(ONE, workers=workers, lines=lines, carried=lines < 4000)

    monkeypatch.setattr(curve, "_best", best)
    report = Report(False, curve=list(SINGLE))
    two_workers(Bench(ManualClock(), False, lambda text: None), report)
    assert tried == [(1000, 2), (2000, 2), (3000, 2), (4000, 2)]
    assert [one.lines for one in report.curve if one.workers == 2] == [1000, 2000, 3000, 4000]
    assert report.rows[0].value == 3000
