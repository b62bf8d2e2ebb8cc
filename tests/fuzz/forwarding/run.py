"""`make fuzz`: libFuzzer on the native data plane, for a bounded time; executions, coverage and finds in fuzz-out/.

`python -m tests.fuzz.forwarding.run [--seconds 60] [--executions N] [--out fuzz-out] [--record]`.  First it must find a
fault that was planted behind authentication; then it fuzzes the real thing from the kept corpus on.  What reaches more
code than the corpus did is kept.  Exits with 1 when an input brought the data plane down, or the planted fault was not
found.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from relay.media_reflector.forwarding.library import sources, sources_hash
from tests.fuzz.forwarding.corpus import CORPUS, pack, unpack
from tests.fuzz.forwarding.toolchain import ToolChain, ToolChainMissing

RECORD = Path("docs/results/fuzz.json")
MAX_SIZE = 512
"""Bytes of a kept input; about a hundred operations."""
PLANTED_SECONDS = 60
_REPORT_EVERY = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzz the native data plane under AddressSanitizer")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--size", type=int, default=512, help="bytes of an input at most; small ones are played faster"
    )
    parser.add_argument("--executions", type=int, default=0, help="stop after so many; 0: no bound but time")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0: another one every time")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"))
    parser.add_argument("--minimise", action="store_true", help="choose the kept inputs anew")
    parser.add_argument("--record", action="store_true", help=f"add the run to {RECORD}")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        tools = ToolChain.find()
        print(f"building with {tools.version}, {tools.fuzzer.name} of {_llvm(tools)} ...", flush=True)
        tools.build(options.out / "planted", planted=True)
        tools.build(options.out / "target")
    except ToolChainMissing as missing:
        print(f"fuzz: {missing}", file=sys.stderr)
        return 2
    found_after = find_planted(options.out)
    if found_after is None:
        print("fuzz: the planted fault was not found: this fuzzer is blind", file=sys.stderr)
        return 1
    print(f"the planted fault was found after {found_after} executions", flush=True)
    corpus = options.out / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    print(f"{unpack(corpus)} inputs kept from before; fuzzing for {options.seconds} s ...", flush=True)
    figures = fuzz(options, corpus)
    if not figures["crashes"]:
        figures["kept"] = keep(options.out, corpus, minimise=options.minimise)
    summary = summarise(figures, tools, found_after)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    if options.record:
        record(summary)
    for name, value in figures.items():
        print(f"  {name}: {value}")
    return 1 if figures["crashes"] else 0


def find_planted(out: Path) -> int | None:
    """Executions until AddressSanitizer saw the planted fault; None when it did not in `PLANTED_SECONDS`."""
    empty = out / "planted-corpus"
    shutil.rmtree(empty, ignore_errors=True)
    unpack(empty)
    command = [
        str(out / "planted"),
        f"-max_total_time={PLANTED_SECONDS}",
        f"-max_len={MAX_SIZE}",
        "-print_final_stats=1",
    ]
    command += [f"-artifact_prefix={out}/planted-", str(empty)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "AddressSanitizer: heap-buffer-overflow" not in done.stderr:
        return None
    return _stat(done.stderr, "number_of_executed_units")


def fuzz(options: argparse.Namespace, corpus: Path) -> dict[str, int]:
    """Run the target; its figures.  Progress goes to the terminal, everything to OUT/fuzz.log."""
    command = [options.out / "target", f"-max_total_time={options.seconds}", f"-max_len={options.size}"]
    command += [f"-runs={options.executions or -1}", f"-seed={options.seed}", "-print_final_stats=1"]
    command += ["-rss_limit_mb=2048", "-timeout=10", f"-artifact_prefix={options.out}/", str(corpus)]
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=2:malloc_context_size=8"}
    log = options.out / "fuzz.log"
    before = set(options.out.glob("*-*"))
    with log.open("w") as written:
        process = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT, env=environment)
        while True:
            try:
                process.wait(_REPORT_EVERY)
                break
            except subprocess.TimeoutExpired:
                last = [
                    line for line in log.read_text(errors="replace").splitlines() if line.startswith("#")
                ][-1:]
                print("  " + " ".join(last[0].split()[:7]) if last else "  ...", flush=True)
    text = log.read_text(errors="replace")
    crashes = {
        path for path in set(options.out.glob("*-*")) - before if path.name.split("-")[0] in _ARTIFACTS
    }
    if process.returncode and not crashes:
        raise SystemExit(f"fuzz: the target failed by itself; see {log}")
    features = re.findall(r"cov: (\d+) ft: (\d+)", text)
    return {
        "executions": _stat(text, "number_of_executed_units"),
        "executions_per_second": _stat(text, "average_exec_per_sec"),
        "datagrams": _stat(text, "datagrams_received"),
        "cells": _stat(text, "cells_sealed"),
        "edges": int(features[-1][0]) if features else 0,
        "features": int(features[-1][1]) if features else 0,
        "crashes": len(crashes),
    }


_ARTIFACTS = ("crash", "oom", "timeout", "leak", "slow")


def keep(out: Path, corpus: Path, *, minimise: bool) -> int:
    """Keep of all inputs those that reach code which no kept one reaches, beside those, or, with `minimise`, in their
    place; how many are kept now."""
    least = out / "least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    if not minimise:
        unpack(least)
    # By edges alone: how often each is passed would make ten times as many.
    command = [
        str(out / "target"),
        "-merge=1",
        "-use_counters=0",
        f"-max_len={MAX_SIZE}",
        str(least),
        str(corpus),
    ]
    subprocess.run(command, capture_output=True, check=True)
    return pack(least)


def summarise(figures: dict[str, int], tools: ToolChain, found_after: int) -> dict[str, object]:
    """The figures as DESIGN.md section 8 wants them."""
    how = f"libFuzzer of {_llvm(tools)}, {tools.version}, AddressSanitizer, overflow checks, debug assertions"
    rows: list[dict[str, object]] = [
        {
            "measure": "crashes",
            "target": "0",
            "value": figures["crashes"],
            "holds": not figures["crashes"],
            "how": how,
        },
        {
            "measure": "executions",
            "target": None,
            "value": figures["executions"],
            "holds": None,
            "how": "inputs played",
        },
    ]
    explained = {
        "datagrams": "of all inputs, through the receive path",
        "cells": "of all inputs; each opened and compared with what the line's keys and header must be",
        "executions_per_second": "one process",
        "edges": "code edges of the target covered",
        "features": "libFuzzer's finer count of what inputs do",
        "kept": f"inputs in {CORPUS.name} after minimising",
    }
    for name, text in explained.items():
        if name in figures:
            rows.append({"measure": name, "target": None, "value": figures[name], "holds": None, "how": text})
    planted = "executions until the planted fault behind authentication was found"
    rows.append(
        {"measure": "planted fault", "target": "found", "value": found_after, "holds": True, "how": planted}
    )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "sources": sources_hash(sources()),
        "rows": rows,
    }


def record(summary: dict[str, object]) -> None:
    """Add one run to the kept record, whose first rows are the sums over all runs."""
    runs: list[dict[str, object]] = json.loads(RECORD.read_text())["runs"] if RECORD.exists() else []
    runs.append(summary)
    sums: list[dict[str, object]] = []
    for name in ("executions", "datagrams", "cells", "crashes"):
        total = sum(_value(run, name) for run in runs)
        bound = {"target": "0", "holds": not total} if name == "crashes" else {"target": None, "holds": None}
        sums.append({"measure": name, "value": total, "how": f"over {len(runs)} runs", **bound})
    newest = {name: summary[name] for name in ("commit", "date", "machine")}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps({**newest, "rows": sums, "runs": runs}, indent=2) + "\n")


def _value(run: dict[str, object], measure: str) -> int:
    rows = run["rows"]
    assert isinstance(rows, list)
    return next((int(row["value"]) for row in rows if row["measure"] == measure), 0)


def _stat(text: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0


def _llvm(tools: ToolChain) -> str:
    return next((part for part in tools.fuzzer.parts if part.startswith("llvm-")), "clang")


if __name__ == "__main__":
    sys.exit(main())
