"""What a flood does to a reflector full of lines: `make faults`, or `python -m bench.faults`.

`[--lines 2000] [--rate 200000] [--seconds 8] [--workers 1] [--out faults-out]`.  Each kind of hostile datagram alone,
then all of them together, at this machine's loopback, against data plane and control plane as they ship; before them
the same lines without any flood.  Honest agents open lines all the while.  The figures go to summary.json; exits with 1
where a target is missed.

Everybody who takes part runs at raised priority where that is allowed: agents have machines of their own elsewhere, and
what something else on this one does to them is no loss of the reflector's.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.flood.attack import MAX_SECONDS, PHASES, Attack, Found, Memory
from bench.flood.generator import build
from bench.report import Row, at_least, at_most, reported
from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.lab.demo.results import commit, machine

MAX_LOSS = 0.1
"""Per cent of the cells of open lines."""
MAX_GROWTH = 1.0
"""MiB by which the reflector's memory may differ after all floods from before: a Python process breathes."""
MIN_OPENED = 90.0
"""Per cent of the honest agents that must get in during a flood of everything."""
PRIORITY = -15
"""Niceness of all who take part; what they start inherits it."""
MIN_RATE = 0.99
"""Share of the wanted rate that must really have been sent."""

_LOSS_HOW = (
    "bodies that agents sent and that never left again, cells that did not arrive, departures that did not happen; "
    "of all cells of the lines, both ways"
)


def main() -> int:
    parser = argparse.ArgumentParser(description="flood a reflector on loopback")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--rate", type=int, default=200_000, help="hostile datagrams a second")
    parser.add_argument("--seconds", type=float, default=8.0, help=f"of each kind, at most {MAX_SECONDS:g}")
    parser.add_argument("--workers", type=int, default=1, help="of the reflector, which all see the flood")
    parser.add_argument("--data-plane", choices=("native", "plain"), default="native")
    parser.add_argument("--only", help="one kind, or 'all together'")
    parser.add_argument("--out", type=Path, default=Path("faults-out"))
    options = parser.parse_args()
    phases = [phase for phase in PHASES if not phase.kinds or options.only in (None, phase.name)]
    seconds = min(options.seconds, MAX_SECONDS)
    options.out.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "flood"
            print("building the flood, opening lines ...", flush=True)
            build(program)
            with Attack(
                options.lines,
                options.rate,
                program,
                Path(name),
                clock,
                SystemEntropy(),
                prefer=options.data_plane,
                workers=options.workers,
            ) as attack:
                found = []
                for phase in phases:
                    found.append(attack.go_through(phase, seconds))
                    say(found[-1])
                memory = attack.memory
    except TransportUnavailable as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    rows = list(rows_of(found, memory, options.rate))
    summary = {
        "commit": commit(),
        "date": datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "workers": options.workers,
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "rows": [asdict(row) for row in rows],
        "counters": {each.phase.name: each.observed.counters for each in found},
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for row in rows:
        verdict = {None: "", True: "holds", False: "DOES NOT HOLD"}[row.holds]
        print(f"  {row.measure}: {row.value} ({row.target or 'reported'}) {verdict}")
    return 1 if any(row.holds is False for row in rows) else 0


def say(found: Found) -> None:
    """One line about a phase that has ended."""
    newcomers = found.newcomers
    opened = f"{len(newcomers.seconds)} of {newcomers.tried} newcomers got in"
    hostile = f"{found.rate:,.0f} hostile datagrams a second"
    print(
        f"{found.phase.name}: {hostile}, {found.loss:.4f} % of cells lost, {opened}, "
        f"reflector {found.observed.cpu:.0%} of a core",
        flush=True,
    )


def rows_of(found: list[Found], memory: Memory, rate: int) -> Iterator[Row]:
    """The summary."""
    for each in found:
        name, observed = each.phase.name, each.observed
        yield at_most(f"cells lost, {name}", MAX_LOSS, each.loss, _LOSS_HOW, digits=4, unit=" %")
        if each.flood is not None:
            how = (
                f"from a process of its own and forged sources; {each.kernel_drops} met a full socket buffer"
            )
            yield at_least(f"hostile datagrams a second, {name}", MIN_RATE * rate, each.rate, how, digits=0)
        yield reported(
            f"reflector's share of a core, {name}", observed.cpu, "both planes, operating system's count"
        )
        yield from _opened(each)
    before, after = memory.median(found[0].samples), memory.median(found[-1].samples)
    how = f"anonymous resident memory, from {before:.1f} MiB before any flood; sampled ten times a second"
    yield at_most("memory grown", MAX_GROWTH, after - before, how, unit=" MiB")
    worst = max(memory.samples) / (1 << 20) - before
    yield reported("memory grown at its highest, MiB", worst, "the highest single sample")
    unfated = sum(each.unfated for each in found)
    how = "received and not counted exactly once: dropped by reason, handed up, or a line's own cell"
    yield at_most("datagrams without one fate", 0, unfated, how, digits=0)
    vanished = sum(abs(each.vanished) for each in found)
    how = "sent by anybody and counted neither by the reflector nor by the kernel as not fitting its buffer"
    yield at_most("datagrams unaccounted for", 0, vanished, how, digits=0)
    yield reported(
        "kernel drops", sum(each.kernel_drops for each in found), "socket buffer full, all phases", digits=0
    )


def _opened(each: Found) -> Iterator[Row]:
    newcomers, name = each.newcomers, each.phase.name
    how = f"of {newcomers.tried} honest agents with a good ticket each; {newcomers.cookies} cookies were asked for"
    share = 100.0 * newcomers.share
    measure = f"newcomers that got in, {name}"
    if len(each.phase.kinds) == 1:
        yield reported(f"{measure}, %", share, how)
    else:
        yield at_least(measure, MIN_OPENED, share, how, unit=" %")
    median = statistics.median(newcomers.seconds) if newcomers.seconds else math.nan
    yield reported(
        f"seconds until a newcomer's line, {name}",
        median,
        "median, until the line's own first cell",
        digits=3,
    )


if __name__ == "__main__":
    sys.exit(main())
