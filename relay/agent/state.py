"""The one directory in which an agent has all that is its own, and which one agent alone runs on."""

import fcntl
import os
from pathlib import Path

from relay.core import ConfigurationError, private_directory

_CLAIM = ".agent.lock"
_LOCKS = Path("/proc/locks")


class StateDirectory:
    """The right to run on a state directory; what is in it is read and written by a `relay.agent.kept.Kept`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> None:
        """Make the directory, and sure that one agent alone runs on it.  Raises `ConfigurationError`."""
        private_directory(self.path)
        self._claim = (self.path / _CLAIM).open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._claim.close()
            raise ConfigurationError(
                "state_directory: another agent is running on it; stop that one first"
            ) from None

    def release(self) -> None:
        """Let another agent have it."""
        self._claim.close()


def claimant(directory: Path) -> int | None:
    """The number of the process whose agent runs on a state directory, as the kernel has it (proc(5), /proc/locks).

    None where none does; or where it cannot be told, in another container, and on file systems that number their
    devices in two ways.
    """
    try:
        found = (directory / _CLAIM).lstat()
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    if found.st_nlink != 1:
        # Somebody else's file under another name: whoever asks may be about to kill who holds it.
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for fields in map(str.split, lines):
        if fields[1] == "FLOCK" and fields[5] == place and int(fields[4]) > 0:
            return int(fields[4])
    return None
