"""When the power fails: a new name is on the disk for certain only after its directory was synchronised, and until then
any one of them may be lost though a later one was kept.

What a file holds is on the disk here as soon as it was written: a header that was overwritten too early is gone.
"""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.agent.sealed_files import SealedFiles
from relay.core import BayonneError, rename_for_good, replace_private
from tests.agent.vaults import PASSPHRASE, directory_of, new_vault

OTHER = bytearray(b"another good passphrase")
MOMENTS = 100


class Failure(BaseException):
    """Of the power: nothing that catches errors catches it."""


class Disk:
    """One whose directories are behind.  The power fails at the n-th thing that is done to it."""

    def __init__(self, patch: pytest.MonkeyPatch, moment: int) -> None:
        self._left = moment
        self._pending: list[tuple[Path, int | None]] = []
        self._rename, self._unlink, self._fsync = os.rename, os.unlink, os.fsync
        patch.setattr(os, "rename", self._renamed)
        patch.setattr(os, "unlink", self._unlinked)
        patch.setattr(os, "fsync", self._synchronised)

    @property
    def behind(self) -> int:
        return len(self._pending)

    def fail(self, lost: tuple[bool, ...]) -> None:
        """Of what is behind, this was lost.  What had been at those names is there again, as it is by now."""
        for (path, before), is_lost in reversed(list(zip(self._pending, lost, strict=True))):
            if is_lost:
                path.unlink(missing_ok=True)
                if before is not None:
                    path.write_bytes(os.pread(before, 1 << 20, 0))

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Failure

    def _is_held(self, path: Path) -> int | None:
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None

    def _renamed(self, old: Path, new: Path) -> None:
        self._step()
        before = self._is_held(new)
        self._rename(old, new)
        self._pending.append((Path(new), before))

    def _unlinked(self, path: Path) -> None:
        self._step()
        before = self._is_held(path)
        self._unlink(path)
        self._pending.append((Path(path), before))

    def _synchronised(self, descriptor: int) -> None:
        self._step()
        self._fsync(descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._pending.clear()


def _failures(prepare: Callable[[], None], change: Callable[[], None]) -> Iterator[bool]:
    """After each way in which the power can fail; whether `change` was done before.  Ends after that."""
    for moment in range(1, MOMENTS):
        for lost in itertools.product((False, True), repeat=_behind(prepare, change, moment)[0]):
            done = _behind(prepare, change, moment, lost)[1]
            yield done
        if done:
            return
    pytest.fail("it never ends")


def _behind(
    prepare: Callable[[], None], change: Callable[[], None], moment: int, lost: tuple[bool, ...] | None = None
) -> tuple[int, bool]:
    prepare()
    done = True
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, moment)
        try:
            change()
        except Failure:
            done = False
    if lost is not None:
        disk.fail(lost)
    return disk.behind, done


def _again(kept: SealedFiles, passphrase: bytearray = PASSPHRASE) -> SealedFiles:
    return directory_of(kept.path.parent).unlock(passphrase)


@pytest.fixture
def kept(tmp_path: Path) -> SealedFiles:
    return new_vault(tmp_path)


@pytest.mark.parametrize("first", [True, False])
def test_a_part_is_the_old_one_or_the_new_one(kept: SealedFiles, first: bool) -> None:
    old = None if first else b"old"

    def prepare() -> None:
        kept.write("contacts.json", b"old")
        if first:
            kept.remove("contacts.json")

    seen = set()
    for done in _failures(prepare, lambda: kept.write("contacts.json", b"new")):
        found = _again(kept)
        assert found.damaged() == ()
        content = found.read("contacts.json")
        assert content in ((b"new",) if done else (old, b"new"))
        seen.add(content)
    assert seen == {old, b"new"}


def _changes_of_the_passphrase(kept: SealedFiles) -> Iterator[bool]:
    """For each way in which the power can fail: whether one of the passphrases opens the vault, the new one where the
    change was done."""
    vault = directory_of(kept.path.parent)

    def opens(passphrase: bytearray) -> bool:
        try:
            return _again(kept, passphrase).read("contacts.json") == b"contacts"
        except BayonneError:
            return False

    def prepare() -> None:
        vault.change_passphrase(_again(kept, PASSPHRASE if opens(PASSPHRASE) else OTHER), PASSPHRASE)

    kept.write("contacts.json", b"contacts")
    for done in _failures(prepare, lambda: vault.change_passphrase(_again(kept), OTHER)):
        yield opens(OTHER) or (opens(PASSPHRASE) and not done)


def test_a_changed_passphrase_opens_or_the_old_one_does(kept: SealedFiles) -> None:
    assert all(_changes_of_the_passphrase(kept))


class TestADiskThatIsToldNothing:
    """As `replace_private` once did; the same failures find it."""

    @pytest.fixture(autouse=True)
    def _told_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.core.private_files.rename_for_good", lambda old, new: os.rename(old, new))

    def test_loses_a_part(self, kept: SealedFiles) -> None:
        failures = _failures(
            lambda: kept.write("contacts.json", b"old"), lambda: kept.write("contacts.json", b"new")
        )
        assert any(_again(kept).damaged() for _ in failures)

    def test_loses_the_whole_vault(self, kept: SealedFiles) -> None:
        assert not all(_changes_of_the_passphrase(kept))


def test_where_directories_cannot_be_synchronised_files_are_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise = os.fsync

    def no_such_thing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", no_such_thing)
    replace_private(tmp_path / "thing", b"content")
    assert (tmp_path / "thing").read_bytes() == b"content"


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "old").write_bytes(b"content")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        rename_for_good(tmp_path / "old", tmp_path / "new")
