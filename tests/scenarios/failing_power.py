"""A disk whose directories are behind, and power that fails.

A name that was made, changed or removed is so on the disk for certain only after its directory was synchronised, and
until then any one change may be lost though a later one was kept; a file that was renamed before it was synchronised
itself is empty then.  What is written in place and was not synchronised is there or not.  New directories are there at
once; one that is renamed may have its old name again.
"""

import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

MOMENTS = 300

_INode = tuple[int, int]


class PowerFailed(BaseException):
    """Nothing that catches errors catches it."""


class Killed(PowerFailed):
    """The process alone: the disk goes on."""


class _Change(NamedTuple):
    """Of one name: what it stood for before and after, by another name for that; None for nothing."""

    path: Path
    before: Path | None
    after: Path | None


class _Step(NamedTuple):
    """What is lost as a whole or not at all."""

    directory: _INode
    changes: tuple[_Change, ...]
    torn: Path | None
    """What was not synchronised before it was renamed."""
    moved: tuple[Path, Path] | None
    """A directory, from where and to where."""


class Disk:
    """The power fails at the n-th thing that is done to it, after the process was killed at the `kill`-th, if it was.
    `held` is a directory for second names of all files, so that nothing loses its blocks."""

    def __init__(self, patch: pytest.MonkeyPatch, held: Path, moment: int, kill: int = 0) -> None:
        shutil.rmtree(held, ignore_errors=True)
        held.mkdir()
        self._kill = kill
        self.killed = False
        self._overwritten: dict[_INode, tuple[int, bytes]] = {}
        """What was written over and not synchronised: where to, and what was there."""
        self._held = held
        self._left = moment
        self._numbers = itertools.count()
        self._steps: list[_Step] = []
        self._synchronised = set[_INode]()
        self._rename, self._unlink, self._link, self._fsync = os.rename, os.unlink, os.link, os.fsync
        self._write = os.write
        patch.setattr(os, "rename", self.rename)
        patch.setattr(os, "replace", self.rename)
        patch.setattr(os, "write", self.write)
        patch.setattr(os, "unlink", self.unlink)
        patch.setattr(os, "link", self.link)
        patch.setattr(os, "fsync", self.fsync)

    @property
    def behind(self) -> int:
        """How many changes may be lost; what was written in place counts as one."""
        return len(self._steps) + bool(self._overwritten)

    def fail(self, lost: tuple[bool, ...]) -> None:
        """These are lost."""
        if self._overwritten and lost[-1]:
            for descriptor, before in self._overwritten.values():
                os.pwrite(descriptor, before, 0)
        lost = lost[: len(self._steps)]
        stands: dict[Path, Path | None] = {}
        for step, is_lost in zip(self._steps, lost, strict=True):
            for change in step.changes:
                stands.setdefault(change.path, change.before)
                if not is_lost:
                    stands[change.path] = change.after
            if step.torn is not None:
                os.truncate(step.torn, 0)
        for path, content in stands.items():
            path.unlink(missing_ok=True)
            if content is not None:
                self._link(content, path)
        for step, is_lost in reversed(list(zip(self._steps, lost, strict=True))):
            if is_lost and step.moved is not None:
                self._rename(step.moved[1], step.moved[0])

    def close(self) -> None:
        """May be called twice."""
        for descriptor, _ in self._overwritten.values():
            os.close(descriptor)
        self._overwritten.clear()

    def everything(self) -> list[bytes]:
        """What the blocks hold of every file that ever had a name that changed."""
        return [path.read_bytes() for path in self._held.iterdir()]

    def rename(self, old: Path, new: Path) -> None:
        self._count()
        if old.is_dir():
            self._rename(old, new)
            self._steps.append(_Step(_inode(new.parent), (), None, (old, new)))
            return
        before, content = self._hold(new), self._hold(old)
        torn = None if _inode(old) in self._synchronised else content
        self._rename(old, new)
        changes = (_Change(new, before, content), _Change(old, content, None))
        self._steps.append(_Step(_inode(new.parent), changes, torn, None))

    def unlink(self, path: Path, *, dir_fd: int | None = None) -> None:
        self._count()
        if dir_fd is not None:
            # Of a whole directory that goes: what comes back of it is tidied up again.
            self._unlink(path, dir_fd=dir_fd)
            return
        content = self._hold(path)
        self._unlink(path)
        self._steps.append(_Step(_inode(path.parent), (_Change(path, content, None),), None, None))

    def link(self, old: Path, new: Path) -> None:
        self._count()
        self._link(old, new)
        self._steps.append(_Step(_inode(new.parent), (_Change(new, None, self._hold(new)),), None, None))

    def write(self, descriptor: int, data: bytes) -> int:
        self._count()
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            inode = (status.st_dev, status.st_ino)
            if inode not in self._overwritten:
                before = os.pread(descriptor, status.st_size, 0)
                self._overwritten[inode] = (os.dup(descriptor), before)
        return self._write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._count()
        self._fsync(descriptor)
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        self._synchronised.add(inode)
        if inode in self._overwritten:
            os.close(self._overwritten.pop(inode)[0])
        if stat.S_ISDIR(status.st_mode):
            self._steps = [step for step in self._steps if step.directory != inode]

    def _count(self) -> None:
        self._kill -= 1
        if self._kill == 0:
            self.killed = True
            raise Killed
        self._left -= 1
        if self._left <= 0:
            # Nothing tidies up after that.
            raise PowerFailed

    def _hold(self, path: Path) -> Path | None:
        if not path.exists():
            return None
        held = self._held / str(next(self._numbers))
        self._link(path, held)
        return held


def _inode(path: Path) -> _INode:
    status = path.stat()
    return status.st_dev, status.st_ino


class Outcome(NamedTuple):
    """One way in which the power failed, and whether all was done before."""

    disk: Disk
    done: bool


def failures(
    held: Path,
    prepare: Callable[[], None],
    change: Callable[[], object],
    afterwards: Callable[[], object] | None = None,
    *,
    kill: int = 0,
) -> Iterator[Outcome]:
    """After each way in which the power can fail during `change`; `prepare` comes before each.

    With `kill` that ends at the `kill`-th thing it does, and `afterwards` is what the next process does, during which
    the power fails.  Nothing comes where it was done before.
    """

    def once(moment: int) -> Outcome:
        prepare()
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, held, moment, kill)
            try:
                try:
                    change()
                except Killed:
                    if afterwards is not None:
                        afterwards()
            except PowerFailed:
                return Outcome(disk, False)
        return Outcome(disk, True)

    for moment in range(1, MOMENTS):
        if moment < kill:
            continue
        first = once(moment)
        behind = first.disk.behind
        first.disk.close()
        if kill and not first.disk.killed:
            return
        for lost in itertools.product((False, True), repeat=behind):
            outcome = once(moment)
            outcome.disk.fail(lost)
            outcome.disk.close()
            yield outcome
        if outcome.done:
            return
    pytest.fail("it never ends")
