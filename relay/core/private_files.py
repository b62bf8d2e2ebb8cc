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
        new = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        for one in new:
            synchronise(one.parent)
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
    with _directory(new.parent) as synchronise_it:
        os.rename(old, new)
        synchronise_it()


def synchronise(directory: Path) -> None:
    """What was made, renamed and removed there so far is so before whatever is done later, also where the power
    fails.  Raises `OSError`."""
    with _directory(directory) as synchronise_it:
        synchronise_it()


@contextmanager
def _directory(path: Path) -> Iterator[Callable[[], None]]:
    """Yields what synchronises it.  It is opened at once, so that nothing was done yet where that fails."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # It may be written to and not read.
        yield os.sync
        return
    try:
        yield lambda: _synchronise(descriptor)
    finally:
        os.close(descriptor)


def _synchronise(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Some file systems have no such thing for a directory.
        os.sync()
