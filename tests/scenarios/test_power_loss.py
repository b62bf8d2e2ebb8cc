"""When the power fails nothing that an agent keeps is lost: the old one is there or the new one, and a passphrase that
was changed opens nothing that is left."""

import contextlib
import errno
import functools
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.agent.kept import Damaged
from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_directory import HEADERS, VaultDirectory
from relay.agent.vault_moving import clear_up, move_in
from relay.core import BayonneError, rename_for_good, replace_private, synchronise
from relay.identity.vault import unlock
from tests.agent.vaults import PASSPHRASE, directory_of, flip, new_vault
from tests.scenarios.failing_power import Outcome, failures

OTHER = bytearray(b"another good passphrase")
CLEAR = {"contacts.json": b"contacts", "guards.json": b"guards", "identity.key": b"identity"}


@pytest.fixture
def kept(tmp_path: Path) -> SealedFiles:
    return new_vault(tmp_path / "state")


@pytest.fixture
def held(tmp_path: Path) -> Path:
    return tmp_path / "held"


def renamed_only(old: Path, new: Path) -> None:
    os.rename(old, new)


def again(kept: SealedFiles, passphrase: bytearray = PASSPHRASE) -> SealedFiles:
    """As the next process finds it."""
    return directory_of(kept.path.parent).unlock(passphrase)


# -- one part ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["write the first time", "write again", "remove"])
def test_a_part_is_the_old_one_or_the_new_one(kept: SealedFiles, held: Path, what: str) -> None:
    old = None if "first" in what else b"old"
    new = None if what == "remove" else b"new"

    def prepare() -> None:
        kept.write("contacts.json", b"old")
        if old is None:
            kept.remove("contacts.json")

    def change() -> None:
        if new is None:
            kept.remove("contacts.json")
        else:
            kept.write("contacts.json", new)

    seen = set()
    for outcome in failures(held, prepare, change):
        found = again(kept)
        found.tidy()
        assert found.damaged() == ()
        content = found.read("contacts.json")
        assert content in ((new,) if outcome.done else (old, new))
        seen.add(content)
    assert seen == {old, new}


def test_what_is_put_aside_is_not_lost(kept: SealedFiles, held: Path) -> None:
    path = kept.path / kept.vault.file_name("contacts.json")

    def prepare() -> None:
        kept.remove("contacts.json")
        for aside in kept.path.glob("*.damaged*"):
            aside.unlink()
        kept.write("contacts.json", b"old")
        flip(path)

    for outcome in failures(held, prepare, lambda: kept.write("contacts.json", b"new")):
        damaged = {one.name for one in kept.path.glob(f"{path.name}.damaged*")}
        try:
            content = again(kept).read("contacts.json")
        except Damaged:
            assert not outcome.done
            assert damaged or path.exists()
        else:
            assert content == b"new"
            assert damaged


# -- the passphrase ------------------------------------------------------------------------------------------------


def opens(kept: SealedFiles, passphrase: bytearray) -> bool:
    try:
        return again(kept, passphrase).read("contacts.json") == b"contacts"
    except BayonneError:
        return False


def changes_of_the_passphrase(kept: SealedFiles, held: Path, kill: int = 0) -> Iterator[Outcome]:
    """With `kill`, the next process unlocks it after that, by the new passphrase if that opens it."""
    vault = directory_of(kept.path.parent)

    def prepare() -> None:
        passphrase = PASSPHRASE if opens(kept, PASSPHRASE) else OTHER
        vault.change_passphrase(again(kept, passphrase), PASSPHRASE)

    kept.write("contacts.json", b"contacts")
    return failures(
        held,
        prepare,
        lambda: vault.change_passphrase(again(kept), OTHER),
        lambda: opens(kept, OTHER) or opens(kept, PASSPHRASE),
        kill=kill,
    )


def test_a_changed_passphrase_opens_or_the_old_one_does(kept: SealedFiles, held: Path) -> None:
    for outcome in changes_of_the_passphrase(kept, held):
        assert opens(kept, OTHER) or (opens(kept, PASSPHRASE) and not outcome.done)


def test_the_old_passphrase_opens_nothing_on_the_disk(kept: SealedFiles, held: Path) -> None:
    """No header of before is left, with a name or without one, as soon as the new passphrase was used."""
    for outcome in changes_of_the_passphrase(kept, held):
        assert nothing_is_left(kept, outcome)


