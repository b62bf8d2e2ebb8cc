"""`make fuzz`: every codec that reads what somebody else wrote, and the native data plane, for a bounded time.

`python -m tests.fuzz.run [--seconds 240] [--codec NAME ...] [--out fuzz-out] [--keep] [--record]`.  Half of the time
goes to the native data plane (`tests.fuzz.forwarding.run`), half to the codecs of `tests.fuzz.codecs`, a second each at
least; `--codec` names some of them (`zrtp*`) and leaves the data plane out.  First a fault that was planted must be
found.  Executions by codec are in OUT/summary.json, inputs that went wrong in OUT/crash-*.  `--keep` adds what reaches
more code to the kept corpus.  Exits with 1 when something was found.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import report
from tests.fuzz.codec import Codec
from tests.fuzz.codecs import CODECS
from tests.fuzz.forwarding import run as native
from tests.fuzz.forwarding.libfuzzer import FuzzerFailed, artefacts, covered, stat
from tests.fuzz.forwarding.toolchain import ToolChainMissing
from tests.fuzz.kept import CORPUS, inputs, keep, lay_out, of_codec
from tests.fuzz.minimise import least
from tests.fuzz.planted import PLANTED

RECORD = Path("docs/results/fuzz-codecs.json")
ATHERIS = Path(".deps/fuzzer")
PLANTED_RUNS = 2_000_000
_INPUT_SECONDS = 10
"""An input that takes as long as this is a finding."""
_HOW = "atheris 3.0 (libFuzzer) on instrumented Python; inputs played"
_SUMMED = (
    ("executions", "inputs played, by all codecs", False),
    (
        "findings",
        "inputs that were neither read nor refused as they may be, or that ran out of time or memory",
        True,
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was done to one codec: `edges` of all code that was covered, `findings` inputs that went wrong."""

    executions: int
    edges: int
    findings: int


