"""What a run of the fuzzers did, as DESIGN.md section 8 wants it: rows, and a kept record of all runs."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def heading() -> dict[str, object]:
    """Of which commit, when, and on what machine."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
    }


def row(measure: str, value: int, how: str, *, bounded: bool = False) -> dict[str, object]:
    """`bounded`: it must be zero."""
    target, holds = ("0", value == 0) if bounded else ("", None)
    return {"measure": measure, "target": target, "value": value, "holds": holds, "how": how}


def broken(summary: Mapping[str, Any]) -> list[str]:
    """The measures that do not hold."""
    return [one["measure"] for one in summary["rows"] if one["holds"] is False]


def record(path: Path, summary: Mapping[str, object], summed: Sequence[tuple[str, str, bool]]) -> None:
    """Add one run to the kept record at `path`, whose own rows are the sums over all runs.

    `summed` names them: (the end of the names of the rows that are added up, what they are, whether they must be 0).
    """
    runs: list[Mapping[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    runs.append(summary)
    sums = [
        row(
            measure,
            sum(int(one["value"]) for run in runs for one in run["rows"] if _ends(one["measure"], measure)),
            f"over {len(runs)} runs; {how}",
            bounded=bounded,
        )
        for measure, how, bounded in summed
    ]
    newest = {name: summary[name] for name in ("commit", "date", "machine")}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**newest, "rows": sums, "runs": runs}, indent=2) + "\n")


def _ends(measure: str, end: str) -> bool:
    return measure.endswith(f": {end}")
