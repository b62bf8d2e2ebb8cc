"""libFuzzer on the native data plane, for a bounded time: what `make fuzz` does with half of its own.

`python -m tests.fuzz.forwarding.run [--seconds 60] [--size 512] [--out fuzz-out] [--record]`.  First a fault that was
planted behind authentication must be found; then half of the time goes to sequences of calls, from the kept corpus on,
and half to single datagrams.  Sequences that reach more code than the corpus did are kept.  Exits with 1 when an input
brought the data plane down, or the planted fault was not found.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from relay.media_reflector.forwarding.library import sources, sources_hash
from tests.fuzz import report
from tests.fuzz.forwarding.libfuzzer import (
    KEPT,
    MAX_SIZE,
    Figures,
    FuzzerFailed,
    find_planted,
    fuzz,
    keep,
)
from tests.fuzz.forwarding.toolchain import ToolChain, ToolChainMissing
from tests.fuzz.kept import unpack

RECORD = Path("docs/results/fuzz.json")
SEQUENCES, DATAGRAMS = "sequences", "datagrams"
_EXPLAINED = {
    "executions": "inputs played",
    "per_second": "executions of one process, on average",
    "datagrams": "of all inputs, through the receive path",
    "cells": "that left; those of sequences were opened and compared with what keys and header must be",
    "edges": "edges of the target's code that were covered",
    "features": "libFuzzer's finer count of what inputs do",
    "crashes": "inputs that ended the data plane, ran out of time or memory, or left memory behind",
}
_SUMMED = [
    (name, _EXPLAINED[name], name == "crashes") for name in ("executions", "datagrams", "cells", "crashes")
]


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
    try:
        summary = play(options.out, options.seconds, options.size, minimise=options.minimise)
    except (ToolChainMissing, FuzzerFailed) as failed:
        print(f"fuzz: {failed}", file=sys.stderr)
        return 2 if isinstance(failed, ToolChainMissing) else 1
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if options.record:
        keep_record(summary)
    return 1 if report.broken(summary) else 0


def play(out: Path, seconds: int, size: int = MAX_SIZE, *, minimise: bool = False) -> dict[str, object]:
    """One run, and its summary.  Raises `ToolChainMissing`, `FuzzerFailed`."""
    out.mkdir(parents=True, exist_ok=True)
    tools = ToolChain.find()
    print(f"building with {tools.version}, libFuzzer of {tools.llvm} ...", flush=True)
    tools.build(out / "planted", variant="planted")
    tools.build(out / SEQUENCES)
    tools.build(out / DATAGRAMS, variant=DATAGRAMS)
    planted = find_planted(out / "planted", out)
    if planted is None:
        raise FuzzerFailed("the planted fault was not found: this fuzzer is blind")
    print(f"the planted fault was found after {planted} executions", flush=True)
    found = {name: _fuzz(name, out, seconds, size) for name in (SEQUENCES, DATAGRAMS)}
    if not any(figures.crashes for figures in found.values()):
        kept = keep(out / SEQUENCES, out, out / "corpus", minimise=minimise)
        print(f"{kept} sequences kept in {KEPT.name}")
    for name, figures in found.items():
        print(f"{name}: {', '.join(f'{key} {value:,}' for key, value in asdict(figures).items())}")
    return summarise(found, tools, planted)


def keep_record(summary: dict[str, object]) -> None:
    """Add the run to what is kept of all runs."""
    report.record(RECORD, summary, _SUMMED)


def _fuzz(name: str, out: Path, seconds: int, size: int) -> Figures:
    corpus = out / ("corpus" if name == SEQUENCES else "datagrams-corpus")
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir()
    if name == SEQUENCES:
        unpack(corpus, KEPT)
    return fuzz(out / name, max(1, seconds // 2), size, out, corpus)


def summarise(found: dict[str, Figures], tools: ToolChain, planted: int) -> dict[str, object]:
    """The figures as DESIGN.md section 8 wants them."""
    how = f"libFuzzer of {tools.llvm}, {tools.version}, AddressSanitizer, overflow checks, debug assertions"
    rows = [
        report.row("executions until the planted fault was found", planted, "from nothing; it must be found")
    ]
    for name, figures in found.items():
        for measure, value in asdict(figures).items():
            text = f"{_EXPLAINED[measure]}; {how}" if measure == "crashes" else _EXPLAINED[measure]
            rows.append(report.row(f"{name}: {measure}", value, text, bounded=measure == "crashes"))
    return {**report.heading(), "sources": sources_hash(sources()), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
