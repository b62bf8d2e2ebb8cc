"""Which tor processes run beneath a directory: by the torrc on their command line, as /proc shows it."""

import time
from pathlib import Path


def tor_processes(directory: Path) -> set[int]:
    """Those whose torrc lies beneath `directory`."""
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # A zombie has no command line: whoever collects it, it runs no more.
        if b"-f" in words and words[words.index(b"-f") + 1].startswith(bytes(directory.resolve())):
            found.add(int(process.name))
    return found


def gone_within(directory: Path, seconds: float) -> bool:
    """Whether no tor process is left beneath `directory` by then."""
    deadline = time.monotonic() + seconds
    while tor_processes(directory) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not tor_processes(directory)