def test_nor_where_the_power_fails_after_somebody_was_killed(kept: SealedFiles, held: Path) -> None:
    kills = 0
    for kill in range(1, 100):
        outcome = None
        for outcome in changes_of_the_passphrase(kept, held, kill):
            assert opens(kept, OTHER) or opens(kept, PASSPHRASE)
            assert nothing_is_left(kept, outcome)
        if outcome is None:
            break
        kills = kill
    assert kills > 10


def nothing_is_left(kept: SealedFiles, outcome: Outcome) -> bool:
    """Nothing at all, where the new passphrase opens the vault and was used."""
    if not opens(kept, OTHER):
        return True
    assert {path.name for path in kept.path.glob("header*")} == set(HEADERS)
    for header in (*outcome.disk.everything(), *(path.read_bytes() for path in kept.path.iterdir())):
        with contextlib.suppress(BayonneError):
            unlock(header, PASSPHRASE)
            return False
    return True


# -- into a vault --------------------------------------------------------------------------------------------------


def moves(place: Path, held: Path) -> Iterator[bool]:
    """Whether all is there after the next start."""

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, content in CLEAR.items():
            (place / name).write_bytes(content)

    def start() -> SealedFiles:
        vault = directory_of(place)
        if not vault.exists:
            return move_in(place, vault, PASSPHRASE)
        files = vault.unlock(PASSPHRASE)
        clear_up(place, files)
        return files

    for _ in failures(held, prepare, start):
        files = start()
        yield {name: files.read(name) for name in CLEAR} == CLEAR
        assert not [name for name in CLEAR if (place / name).exists()]


def test_what_moves_into_a_vault_is_not_lost(tmp_path: Path, held: Path) -> None:
    assert all(moves(tmp_path / "state", held))


def test_nor_where_whoever_made_the_vault_was_killed_before_its_name_was_for_good(
    tmp_path: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.vault_directory.rename_for_good", renamed_only)
    assert all(moves(tmp_path / "state", held))


# -- controls ------------------------------------------------------------------------------------------------------


class TestADiskThatIsToldNothing:
    """As `replace_private` once did; the same failures find it."""

    @pytest.fixture(autouse=True)
    def _told_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.core.private_files.rename_for_good", renamed_only)
        monkeypatch.setattr("relay.agent.vault_directory.keep_names", lambda directory: None)

    def test_loses_a_part(self, kept: SealedFiles, held: Path) -> None:
        write = functools.partial(kept.write, "contacts.json")
        assert any(
            again(kept).damaged() for _ in failures(held, lambda: write(b"old"), lambda: write(b"new"))
        )

    def test_loses_the_whole_vault(self, kept: SealedFiles, held: Path) -> None:
        assert not all(
            opens(kept, OTHER) or opens(kept, PASSPHRASE) for _ in changes_of_the_passphrase(kept, held)
        )


def test_without_a_second_name_the_old_passphrase_opens_what_is_left(
    kept: SealedFiles, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VaultDirectory, "_former", lambda self, name: self.path / "nowhere" / name)
    assert not all(nothing_is_left(kept, outcome) for outcome in changes_of_the_passphrase(kept, held))


def test_a_move_that_tells_the_disk_nothing_loses_all(
    tmp_path: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.vault_directory.rename_for_good", renamed_only)
    monkeypatch.setattr("relay.agent.vault_moving.keep_names", lambda directory: None)
    assert not all(moves(tmp_path / "state", held))


# -- disks that cannot -------------------------------------------------------------------------------------------


def test_where_directories_cannot_be_synchronised_the_whole_disk_is_before_something_is_destroyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise_it, all_of_it = os.fsync, list[bool]()

    def no_such_thing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        synchronise_it(descriptor)

    monkeypatch.setattr(os, "fsync", no_such_thing)
    monkeypatch.setattr(os, "sync", lambda: all_of_it.append(True))
    replace_private(tmp_path / "thing", b"content")
    assert (tmp_path / "thing").read_bytes() == b"content"
    assert not all_of_it, "that may take long"
    synchronise(tmp_path)
    assert all_of_it == [True]


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "old").write_bytes(b"content")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        rename_for_good(tmp_path / "old", tmp_path / "new")
