"""When a row holds, and what is left behind."""

import json
from pathlib import Path

import pytest

from bench.plot import draw
from bench.report import Point, Report, Row, at_least, at_most, not_run, reported
from relay.core import ManualClock

NAN = float("nan")


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (at_most("a", 1.4, 1.4, ""), True),
        (at_most("a", 1.4, 1.401, ""), False),
        (at_most("a", 1.4, NAN, ""), False),
        (at_least("a", 5000, 5000, ""), True),
        (at_least("a", 5000, 4999, ""), False),
        (at_least("a", 5000, NAN, ""), False),
        (not_run("a", "at most 1", "no such program"), False),
        (reported("a", 7.0, ""), None),
    ],
)
def test_a_row_holds_by_its_own_value(row: Row, holds: bool | None) -> None:
    assert row.holds is holds


def test_a_value_is_judged_before_it_is_rounded() -> None:
    row = at_most("a", 1.4, 1.4004, "")
    assert (row.value, row.holds) == (1.4, False)


def test_one_row_that_fails_fails_all() -> None:
    report = Report(False, [reported("a", 1.0, ""), at_most("b", 2, 1, "")])
    assert report.holds
    report.rows.append(not_run("c", "at most 1", "why"))
    assert not report.holds


def test_summary_table_and_picture_are_written(tmp_path: Path) -> None:
    points = [Point("native", 1, 100, 0.02, 4.0, 0.0, 0, 0.1, True, True)]
    points.append(Point("native", 2, 9000, 0.99, 4.0, 0.5, 7, 9.1, False, False))
    report = Report(True, [at_most("cost", 1.6, 1.2, "how"), not_run("peer", "at most 1", "gone")], points)
    report.costs["native, 100 lines"] = 4.0
    report.write(tmp_path, ManualClock())
    draw(tmp_path / "bench.png", report)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {"commit", "date", "machine", "rows", "curve", "costs"} <= set(summary)
    assert summary["rows"][0] == {
        "measure": "cost",
        "target": "at most 1.6",
        "value": 1.2,
        "holds": True,
        "how": "how",
    }
    assert summary["rows"][1]["value"] is None
    table = (tmp_path / "bench.md").read_text()
    assert "| cost | at most 1.6 | 1.2 | yes |" in table
    assert "| peer | at most 1 | not run | **no** |" in table
    assert "load generator at its end" in table
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_at_all_can_be_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "bench.png", Report(False))
    assert (tmp_path / "bench.png").exists()
