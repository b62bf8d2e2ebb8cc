"""A wipe leaves nothing of an agent's, and nobody else's file is touched."""

import os
from pathlib import Path
from typing import Any

import pytest

from relay.agent.control import SOCKET
from relay.agent.kept import NotKept
from relay.agent.vault_destroying import destroy, destroy_keys, plain_files, what_lies_in
from relay.core import ConfigurationError
from tests.agent.test_vault_moving import SECRET, full_vault, in_the_clear
from tests.agent.vaults import PASSPHRASE, directory_of


def test_with_the_keys_alone_gone_no_passphrase_opens_it(tmp_path: Path) -> None:
    files = full_vault(tmp_path)
    aside = files.path / "header.damaged"
    aside.write_bytes((files.path / "header").read_bytes())
    with (files.path / "header").open("rb") as block, aside.open("rb") as damaged:
        destroy_keys(tmp_path)
        assert set(block.read()) == set(damaged.read()) == {0}
    with pytest.raises(ConfigurationError):
        directory_of(tmp_path).unlock(PASSPHRASE)


def test_a_wipe_leaves_nothing_but_what_is_not_ours(tmp_path: Path) -> None:
    place = tmp_path / "state"
    full_vault(place)
    in_the_clear(place)
    (place / ".contacts.json.new").write_bytes(SECRET)
    (place / ".agent.lock").touch()
    (place / "tor").mkdir()
    (place / "tor" / "state").write_text("x")
    (place / "notes.txt").write_text("not the agent's")
    (place / SOCKET).touch()
    assert what_lies_in(place) == ("a vault", "files in the clear", "Tor's directory")
    destroy(place)
    assert what_lies_in(place) == ()
    assert [path.name for path in place.iterdir()] == ["notes.txt"]
    (place / "notes.txt").unlink()
    destroy(place)
    assert not place.exists()
    destroy(place)


def test_what_is_read_only_is_destroyed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was put back.  Root may write to anything; here it may not."""
    in_the_clear(tmp_path)
    real = os.open

    def strict(path: Path, flags: int) -> int:
        if flags & os.O_RDWR and not path.stat().st_mode & 0o200:
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr("relay.agent.overwriting.os.open", strict)
    for path in plain_files(tmp_path):
        path.chmod(0o400)
    destroy_keys(tmp_path)
    monkeypatch.undo()
    assert not list(plain_files(tmp_path))


def test_what_cannot_be_removed_keeps_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = full_vault(tmp_path)
    (tmp_path / "tor").mkdir()
    (tmp_path / "tor" / "state").write_text("x")
    stuck, real = files.vault.file_name("contacts.json"), os.unlink

    def strict(path: str, **named: Any) -> None:
        if Path(path).name == stuck:
            raise PermissionError(1, "Operation not permitted")
        real(path, **named)

    monkeypatch.setattr("relay.agent.vault_destroying.shutil.os.unlink", strict)
    with pytest.raises(NotKept, match="not all could be removed"):
        destroy(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [stuck]
    assert not (tmp_path / "tor").exists()


@pytest.mark.parametrize("how", ["a link", "not ours"])
def test_a_header_that_cannot_be_overwritten_saves_nothing_from_a_wipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    place = tmp_path / "state"
    full_vault(place)
    in_the_clear(place)
    header = place / "vault" / "header"
    if how == "a link":
        header.rename(tmp_path / "elsewhere")
        header.symlink_to(tmp_path / "elsewhere")
    else:
        real = os.open

        def strict(path: Path, flags: int, **named: Any) -> int:
            if path == header:
                raise PermissionError(13, "Permission denied")
            return real(path, flags, **named)

        monkeypatch.setattr("relay.agent.overwriting.os.open", strict)
    with pytest.raises(NotKept, match="could not be overwritten"):
        destroy(place)
    assert not place.exists()


def test_a_link_leads_a_wipe_nowhere(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    (elsewhere / "contacts.json").write_bytes(SECRET)
    (place / "contacts.json").symlink_to(elsewhere / "contacts.json")
    (place / "tor").symlink_to(elsewhere)
    destroy(place)
    assert (elsewhere / "contacts.json").read_bytes() == SECRET
