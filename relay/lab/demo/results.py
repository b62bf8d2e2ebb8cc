"""What the demo leaves in its output directory, and the table it ends with."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.core import Clock
from relay.lab.audio import Sound, write_wav
from relay.lab.captures import write_capture
from relay.lab.demo.call import CallTimes
from relay.lab.demo.figures import Figures, Heard, Row, line_summary
from relay.lab.demo.options import PEOPLE, STAGGERED_TEARDOWN, START_DELAY
from relay.lab.demo.roles import Event, Usage
from relay.lab.lines import LineSeen
from relay.lab.pictures import Mark, draw_observer

_MARKED = {
    "line-open": "{who}'s line opens",
    "line-closed": "{who}'s line ends",
}


def prepare(out: Path, logs: Path) -> None:
    """Make the output directory, without what an earlier demo left there."""
    logs.mkdir(parents=True, exist_ok=True)
    for pattern in (
        "*-heard.wav",
        "line-*.pcap",
        "summary.json",
        "timeline.json",
        "observer.png",
        "logs/*.*",
    ):
        for old in out.glob(pattern):
            old.unlink()


def write_recordings(out: Path, heard: Mapping[str, Sound]) -> None:
    for name, sound in heard.items():
        write_wav(out / f"{name}-heard.wav", sound)


def write_lines(out: Path, lines: Mapping[str, LineSeen]) -> None:
    for name, line in lines.items():
        write_capture(out / f"line-{name}.pcap", line.datagrams)


def write_timeline(out: Path, events: Sequence[Event], times: CallTimes) -> None:
    """Everything that roles reported and the demo did, in order; `at` in seconds after dialling."""
    own = [Event("demo", name, at, {}) for name, at in asdict(times).items()]
    both = sorted([*events, *own], key=lambda one: one.at)
    write_events(out / "timeline.json", both, origin=times.dialled)


def write_events(path: Path, events: Sequence[Event], *, origin: float = 0.0) -> None:
    """One object an event; `at` in seconds after `origin`."""
    listed = [
        {"at": round(event.at - origin, 3), "who": event.who, "event": event.name, **event.fields}
        for event in events
    ]
    path.write_text(json.dumps(listed, indent=1) + "\n")


def draw(
    out: Path,
    lines: Mapping[str, LineSeen],
    spoken: Mapping[str, Sound],
    events: Sequence[Event],
    times: CallTimes,
) -> None:
    """observer.png, marked with what happened in the call; `crossed` counts when both sides say so."""
    marks = [
        Mark(times.dialled, "dial"),
        Mark(times.rang, "ring"),
        Mark(times.answered, "answer"),
        Mark(times.hung_up, "hang-up"),
    ]
    crossed = [event.at for event in events if event.name == "crossed" and event.at > times.dialled]
    if crossed:
        marks.append(Mark(max(crossed), "connected"))
    for event in events:
        if event.name in ("line-open", "line-closed") and event.at > times.dialled:
            marks.append(Mark(event.at, _MARKED[event.name].format(who=event.who)))
    last = max([times.ended, *(line.stop for line in lines.values())])
    draw_observer(
        out / "observer.png",
        lines,
        spoken,
        marks,
        origin=times.dialled,
        begin=times.dialled - 1,
        end=last + 2,
        title="One call: what was spoken, and what an observer of each line saw",
    )


def summarise(
    figures: Figures, rows: Sequence[Row], usage: Mapping[str, Usage], times: CallTimes, clock: Clock
) -> dict[str, object]:
    """The content of summary.json."""
    return {
        "commit": commit(),
        "date": datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "demo_values": {"start_delay": START_DELAY, "staggered_teardown": STAGGERED_TEARDOWN},
        "speech_seconds": figures.seconds,
        "setup_seconds": dict(figures.setup),
        "audio": {way: _heard(heard) for way, heard in figures.heard.items()},
        "lines": [line_summary(name, line, times.dialled) for name, line in figures.lines.items()],
        "privacy": {name: asdict(report) for name, report in figures.leaks.items()},
        "roles": {name: asdict(used) for name, used in usage.items()},
        "rows": [asdict(row) for row in rows],
    }


def machine() -> dict[str, object]:
    """What the figures were measured on; nothing that names the machine or its owner."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def print_table(console: Console, summary: Mapping[str, object], rows: Sequence[Row], out: Path) -> None:
    """The figures, one line each, and where everything is."""
    table = Table(title="One call, measured", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading, justify in (("", "left"), ("measure", "left"), ("target", "right"), ("value", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    setup = summary["setup_seconds"]
    assert isinstance(setup, dict)
    table.add_row("", "dial to ring, s", "", str(setup["dial_to_ring"]))
    delay = f"start delay: <= {START_DELAY:.0f}"
    table.add_row("", "answer to voice both ways, s", delay, str(setup["answer_to_voice"]))
    for row in rows:
        mark = Text("✓", style="green") if row.holds else Text("✗", style="bold red")
        table.add_row(mark, row.measure, row.target, str(row.value))
    console.print(table)
    console.print(
        f"In {out}/: observer.png, {PEOPLE[0]}-heard.wav, {PEOPLE[1]}-heard.wav, summary.json, "
        "timeline.json, one line-*.pcap for each line, logs/",
        highlight=False,
    )


def _heard(heard: Heard) -> dict[str, object]:
    found = asdict(heard.comparison) if heard.comparison else {"delay_ms": None, "correlation": None}
    return {**found, "lost_cells": heard.lost_cells, "spoken_seconds": heard.spoken_seconds}


def commit() -> str:
    """The commit this source is at, with "+" when there are changes; "unknown" outside a checkout."""
    try:
        where = Path(__file__).parent
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=where, capture_output=True, text=True, check=True, timeout=5
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain"], cwd=where, capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
