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
    """Rename within one directory, before whatever is done later, also where the power fails and the file system can do
    that.  Raises `OSError`."""
    # Opened first: where that fails nothing was done yet.
    with _opened(new.parent) as directory:
        os.rename(old, new)
        _synchronised(directory)


def synchronise(directory: Path) -> None:
    """What was made, renamed and removed there so far is so before whatever is done later, also where the power fails.
    That may take long.  Raises `OSError`."""
    with _opened(directory) as descriptor:
        if not _synchronised(descriptor):
            os.sync()


@contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    """None of one that may be written to and not read."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _synchronised(directory: int | None) -> bool:
    """False where the file system has no such thing for a directory, or it was not opened."""
    if directory is None:
        return False
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True
