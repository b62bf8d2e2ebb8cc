"""What many lines do when their reflector is killed: `make failover`, or `python -m bench.failover`.

`[--calls 500] [--idle 250] [--out failover-out]`.  Two reflector processes as they ship, native data planes, on this
machine's loopback; a swarm of agents' lines that carry a cell in every tick both ways, each with the decisions that the
agent ships.  The first reflector gets SIGKILL.  A second, smaller run is one that must be caught: its lines move at
once where they are in a call.  The figures go to summary.json; exits with 1 where a target is missed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import Row, at_least, at_most, reported
from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.lab.demo.results import commit, machine
from relay.lab.moving.experiment import Outcome, run

MAX_SECONDS = 5.0
LEAST_P = 0.001
CAUGHT_P = 1e-6
LEAST_CELLS = 0.99
CONTROL = (60, 40)
"""Calls and idle lines of the run that must be caught."""

SIMULATED = (
    "both reflectors are whole processes (control plane, native data plane, ticket office, backup key) with unix "
    "sockets in the place of Tor; all agents share this machine and one Python process, which uses the LineClient and "
    "the decisions that ship for handshakes, joining and moving, and a native data plane for the cells of open lines; "
    "handshakes that the dead reflector leaves unanswered are repeated every tenth tick instead of every one"
)


def main() -> int:
    parser = argparse.ArgumentParser(description="kill a reflector full of lines")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--idle", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path("failover-out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    try:
        found = asyncio.run(run(options.calls, options.idle, clock, SystemEntropy(), say=say))
        say("once more, with lines that give their calls away")
        control = asyncio.run(run(*CONTROL, clock, SystemEntropy(), leaky=True, say=say))
    except TransportUnavailable as error:
        print(f"failover: {error}", file=sys.stderr)
        return 2
    rows = list(rows_of(found, control))
    summary = {
        "commit": commit(),
        "date": datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "simulated": SIMULATED,
        "rows": [asdict(row) for row in rows],
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(found, control, options.out / "moves.png")
    for row in rows:
        verdict = "" if row.holds is None else "ok" if row.holds else "MISSED"
        print(f"{row.measure}: {row.value} {f'({row.target})' if row.target else ''} {verdict}")
    return 0 if all(row.holds is not False for row in rows) else 1


def rows_of(found: Outcome, control: Outcome) -> Iterator[Row]:
    """Figures and targets."""
    calls = sum(move.in_call for move in found.moves) // 2
    how = f"{len(found.moves)} lines, {calls} calls; {' and '.join(found.planes)} data planes"
    yield at_least(
        "lines that went on at the backup", 100.0, 100.0 * (1.0 - found.lost_share), how, unit=" %"
    )
    yield at_least(
        "calls crossed again there",
        100.0,
        100.0 * found.crossed_there / calls,
        "pairs crossed at the backup, by its own count",
        unit=" %",
    )
    moved = found.moved[~np.isnan(found.moved)]
    until = "from SIGKILL until the line is open, and crossed again where it is in a call"
    yield at_most("time to move, the slowest line", MAX_SECONDS, float(moved.max()), until, unit=" s")
    yield reported("time to move, median, s", float(np.median(moved)), until)
    yield at_least(
        "moves are uniform, p",
        LEAST_P,
        found.uniform,
        "Kolmogorov-Smirnov over the first cells of all new lines, against the policy's 2.5 s",
        digits=4,
    )
    yield at_least(
        "lines in calls and idle ones move alike, p",
        LEAST_P,
        found.alike,
        "two-sample Kolmogorov-Smirnov over the same moments",
        digits=4,
    )
    yield at_most(
        "a policy that gives calls away is caught, p",
        CAUGHT_P,
        control.alike,
        f"the same test on {len(control.moves)} lines of which those in calls move at once",
        digits=12,
    )
    yield at_least(
        "cells on the moved lines afterwards, of one a tick",
        LEAST_CELLS,
        found.steady_share,
        "authentic cells received by all agents in a second, after everything settled",
        digits=4,
    )


def draw(found: Outcome, control: Outcome, path: Path) -> None:
    """moves.png: when new lines began, in calls and idle; as shipped, and as caught."""
    figure = Figure(figsize=(9, 3.5))
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, outcome, title in zip(panels, (found, control), ("as shipped", "caught"), strict=True):
        for in_call, label in ((True, "in a call"), (False, "idle")):
            began = np.sort(outcome.began(in_call))
            panel.step(began, np.arange(1, len(began) + 1) / len(began), label=label)
        panel.set(title=title, xlabel="seconds after SIGKILL")
        panel.legend()
    panels[0].set_ylabel("share of new lines begun")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def say(text: str) -> None:
    print(f"{text} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
