"""`make fuzz`: libFuzzer on the native data plane, for a bounded time; executions, coverage and finds in fuzz-out/.

`python -m tests.fuzz.forwarding.run [--seconds 60] [--size 512] [--out fuzz-out] [--record]`.  First a fault that was
planted behind authentication must be found; then half of the time goes to sequences of calls, from the kept corpus on,
and half to single datagrams.  Sequences that reach more code than the corpus did are kept.  Exits with 1 when an input
brought the data plane down, or the planted fault was not found.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from relay.media_reflector.forwarding.library import sources, sources_hash
from tests.fuzz.forwarding.corpus import CORPUS, unpack
from tests.fuzz.forwarding.libfuzzer import MAX_SIZE, Figures, FuzzerFailed, find_planted, fuzz, keep
from tests.fuzz.forwarding.toolchain import ToolChain, ToolChainMissing

RECORD = Path("docs/results/fuzz.json")
SEQUENCES, DATAGRAMS = "sequences", "datagrams"
_SUMMED = ("executions", "datagrams", "cells", "crashes")
_EXPLAINED = {
    "executions": "inputs played",
    "per_second": "executions of one process, on average",
    "datagrams": "of all inputs, through the receive path",
    "cells": "that left; those of sequences were opened and compared with what keys and header must be",
    "edges": "edges of the target's code that were covered",
    "features": "libFuzzer's finer count of what inputs do",
    "crashes": "inputs that ended the data plane, ran out of time or memory, or left memory behind",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzz the native data plane under AddressSanitizer")
    parser.add_argument("--seconds", type=int, default=60, help="half for sequences, half for datagrams")
    parser.add_argument(
        "--size", type=int, default=MAX_SIZE, help="bytes of an input at most; small ones are played faster"
    )
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"))
    parser.add_argument("--minimise", action="store_true", help="choose the kept inputs anew")
    parser.add_argument("--record", action="store_true", help=f"add the run to {RECORD}")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        tools = ToolChain.find()
        print(f"building with {tools.version}, libFuzzer of {tools.llvm} ...", flush=True)
        tools.build(options.out / "planted", variant="planted")
        tools.build(options.out / SEQUENCES)
        tools.build(options.out / DATAGRAMS, variant=DATAGRAMS)
        planted = find_planted(options.out / "planted", options.out)
        if planted is None:
            raise FuzzerFailed("the planted fault was not found: this fuzzer is blind")
        print(f"the planted fault was found after {planted} executions", flush=True)
        found = {name: _fuzz(name, options) for name in (SEQUENCES, DATAGRAMS)}
    except ToolChainMissing as missing:
        print(f"fuzz: {missing}", file=sys.stderr)
        return 2
    except FuzzerFailed as failed:
        print(f"fuzz: {failed}", file=sys.stderr)
        return 1
    crashes = sum(figures.crashes for figures in found.values())
    if not crashes:
        kept = keep(options.out / SEQUENCES, options.out, options.out / "corpus", minimise=options.minimise)
        print(f"{kept} sequences kept in {CORPUS.name}")
    summary = summarise(found, tools, planted)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if options.record:
        record(summary)
    for name, figures in found.items():
        print(f"{name}: {', '.join(f'{key} {value:,}' for key, value in asdict(figures).items())}")
    return 1 if crashes else 0


def _fuzz(name: str, options: argparse.Namespace) -> Figures:
    corpus = options.out / ("corpus" if name == SEQUENCES else "datagrams-corpus")
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir()
    if name == SEQUENCES:
        unpack(corpus)
    return fuzz(options.out / name, max(1, options.seconds // 2), options.size, options.out, corpus)


def summarise(found: dict[str, Figures], tools: ToolChain, planted: int) -> dict[str, object]:
    """The figures as DESIGN.md section 8 wants them."""
    how = f"libFuzzer of {tools.llvm}, {tools.version}, AddressSanitizer, overflow checks, debug assertions"
    rows = [_row("executions until the planted fault was found", planted, "from nothing; it must be found")]
    for name, figures in found.items():
        for measure, value in asdict(figures).items():
            text = f"{_EXPLAINED[measure]}; {how}" if measure == "crashes" else _EXPLAINED[measure]
            rows.append(_row(f"{name}: {measure}", value, text, bounded=measure == "crashes"))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "sources": sources_hash(sources()),
        "rows": rows,
    }


def _row(measure: str, value: int, how: str, *, bounded: bool = False) -> dict[str, object]:
    """`bounded`: it must be zero."""
    target, holds = ("0", value == 0) if bounded else ("", None)
    return {"measure": measure, "target": target, "value": value, "holds": holds, "how": how}


def record(summary: dict[str, object]) -> None:
    """Add one run to the kept record, whose own rows are the sums over all runs."""
    runs: list[dict[str, Any]] = json.loads(RECORD.read_text())["runs"] if RECORD.exists() else []
    runs.append(summary)
    sums = []
    for measure in _SUMMED:
        total = sum(_value(run, f"{name}: {measure}") for run in runs for name in (SEQUENCES, DATAGRAMS))
        how = f"over {len(runs)} runs; {_EXPLAINED[measure]}"
        sums.append(_row(measure, total, how, bounded=measure == "crashes"))
    newest = {name: summary[name] for name in ("commit", "date", "machine")}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps({**newest, "rows": sums, "runs": runs}, indent=2) + "\n")


def _value(run: dict[str, Any], measure: str) -> int:
    return next((int(row["value"]) for row in run["rows"] if row["measure"] == measure), 0)


if __name__ == "__main__":
    sys.exit(main())
