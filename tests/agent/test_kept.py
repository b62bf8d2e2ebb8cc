"""Keeping things in plain files: private, replaced at once; and what a full disk does to whom."""

import errno
import os
import stat
from pathlib import Path

import pytest

from relay.agent.events import Value
from relay.agent.kept import Damaged, NotKept, PlainFiles, Watched, read_or_pass_over
from relay.core import ConfigurationError, MisuseError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def kept(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path / "deep" / "state")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_directory_and_files_are_the_owners_alone(kept: PlainFiles) -> None:
    kept.write("replays", b"content")
    assert mode(kept.path) == 0o700
    assert mode(kept.path / "replays") == 0o600


def test_a_file_is_replaced_whole(kept: PlainFiles) -> None:
    assert kept.read("replays") is None
    kept.write("replays", b"first")
    with (kept.path / "replays").open("rb") as reading:
        kept.write("replays", b"second")
        assert reading.read() == b"first", "who reads meanwhile reads the old one to its end"
    assert kept.read("replays") == b"second"
    assert [path.name for path in kept.path.iterdir()] == ["replays"]


def test_what_nobody_would_find_again_is_not_kept(kept: PlainFiles) -> None:
    with pytest.raises(MisuseError):
        kept.write("diary", b"content")
    assert list(kept.path.iterdir()) == []


def test_every_write_is_noticed_and_nothing_else(kept: PlainFiles) -> None:
    assert kept.stamp("replays") is None
    stamps = []
    for _ in range(3):
        kept.write("replays", b"the same")
        assert kept.stamp("replays") == kept.stamp("replays")
        stamps.append(kept.stamp("replays"))
    assert len(set(stamps)) == 3


def test_what_is_removed_is_gone_and_may_be_removed_again(kept: PlainFiles) -> None:
    kept.write("replays", b"content")
    kept.remove("replays")
    kept.remove("replays")
    assert kept.read("replays") is None
    assert list(kept.path.iterdir()) == []


def test_what_cannot_be_read_is_no_such_thing_as_nothing(kept: PlainFiles) -> None:
    (kept.path / "replays").mkdir()
    with pytest.raises(ConfigurationError, match="replays in the state directory cannot be read"):
        kept.read("replays")
    with pytest.raises(NotKept):
        kept.remove("replays")


def test_a_full_disk_is_one_error_of_the_family_and_loses_nothing(
    kept: PlainFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write("replays", b"first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NotKept, match="No space left on device"):
            kept.write("replays", b"second")
    assert kept.read("replays") == b"first"
    assert [path.name for path in kept.path.iterdir()] == ["replays"], "and leaves no half of a file"
    gone = PlainFiles(kept.path / "gone")
    gone.path.rmdir()
    with pytest.raises(NotKept), gone.locked("contacts"):
        pass


class Failing(PlainFiles):
    """Does what it is told to, for a while."""

    failing = True

    def write(self, name: str, content: bytes) -> None:
        if self.failing:
            raise NotKept("the disk is full")
        super().write(name, content)

    def read(self, name: str) -> bytes | None:
        if self.failing:
            raise Damaged("that part is damaged")
        return super().read(name)


def test_the_owner_is_told_once_and_once_when_it_is_over(tmp_path: Path) -> None:
    told: list[str] = []

    def report(event: str, /, **fields: Value) -> None:
        told.append(event)

    disk = Failing(tmp_path)
    kept = Watched(disk, report)
    for _ in range(3):
        with pytest.raises(NotKept):
            kept.write("replays", b"x")
        assert read_or_pass_over(kept, "replays") is None
    assert told == ["not-kept", "damaged"]
    disk.failing = False
    for _ in range(2):
        kept.write("replays", b"x")
        assert kept.read("replays") == b"x"
    assert told == ["not-kept", "damaged", "kept-again"]
    with kept.locked("contacts"):
        kept.remove("replays")
    assert kept.stamp("replays") is None


def test_no_lock_lies_in_the_clear_under_a_name_that_a_wipe_does_not_know(tmp_path: Path) -> None:
    kept = PlainFiles(tmp_path)
    with kept.locked("contacts"):
        assert [path.name for path in tmp_path.iterdir()] == [".contacts.lock"]
    with pytest.raises(MisuseError, match="no lock of that name"):
        kept.locked("foo")
