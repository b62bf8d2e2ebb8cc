"""Destroying files as far as a disk does such a thing: zeros in their place, and then gone."""

import os
from contextlib import suppress
from pathlib import Path

from relay.agent.kept import NotKept


def overwrite(descriptor: int) -> None:
    """Zeros in place of all that a file holds; on flash, and on file systems that copy, the old may live on."""
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, 1 << 20)))
    os.fsync(descriptor)


def destroy_file(path: Path) -> None:
    """Zeros, and then gone; gone all the same where it cannot be written to, which raises `NotKept` where somebody may
    have its blocks.  May be called where there is none."""
    failed: OSError | None = None
    try:
        if not path.is_symlink():
            with suppress(PermissionError):
                # A copy that was put back may be read-only to its owner.
                path.chmod(0o600)
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            overwrite(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except OSError as error:
        failed = error
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        failed = failed or error
    if failed is not None:
        raise NotKept(f"a file could not be overwritten ({failed.strerror}); see whose it is")
