"""Telling one process from another that later got its number."""

from pathlib import Path


def process_started(pid: int) -> str:
    """The kernel's start time of a process, as text; empty where there is no such process (proc(5), field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
