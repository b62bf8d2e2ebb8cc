"""Directories and files of a role's state: its user's alone, and a file's old content or its new one, never half."""

import errno
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
    """As `replace_private`, in two steps: what was yielded puts it in its place, before anything that is put in its
    place later, also where the power fails.

    Raises `OSError`; without the second step nothing has changed.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield lambda: rename_for_good(new, path)
    except Exception:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def rename_for_good(old: Path, new: Path) -> None:
    """Rename within one directory, before whatever is done later, also where the power fails.  Raises `OSError`."""
    os.rename(old, new)
    directory = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    except OSError as error:
        # Some file systems have no such thing, and there the new name is all that can be had.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(directory)