class Worker:
    """The forking process of `tests.fuzz.worker`; a context."""

    def __init__(self, out: Path, atheris: Path) -> None:
        self._out = out
        paths = [str(atheris), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(out / "worker.log").open("w"),
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )

    def __enter__(self) -> "Worker":
        if self._said() != "ready":
            raise FuzzerFailed(f"the codecs could not be loaded; see {self._out / 'worker.log'}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def play(self, codec: Codec, bound: str) -> tuple[int, str]:
        """How the fork ended, and what libFuzzer said; what it collects stays in OUT/NAME."""
        assert self._process.stdin is not None
        log, corpus = self._out / f"{codec.name}.log", self._out / "codecs" / codec.name
        shutil.rmtree(corpus, ignore_errors=True)
        lay_out(corpus, [*of_codec(codec.name), *codec.seeds()])
        arguments = [
            bound,
            f"-max_len={codec.longest}",
            f"-timeout={_INPUT_SECONDS}",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            f"-artifact_prefix={self._out}/",
            *self._dictionary(codec),
            str(corpus),
        ]
        task = [codec.name, str(log), f"{self._out}/crash-{codec.name}", arguments]
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        said = self._said()
        if not said:
            raise FuzzerFailed(f"the fuzzer's process ended; see {self._out / 'worker.log'}")
        return json.loads(said)[1], log.read_text(errors="replace")

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _dictionary(self, codec: Codec) -> list[str]:
        if not codec.words:
            return []
        path = self._out / f"{codec.name}.dict"
        words = ["".join(f"\\x{byte:02x}" for byte in word) for word in codec.words]
        path.write_text("".join(f'"{word}"\n' for word in words))
        return [f"-dict={path}"]


def find_planted(worker: Worker, out: Path) -> int:
    """Executions until the planted fault was found.  Raises `FuzzerFailed`."""
    before = artefacts(out)
    _, text = worker.play(PLANTED, f"-runs={PLANTED_RUNS}")
    for path in artefacts(out) - before:
        path.unlink()
    found = re.search(r"found after (\d+): crash-planted", text)
    if found is None:
        raise FuzzerFailed("the planted fault was not found: this fuzzer is blind")
    return int(found[1])


def fuzz(worker: Worker, codec: Codec, seconds: int, out: Path) -> Figures:
    """One codec for some seconds.  Raises `FuzzerFailed` when it ended and left nothing to look at."""
    before = artefacts(out)
    code, text = worker.play(codec, f"-max_total_time={seconds}")
    found = artefacts(out) - before
    if code and not found:
        raise FuzzerFailed(f"{codec.name} ended by itself; see {out / f'{codec.name}.log'}")
    return Figures(stat(text, "number_of_executed_units"), covered(text)[0], len(found))


def keep_more(codec: Codec, collected: Path) -> int:
    """Choose the kept inputs of a codec anew, out of the kept ones and the collected; how many there are."""
    path = CORPUS / f"{codec.name}.txt"
    found = [file.read_bytes() for file in collected.iterdir()]
    return keep(least(codec, [*inputs(path), *found]), path)


def summarise(planted: int, found: Mapping[str, Figures]) -> dict[str, object]:
    """The figures as DESIGN.md section 8 wants them."""
    rows = [
        report.row("executions until the planted fault was found", planted, "from nothing; it must be found")
    ]
    for name, figures in found.items():
        rows.append(report.row(f"{name}: executions", figures.executions, _HOW))
        rows.append(
            report.row(f"{name}: edges", figures.edges, "edges of the project's code that were covered")
        )
        rows.append(report.row(f"{name}: findings", figures.findings, _SUMMED[1][1], bounded=True))
    return {**report.heading(), "rows": rows}


def fuzz_codecs(codecs: Sequence[Codec], seconds: int, out: Path, *, keeps: bool) -> dict[str, object]:
    """All of `codecs`, one after the other, in about `seconds`."""
    each = max(1, seconds // len(codecs))
    print(f"loading {len(codecs)} codecs, then {each} s for each ...", flush=True)
    found: dict[str, Figures] = {}
    with Worker(out, ATHERIS) as worker:
        planted = find_planted(worker, out)
        print(f"the planted fault was found after {planted} executions", flush=True)
        for number, codec in enumerate(codecs, 1):
            figures = found[codec.name] = fuzz(worker, codec, each, out)
            said = f"{figures.executions:,} executions" + (
                f", {figures.findings} FOUND" if figures.findings else ""
            )
            kept = (
                f", {keep_more(codec, out / 'codecs' / codec.name)} kept"
                if keeps and not figures.findings
                else ""
            )
            print(f"  {number}/{len(codecs)} {codec.name}: {said}{kept}", flush=True)
    return summarise(planted, found)


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzz every codec and the native data plane")
    parser.add_argument(
        "--seconds", type=int, default=240, help="half for the codecs, half for the data plane"
    )
    parser.add_argument(
        "--codec", nargs="+", default=[], help="these alone, all of the time; * stands for anything"
    )
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"))
    parser.add_argument(
        "--keep", action="store_true", help="keep inputs that reach more code, in tests/fuzz/corpus"
    )
    parser.add_argument("--record", action="store_true", help=f"add the run to {RECORD} and {native.RECORD}")
    options = parser.parse_args()
    some = [codec for codec in CODECS if any(fnmatch.fnmatch(codec.name, name) for name in options.codec)]
    if options.codec and not some:
        print("fuzz: no codec of that name; tests/fuzz/codecs lists them", file=sys.stderr)
        return 2
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    seconds = options.seconds if some else options.seconds // 2
    try:
        summary = fuzz_codecs(some or CODECS, seconds, out, keeps=options.keep)
        if options.record:
            report.record(RECORD, summary, _SUMMED)
        if not some:
            plane = native.play(out, seconds)
            if options.record:
                native.keep_record(plane)
            summary["rows"] = [*_rows(summary), *_rows(plane)]
    except ToolChainMissing as missing:
        print(f"fuzz: {missing}", file=sys.stderr)
        return 2
    except FuzzerFailed as failed:
        print(f"fuzz: {failed}", file=sys.stderr)
        return 1
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    broken = report.broken(summary)
    for measure in broken:
        print(f"fuzz: {measure}: see {out}/crash-* and the log beside them", file=sys.stderr)
    return 1 if broken else 0


def _rows(summary: Mapping[str, object]) -> list[object]:
    rows = summary["rows"]
    assert isinstance(rows, list)
    return rows


if __name__ == "__main__":
    sys.exit(main())
