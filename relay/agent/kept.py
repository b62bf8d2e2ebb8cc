"""The one way in which an agent keeps anything: by a name each, read whole and written whole.

In plain files (`PlainFiles`), or sealed under a passphrase (`relay.agent.sealed_files`).  Whoever keeps something takes
a `Kept` and neither knows nor asks which.  Of calls nothing is kept but the minutes of those that were missed, which go
after some days (`relay.agent.missed`).
"""

import asyncio
import fcntl
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from relay.agent.events import Reporter, Value
from relay.core import (
    ConfigurationError,
    MisuseError,
    TransportUnavailable,
    prepared_private,
    private_directory,
    replace_private,
    synchronise,
)

PREKEY_FILES = tuple(f"prekey.{age}" for age in range(4))
"""Prekeys, newest first.  They are deleted after some days; no copy of them is to be made, which would outlive them."""

NAMES = frozenset(
    {
        "contacts.json",
        "descriptors.known",
        "domains.json",
        "flows.json",
        "guards.json",
        "identity.key",
        "listings.db",
        "listings.json",
        "replays",
        "softphone.json",
        "zids",
        *PREKEY_FILES,
    }
)
"""All that an agent keeps.  In the clear nothing else is, so that whoever moves it into a vault, or destroys it, leaves
nothing behind."""

LOCKS = frozenset({"agent", "contacts", "domains", "identity", "softphone", "zids"})
"""The names of the locks that whoever keeps it in the clear leaves beside it, as empty files `.NAME.lock`."""


class NotKept(TransportUnavailable):
    """It could not be written, most likely because the disk is full.  What was kept before is there still; an agent
    goes on with what it has in memory, and tries again."""


class Damaged(ConfigurationError):
    """It is there and cannot be opened.  It is never overwritten: what takes its place puts it aside."""


class Kept(Protocol):
    """What stays over restarts; shared with commands that run beside the agent.

    May be used in several threads at a time.  Whoever writes what it read before holds a lock meanwhile."""

    def read(self, name: str) -> bytes | None:
        """What is kept under `name`; None where that is nothing.  Raises `ConfigurationError` where it cannot be
        read, `Damaged` where it cannot be opened."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace it at once and for good: after a crash either the old or the new is there.  Raises `NotKept`."""
        ...

    def remove(self, name: str) -> None:
        """Keep it no more; may be called where there is nothing.  Raises `NotKept`."""
        ...

    def stamp(self, name: str) -> Hashable:
        """Another value whenever it was written since, by whichever process; None where there is nothing."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock `name` against other processes; waits.  Raises `NotKept`."""
        ...


class PlainFiles:
    """Files of mode 0600 in a directory of mode 0700, in the clear: for whom the disk is safe enough, and for tests."""

    def __init__(self, path: Path) -> None:
        """Makes the directory.  Raises `ConfigurationError`."""
        self.path = path
        private_directory(path)

    def read(self, name: str) -> bytes | None:
        return read_file(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        if name not in NAMES:
            raise MisuseError("nothing of that name is kept; see NAMES")
        replace_file(self.path / name, content)

    def remove(self, name: str) -> None:
        remove_file(self.path / name)

    def stamp(self, name: str) -> Hashable:
        return stamp_of(self.path / name)

    def locked(self, name: str) -> AbstractContextManager[None]:
        if name not in LOCKS:
            raise MisuseError("there is no lock of that name; see LOCKS")
        return file_lock(self.path / f".{name}.lock")


class Watched:
    """A `Kept` that tells its owner once when nothing can be kept any more, once when it can again, and
    once of each thing that is damaged; from the event loop in which it was made, whichever thread found it."""

    def __init__(self, kept: Kept, report: Reporter) -> None:
        self._kept = kept
        self._tell = report
        self._loop = _running_loop()
        self._failing = False
        self._damaged: set[str] = set()

    def read(self, name: str) -> bytes | None:
        try:
            return self._kept.read(name)
        except Damaged as error:
            if name not in self._damaged:
                self._damaged.add(name)
                self._report("damaged", why=str(error))
            raise

    def write(self, name: str, content: bytes) -> None:
        with self._watching():
            self._kept.write(name, content)
        if self._failing:
            self._failing = False
            self._report("kept-again")

    def remove(self, name: str) -> None:
        with self._watching():
            self._kept.remove(name)

    def stamp(self, name: str) -> Hashable:
        return self._kept.stamp(name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        with self._watching(), self._kept.locked(name):
            yield

    def _report(self, event: str, **fields: Value) -> None:
        if self._loop is None or _running_loop() is self._loop:
            self._tell(event, **fields)
        else:
            self._loop.call_soon_threadsafe(partial(self._tell, event, **fields))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except NotKept as error:
            if not self._failing:
                self._failing = True
                self._report("not-kept", why=str(error))
            raise


def read_or_pass_over(state: Kept, name: str) -> bytes | None:
    """As `Kept.read`, of what can be had again: where it is damaged, there is none."""
    try:
        return state.read(name)
    except Damaged:
        return None


def read_file(path: Path) -> bytes | None:
    """None where there is no such file.  Raises `ConfigurationError`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path.name} in the state directory cannot be read ({error.strerror}); see whose it is"
        ) from None


def replace_file(path: Path, content: bytes) -> None:
    """Either the old content or the new is there, whatever happens.  Raises `NotKept`."""
    try:
        replace_private(path, content)
    except OSError as error:
        raise _not_kept(error) from None


def keep_names(directory: Path) -> None:
    """What was made and renamed there is so for good, before whatever is destroyed next.  Raises `NotKept`."""
    try:
        synchronise(directory)
    except OSError as error:
        raise _not_kept(error) from None


@contextmanager
def prepared_file(path: Path, content: bytes) -> Iterator[Callable[[], None]]:
    """As `replace_file`; what was yielded puts the new content in its place.  Raises `NotKept`."""
    try:
        with prepared_private(path, content) as put:
            yield put
    except OSError as error:
        raise _not_kept(error) from None


def remove_file(path: Path) -> None:
    """May be called where there is none.  Raises `NotKept`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _not_kept(error) from None


def stamp_of(path: Path) -> Hashable:
    """Times can be set back and numbers of files come again; the time of a file's last change is the kernel's."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Raises `NotKept`."""
    try:
        file = path.open("w")
    except OSError as error:
        raise _not_kept(error) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """That of this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _not_kept(error: OSError) -> NotKept:
    return NotKept(f"the state directory cannot be written ({error.strerror}); make room, or see whose it is")
