"""What the operating system says a process used: the one measure that is the same for every relay."""

import os
from dataclasses import dataclass
from pathlib import Path

from relay.core import TransportUnavailable


def cpu_seconds(pid: int) -> float:
    """User and system time of all of a process's threads so far, in nanosecond steps.

    Raises `TransportUnavailable` when the process is gone.  Where the kernel keeps no scheduler statistics: the ticks
    of /proc/PID/stat.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        spent = sum(_thread_seconds(task) for task in tasks)
        if spent:
            return spent
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        raise TransportUnavailable("a process under test ended before its measurement did") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _thread_seconds(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use and not shared with a file."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise TransportUnavailable("the kernel does not say how much memory a process has")


def available_bytes() -> int:
    """Memory of this machine that is free for use."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise TransportUnavailable("the kernel does not say how much memory is free")


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: the relay under test on cores of its own, the generator and everybody else on the others."""

    relay: frozenset[int]
    load: frozenset[int]

    @classmethod
    def split(cls, workers: int) -> "Cores":
        """The cores this process may use; with too few, relay and generator share them."""
        mine = sorted(os.sched_getaffinity(0))
        if len(mine) <= workers:
            return cls(frozenset(mine), frozenset(mine))
        return cls(frozenset(mine[:workers]), frozenset(mine[workers:]))

    @property
    def shared(self) -> bool:
        """Whether the generator takes time away from the relay."""
        return bool(self.relay & self.load)


def pin(pid: int, cores: frozenset[int]) -> None:
    """Keep a process (0: this thread) and all it starts on some cores."""
    os.sched_setaffinity(pid, cores)
