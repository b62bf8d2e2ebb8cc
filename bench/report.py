"""What a run leaves: summary.json (DESIGN.md section 8), a table to read, a picture; and whether every row holds."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from relay.core import Clock
from relay.lab.demo.results import commit, machine


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary; `target` is empty and `holds` None where a figure is only reported.

    `value` is None where it could not be measured; `how` says why then.
    """

    measure: str
    target: str
    value: float | None
    holds: bool | None
    how: str


def at_most(measure: str, limit: float, value: float, how: str, *, digits: int = 2, unit: str = "") -> Row:
    """A row whose value has a ceiling.  NaN never holds."""
    return Row(measure, f"at most {limit:g}{unit}", rounded(value, digits), value <= limit, how)


def at_least(measure: str, limit: float, value: float, how: str, *, digits: int = 2, unit: str = "") -> Row:
    """A row whose value has a floor.  NaN never holds."""
    return Row(measure, f"at least {limit:g}{unit}", rounded(value, digits), value >= limit, how)


def reported(measure: str, value: float, how: str, *, digits: int = 2) -> Row:
    """A row without a target."""
    return Row(measure, "", rounded(value, digits), None, how)


def not_run(measure: str, target: str, why: str) -> Row:
    """A row with a target that could not be measured: it does not hold."""
    return Row(measure, target, None, False, f"not run: {why}")


def rounded(value: float, digits: int) -> float | None:
    """None for what is no number: JSON has none for it."""
    return round(value, digits) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curve: lines, share of one core, whether all of them were carried as they must be."""

    relay: str
    workers: int
    lines: int
    cpu: float
    microseconds_per_cell: float | None
    loss: float
    missed: int
    p99_ms: float | None
    carried: bool
    load_kept_up: bool


@dataclass(slots=True)
class Report:
    """Everything that was found so far."""

    quick: bool
    rows: list[Row] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    """CPU microseconds per relayed packet, by relay."""

    @property
    def holds(self) -> bool:
        """Whether no row with a target fails."""
        return all(row.holds is not False for row in self.rows)

    def summary(self, clock: Clock) -> dict[str, object]:
        """The content of summary.json."""
        return {
            "commit": commit(),
            "date": datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "quick": self.quick,
            "rows": [asdict(row) for row in self.rows],
            "curve": [asdict(point) for point in self.curve],
            "costs": {name: round(cost, 3) for name, cost in self.costs.items()},
        }

    def write(self, directory: Path, clock: Clock) -> dict[str, object]:
        """summary.json and bench.md; gives the summary."""
        summary = self.summary(clock)
        (directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        (directory / "bench.md").write_text(self.table())
        return summary

    def table(self) -> str:
        """bench.md."""
        lines = ["| measure | target | value | holds |", "|---|---|---|---|"]
        for row in self.rows:
            value = "not run" if row.value is None else f"{row.value:g}"
            lines.append(f"| {row.measure} | {row.target} | {value} | {mark(row)} |")
        if self.costs:
            lines += ["", "| relay | CPU us per packet through |", "|---|---|"]
            lines += [f"| {name} | {cost:.2f} |" for name, cost in self.costs.items()]
        if self.curve:
            lines += [
                "",
                "| relay | workers | lines | of a core | us per cell | loss | missed ticks | p99, ms | |",
            ]
            lines.append("|---|---|---|---|---|---|---|---|---|")
            lines += [_point(point) for point in self.curve]
        hows = [f"- {row.measure}: {row.how}" for row in self.rows]
        return "\n".join([*lines, "", "How each was measured:", "", *hows]) + "\n"


def mark(row: Row) -> str:
    return "" if row.holds is None else "yes" if row.holds else "**no**"


def _point(point: Point) -> str:
    verdict = (
        "carried" if point.carried else "not carried" if point.load_kept_up else "load generator at its end"
    )
    figures: Sequence[str] = (
        point.relay,
        f"{point.workers}",
        f"{point.lines}",
        f"{point.cpu:.0%}",
        _figure(point.microseconds_per_cell),
        f"{point.loss:.3%}",
        f"{point.missed}",
        _figure(point.p99_ms),
        verdict,
    )
    return "| " + " | ".join(figures) + " |"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
