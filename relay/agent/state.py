"""The one directory in which an agent has all that is its own, and which one agent alone runs on."""

import fcntl
from pathlib import Path

from relay.core import ConfigurationError, private_directory


class StateDirectory:
    """The right to run on a state directory; what is in it is read and written by a `relay.agent.kept.Kept`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> None:
        """Make the directory, and sure that one agent alone runs on it.  Raises `ConfigurationError`."""
        private_directory(self.path)
        self._claim = (self.path / ".agent.lock").open("w")
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
