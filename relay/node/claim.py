"""One process alone runs a role on a state directory: a second one would take the first one's sockets away."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.core import ConfigurationError

LOCK_FILE = ".role.lock"


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Hold a state directory that exists; the kernel lets go when this process ends.  Raises `ConfigurationError`."""
    with (directory / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "state_directory: another process is running on it; stop that one first"
            ) from None
        yield
