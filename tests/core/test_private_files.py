"""State that is its owner's alone, and is replaced whole."""

import os
from pathlib import Path

import pytest

from relay.core import ConfigurationError, private_directory, replace_private


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_directory(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="state_directory"):
        private_directory(tmp_path / "file" / "state")


def test_new_directories_have_their_names_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised = set[int]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synchronised.add(os.fstat(descriptor).st_ino))
    private_directory(tmp_path / "one" / "two")
    assert synchronised == {tmp_path.stat().st_ino, (tmp_path / "one").stat().st_ino}
    private_directory(tmp_path / "one" / "two")
    assert len(synchronised) == 2, "who finds them there waits for no disk"


def test_a_file_is_the_owners_alone_and_the_old_one_can_be_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    replace_private(path, b"first")
    with path.open("rb") as reading:
        replace_private(path, b"second")
        assert reading.read() == b"first"
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]


def test_a_full_disk_leaves_the_old_one_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "thing"
    replace_private(path, b"first")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["thing"]
