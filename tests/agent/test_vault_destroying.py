"""A wipe leaves nothing of an agent's, and nobody else's file is touched."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from relay.agent.control import SOCKET
from relay.agent.kept import NotKept
from relay.agent.state import StateDirectory
from relay.agent.vault_destroying import StateToDestroy, plain_files
from relay.core import ConfigurationError
from tests.agent.test_vault_moving import SECRET, full_vault, in_the_clear
from tests.agent.vaults import PASSPHRASE, directory_of, flip


def destroy(place: Path) -> tuple[str, ...]:
    """What was left."""
    state = StateToDestroy(place)
    state.destroy()
    return state.left()


def destroy_keys(place: Path) -> None:
    state = StateToDestroy(place)
    state.look()
    state.destroy_keys()


def what_lies_in(place: Path) -> tuple[str, ...]:
    return StateToDestroy(place).look()


def tree(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else b""
        for path in place.rglob("*")
    }


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
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(place / SOCKET))
    assert what_lies_in(place) == ("a vault", "files in the clear", "Tor's directory")
    destroy(place)
    assert what_lies_in(place) == ()
    assert [path.name for path in place.iterdir()] == ["notes.txt"]
    (place / "notes.txt").unlink()
    destroy(place)
    assert place.exists(), "an empty directory may be anybody's"
    full_vault(place)
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


def test_a_link_leads_a_wipe_nowhere_and_that_is_told(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    (place / ".agent.lock").touch()
    (elsewhere / "contacts.json").write_bytes(SECRET)
    (place / "contacts.json").symlink_to(elsewhere / "contacts.json")
    (place / "tor").symlink_to(elsewhere)
    (place / "vault").symlink_to(tmp_path / "a stick that is not there")
    why = "a link; see what is behind it"
    assert destroy(place) == (f"vault ({why})", f"tor ({why})", f"contacts.json ({why})")
    assert (elsewhere / "contacts.json").read_bytes() == SECRET


def test_a_vault_behind_a_link_is_destroyed_whole(tmp_path: Path) -> None:
    place, stick = tmp_path / "state", tmp_path / "stick"
    full_vault(place)
    (place / "vault").rename(stick)
    (place / "vault").symlink_to(stick)
    assert what_lies_in(place) == ("a vault",)
    assert destroy(place) == ()
    assert not stick.exists()
    assert not place.exists()


def test_what_another_user_has_behind_a_link_is_not_for_root_to_destroy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = tmp_path / "state", tmp_path / "other"
    full_vault(other)
    place.mkdir()
    (place / ".agent.lock").touch()
    (place / "vault").symlink_to(other / "vault")
    before, real = tree(other), Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = list(real(path))
        found[4] += path == place / "vault"
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert destroy(place) == ("vault (a link; see what is behind it)",)
    assert tree(other) == before


def test_a_state_directory_that_is_a_link_goes_with_the_link(tmp_path: Path) -> None:
    full_vault(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert destroy(tmp_path / "link") == ()
    assert list(tmp_path.iterdir()) == []


# -- a directory that is not an agent's ----------------------------------------------------------------------------


def test_a_home_that_was_named_by_mistake_is_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for path in ("vault/notes/thesis.md", "vault/header", "tor/browser/data", "identity.key", "vault.new/x"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(b"not the agent's")
    for name in (".foo.lock", "agent.socket", f"vault/{'0' * 32}"):
        (home / name).touch()
    (home / ".contacts.lock").write_text("not empty")
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    assert what_lies_in(home) == ()
    why = "nothing says that it is an agent's"
    assert destroy(home) == tuple(f"{name} ({why})" for name in ("vault", "vault.new", "tor", "identity.key"))
    assert destroy(tmp_path / "empty") == ()
    assert tree(tmp_path) == before


def test_the_state_of_another_role_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".role.lock").touch()
    (tmp_path / "tor").mkdir()
    assert len(destroy(tmp_path)) == 1
    assert (tmp_path / "tor").exists()
    full_vault(tmp_path)
    assert destroy(tmp_path) == ("tor (not as an agent leaves it)",), "the two share a directory"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".role.lock", "tor"]


def test_of_a_vault_goes_what_an_agent_has_put_there_and_copies_of_its_header(tmp_path: Path) -> None:
    files = full_vault(tmp_path)
    header = files.path / "header"
    (files.path / "header.before").write_bytes(header.read_bytes())
    (files.path / "header.copy.damaged3").write_bytes(b"x")
    (files.path / "header.former").write_bytes(b"x")
    (files.path / ".header.new").write_bytes(header.read_bytes()[:60])
    (files.path / f".{'a' * 32}.lock").touch()
    (files.path / "notes").mkdir()
    (files.path / "notes" / "thesis.md").write_text("not the agent's")
    (left,) = destroy(tmp_path)
    assert left == "vault (what is in it that is not an agent's)"
    assert [path.name for path in files.path.iterdir()] == ["notes"]
    assert (files.path / "notes" / "thesis.md").exists()


@pytest.mark.parametrize("how", ["headers damaged", "headers gone", "parts gone", "put aside"])
def test_a_vault_is_known_by_either_a_whole_header_or_a_part(tmp_path: Path, how: str) -> None:
    place = tmp_path / "state"
    files = full_vault(place)
    headers = [files.path / name for name in ("header", "header.copy")]
    parts = [path for path in files.path.iterdir() if len(path.name) == 32]
    match how:
        case "headers damaged":
            for path in headers:
                flip(path)
        case "headers gone":
            for path in headers:
                path.unlink()
        case "parts gone":
            for path in parts:
                path.unlink()
        case _:
            headers[0].rename(files.path / "header.damaged")
            for path in (headers[1], *parts):
                path.unlink()
    assert what_lies_in(place) == ("a vault",)
    assert destroy(place) == ()
    assert not place.exists()


@pytest.mark.parametrize("mark", [".agent.lock", ".contacts.lock", "another file", "a socket"])
def test_files_in_the_clear_are_known_by_what_an_agent_leaves_beside_them(tmp_path: Path, mark: str) -> None:
    place = tmp_path / "state"
    place.mkdir()
    (place / "identity.key").write_bytes(SECRET)
    (place / ".contacts.json.new").write_bytes(SECRET)
    assert what_lies_in(place) == ()
    match mark:
        case "another file":
            (place / "contacts.json").write_bytes(SECRET)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(place / SOCKET))
        case _:
            (place / mark).touch()
    assert what_lies_in(place) == ("files in the clear",)
    assert destroy(place) == ()
    assert not place.exists()


def test_every_mark_is_one_that_an_agent_leaves(tmp_path: Path) -> None:
    """Else a state in the clear, and a killed amnesic agent's directory of Tor, would be missed."""
    claim = StateDirectory(tmp_path)
    claim.claim()
    claim.release()
    (tmp_path / "tor").mkdir()
    assert what_lies_in(tmp_path) == ("Tor's directory",)
