"""libFuzzer's programs as this project runs them: bounded in time, with what they say of themselves as figures."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.kept import CORPUS, pack, unpack

KEPT = CORPUS / "forwarding.txt"
MAX_SIZE = 512
"""Bytes of an input; of a sequence about a hundred operations."""
PLANTED_SECONDS = 120
_REPORT_EVERY = 10.0
_ARTIFACTS = ("crash", "oom", "timeout", "leak")
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=2:malloc_context_size=8"}


class FuzzerFailed(Exception):
    """A program ended without an artefact that says why."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run did.  `cells` left the data plane, `edges` and `features` are libFuzzer's words for code covered and
    for how it was; `crashes` are artefacts in the output directory."""

    executions: int
    per_second: int
    datagrams: int
    cells: int
    edges: int
    features: int
    crashes: int


def find_planted(program: Path, out: Path) -> int | None:
    """Executions, from nothing, until AddressSanitizer saw the planted fault; None when it did not in time."""
    corpus = out / "planted-corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir()
    command = _command(program, PLANTED_SECONDS, MAX_SIZE, out / "planted-artefact-", corpus)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | _ENVIRONMENT)
    if "AddressSanitizer: heap-buffer-overflow" not in done.stderr:
        return None
    return stat(done.stderr, "number_of_executed_units")


def fuzz(program: Path, seconds: int, size: int, out: Path, corpus: Path) -> Figures:
    """Let a program look for what goes wrong; everything it says is in OUT/PROGRAM.log.

    Raises `FuzzerFailed` when it ended early and left nothing to look at.
    """
    log, before = out / f"{program.name}.log", artefacts(out)
    command = _command(program, seconds, size, f"{out}/", corpus)
    with log.open("w") as written:
        process = subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=os.environ | _ENVIRONMENT
        )
        while process.poll() is None:
            try:
                process.wait(_REPORT_EVERY)
            except subprocess.TimeoutExpired:
                print(f"  {program.name}: {_progress(log)}", flush=True)
    text, crashes = log.read_text(errors="replace"), artefacts(out) - before
    if process.returncode and not crashes:
        raise FuzzerFailed(f"{program.name} ended by itself; see {log}")
    edges, features = covered(text)
    return Figures(
        executions=stat(text, "number_of_executed_units"),
        per_second=stat(text, "average_exec_per_sec"),
        datagrams=stat(text, "datagrams_received"),
        cells=stat(text, "cells_sealed"),
        edges=edges,
        features=features,
        crashes=len(crashes),
    )


def keep(program: Path, out: Path, corpus: Path, *, minimise: bool) -> int:
    """Keep of all inputs those that reach code which no kept one reaches, beside those, or, with `minimise`, in their
    place; how many are kept now."""
    least = out / "least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    if not minimise:
        unpack(least, KEPT)
    # By edges alone: with how often each is passed there would be ten times as many.
    command = [program, "-merge=1", "-use_counters=0", f"-max_len={MAX_SIZE}", least, corpus]
    subprocess.run(list(map(str, command)), capture_output=True, check=True)
    return pack(least, KEPT)


def _command(program: Path, seconds: int, size: int, artefacts: Path | str, corpus: Path) -> list[str]:
    bounds = [f"-max_total_time={seconds}", f"-max_len={size}", "-timeout=10", "-rss_limit_mb=2048"]
    return [str(program), *bounds, "-print_final_stats=1", f"-artifact_prefix={artefacts}", str(corpus)]


def artefacts(out: Path) -> set[Path]:
    """The inputs that libFuzzer left in `out` because something went wrong."""
    return {path for path in out.glob("*-*") if path.name.split("-")[0] in _ARTIFACTS}


def _progress(log: Path) -> str:
    said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("#")]
    return " ".join(said[-1].split()[:6]) if said else "..."


def covered(text: str) -> tuple[int, int]:
    """(edges, features) that a log says were reached at last."""
    found = re.findall(r"cov: (\d+) ft: (\d+)", text)
    edges, features = found[-1] if found else (0, 0)
    return int(edges), int(features)


def stat(text: str, name: str) -> int:
    """One of the figures at the end of a log; 0 where it is not there."""
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0
