"""Everything, side by side: `python -m bench [--quick] [--only NAME …] [--out bench-out] [--json]`.

Progress goes to standard error.  Ends with 1 when a row does not hold.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench import cells, costs, curve, departures, handshakes, memory
from bench.plot import draw
from bench.relays import Bench
from bench.report import Report, not_run
from relay.core import BayonneError, SystemClock
from relay.lab.load.measure import MAX_CPU

_ASSUMED_COST = 3e-6
"""Seconds of CPU per cell, for half load where the curve is not measured."""


def main() -> int:
    """Measure, print, and keep what was found."""
    options = _options()
    clock = SystemClock()
    began = clock.monotonic()

    def say(text: str) -> None:
        print(f"[{clock.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    bench = Bench(clock, options.quick, say)
    report = Report(options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, stage in _stages(bench, report).items():
        if options.only and name not in options.only:
            continue
        say(f"== {name}")
        try:
            stage()
        except BayonneError as error:
            report.rows.append(not_run(name, "", str(error)))
            say(f"{name}: {error}")
        summary = report.write(options.out, clock)
    draw(options.out / "bench.png", report)
    if options.json:
        print(json.dumps(summary))
    else:
        print(report.table())
    failed = [row.measure for row in report.rows if row.holds is False]
    say("every row holds" if not failed else f"{len(failed)} rows do not hold: {'; '.join(failed)}")
    return 0 if report.holds else 1


def _stages(bench: Bench, report: Report) -> dict[str, Callable[[], None]]:
    """Each part of the bench by its name, in order."""
    most = 0

    def lines_per_core() -> None:
        nonlocal most
        most = curve.lines_per_core(bench, report)

    def half_load() -> int:
        """Half of what a core carries, an even number."""
        return max(100, (most or int(MAX_CPU / _ASSUMED_COST / 50)) // 4 * 2)

    return {
        "cells": lambda: report.rows.extend(cells.measure(quick=bench.quick)),
        "memory": lambda: memory.memory(report, quick=bench.quick),
        "floor": lambda: costs.against_floor(bench, report),
        "peers": lambda: costs.against_peers(bench, report),
        "curve": lines_per_core,
        "workers": lambda: curve.two_workers(bench, report),
        "departures": lambda: departures.departure_times(bench, report, half_load()),
        "handshakes": lambda: handshakes.handshakes(bench, report, half_load()),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, about two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these parts")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
