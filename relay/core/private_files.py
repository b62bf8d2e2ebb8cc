"""Directories and files of a role's state: its user's alone, and a file's old content or its new one, never half."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.core.errors import ConfigurationError


def private_directory(path: Path) -> None:
    """Make a state directory, private to its owner.  Raises `ConfigurationError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            f"state_directory: cannot be used ({error.strerror}); choose another"
        ) from None


def replace_private(path: Path, data: bytes) -> None:
    """Write a file, whole and for good or not at all, whatever happens.  Raises `OSError`."""
    with prepared_private(path, data) as put:
        put()


@contextmanager
def prepared_private(path: Path, data: bytes) -> Iterator[Callable[[], None]]:
    """As `replace_private`, in two steps: what was yielded puts it in its place, which takes no time.

    Raises `OSError`; without the second step nothing has changed.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield lambda: os.rename(new, path)
    except Exception:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
