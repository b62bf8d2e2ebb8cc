"""The directory of a vault: made whole or not at all, its header there twice, a changed passphrase changed for good."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from relay.agent.kept import NotKept
from relay.agent.put_aside import MOST_ASIDE
from relay.agent.vault_directory import HEADERS
from relay.core import ConfigurationError
from relay.identity.vault import Vault, WrongPassphrase, unlock
from tests.agent.vaults import PASSPHRASE, directory_of, everything_in, flip, new_vault

OTHER = bytearray(b"another good passphrase")


def test_it_is_there_with_what_was_put_in(tmp_path: Path) -> None:
    directory = directory_of(tmp_path / "deep" / "state")
    assert not directory.exists
    directory.create(PASSPHRASE, [("guards.json", b"guards")])
    assert directory.exists
    assert directory.unlock(PASSPHRASE).read("guards.json") == b"guards"
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in directory.path.parent.iterdir()) == ["vault"]


def test_a_wrong_passphrase_changes_nothing(tmp_path: Path) -> None:
    new_vault(tmp_path)
    before = everything_in(tmp_path)
    with pytest.raises(WrongPassphrase):
        directory_of(tmp_path).unlock(OTHER)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("name", ["header", "header.copy"])
def test_one_header_is_enough_and_the_other_is_put_aside_told_and_made_whole(
    tmp_path: Path, name: str
) -> None:
    new_vault(tmp_path).write("guards.json", b"guards")
    directory = directory_of(tmp_path)
    header, path = directory.header(), directory_of(tmp_path).path / name
    for damage in (flip, Path.unlink):
        damage(path)
        damaged = path.read_bytes() if path.exists() else None
        assert len(directory.damaged_headers()) == 1
        told: list[str] = []
        assert directory.unlock(PASSPHRASE, told.append).read("guards.json") == b"guards"
        assert path.read_bytes() == header
        assert directory.damaged_headers() == ()
        (sentence,) = told
        if damaged is None:
            assert sentence.endswith(f"header is gone (file {name}); it was made anew of the other")
        else:
            assert path.with_name(f"{name}.damaged").read_bytes() == damaged
            assert f"is damaged (file {name}), and is put aside as {name}.damaged" in sentence
        directory.unlock(PASSPHRASE, told.append)
        assert len(told) == 1, "once"


def test_damaged_headers_are_put_aside_for_ever_up_to_a_bound(tmp_path: Path) -> None:
    directory, told = directory_of(tmp_path), list[str]()
    new_vault(tmp_path)
    for number in range(MOST_ASIDE):
        (directory.path / f"header.damaged{number or ''}").write_bytes(b"damaged")
    flip(directory.path / "header")
    damaged = (directory.path / "header").read_bytes()
    directory.unlock(PASSPHRASE, told.append)
    assert (directory.path / "header").read_bytes() == damaged, "rather than lose it"
    assert told == [
        "a copy of the vault's header cannot be made whole: the vault is damaged again and again; look at its disk"
    ]


def test_a_header_that_was_put_aside_goes_with_the_passphrase_that_opened_it(tmp_path: Path) -> None:
    files, directory = new_vault(tmp_path), directory_of(tmp_path)
    flip(directory.path / "header.copy")
    files = directory.unlock(PASSPHRASE)
    assert directory.put_aside() == ("header.copy.damaged",)
    with (directory.path / "header.copy.damaged").open("rb") as block:
        directory.change_passphrase(files, OTHER)
        assert set(block.read()) == {0}
    assert directory.put_aside() == ()


def test_without_any_header_it_says_so_and_nothing_new_is_made(tmp_path: Path) -> None:
    new_vault(tmp_path).write("guards.json", b"guards")
    directory = directory_of(tmp_path)
    for name in ("header", "header.copy"):
        flip(directory.path / name)
    before = everything_in(tmp_path)
    assert directory.exists
    with pytest.raises(ConfigurationError, match="the vault's header is damaged, both copies"):
        directory.unlock(PASSPHRASE)
    with pytest.raises(ConfigurationError, match="somebody else made the vault just now"):
        directory.create(PASSPHRASE)
    assert everything_in(tmp_path) == before


def test_a_changed_passphrase_opens_what_was_kept_and_the_old_header_is_overwritten(tmp_path: Path) -> None:
    files = new_vault(tmp_path)
    files.write("guards.json", b"guards")
    directory = directory_of(tmp_path)
    old = directory.header()
    with (
        (directory.path / "header").open("rb") as before,
        (directory.path / "header.copy").open("rb") as copy,
    ):
        directory.change_passphrase(files, OTHER)
        assert before.read() == copy.read() == bytes(len(old)), "whoever has the blocks has zeros"
    assert directory.unlock(OTHER).read("guards.json") == b"guards"
    with pytest.raises(WrongPassphrase):
        directory.unlock(PASSPHRASE)
    assert old not in everything_in(tmp_path)
    assert unlock(old, PASSPHRASE).key == files.vault.key, (
        "an old copy opens by the old passphrase, as docs say"
    )


def test_a_crash_in_a_change_leaves_one_that_opens_and_the_next_unlocking_ends_it(tmp_path: Path) -> None:
    files = new_vault(tmp_path)
    directory = directory_of(tmp_path)
    old = directory.header()
    directory.change_passphrase(files, OTHER)
    (directory.path / "header.copy").write_bytes(old)
    told: list[str] = []
    directory.unlock(OTHER, told.append)
    assert told == [
        "a copy of the vault's header was of another passphrase (file header.copy), and was destroyed"
    ]
    assert directory.put_aside() == ()
    assert (directory.path / "header.copy").read_bytes() == directory.header() != old


@pytest.mark.parametrize(
    "what", ["the header", "its copy", "a link elsewhere", "a directory", "the one of before"]
)
def test_what_lies_there_under_the_name_of_a_former_header_harms_none(tmp_path: Path, what: str) -> None:
    """Somebody was stopped at any moment, or a disk joins files of one content, or people do as they like."""
    files = new_vault(tmp_path / "state")
    directory = directory_of(tmp_path / "state")
    former, elsewhere = directory.path / "header.former", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"elsewhere")
    match what:
        case "the header":
            os.link(directory.path / "header", former)
        case "its copy":
            os.link(directory.path / "header.copy", former)
        case "a link elsewhere":
            former.symlink_to(elsewhere)
        case "a directory":
            former.mkdir()
        case _:
            former.write_bytes(directory.header())
    header = directory.header()
    told: list[str] = []
    directory.unlock(PASSPHRASE, told.append)
    assert not told
    assert {(directory.path / name).read_bytes() for name in HEADERS} == {header}
    assert former.exists() is (what == "a directory")
    directory.change_passphrase(files, OTHER)
    directory.unlock(OTHER)
    assert elsewhere.read_bytes() == b"elsewhere"


@pytest.mark.parametrize("refusal", ["no second names", "names of one file that say they are of two"])
def test_a_file_system_with_other_ideas_of_second_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    files = new_vault(tmp_path)
    directory = directory_of(tmp_path)
    old = [(directory.path / name).open("rb") for name in HEADERS]

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        if refusal == "no second names":
            patch.setattr(os, "link", refuse)
        else:
            patch.setattr(Path, "samefile", lambda self, other: False)
        directory.change_passphrase(files, OTHER)
    directory.unlock(OTHER)
    for header in old:
        with header:
            assert set(header.read()) == {0}
    assert {path.name for path in directory.path.glob("header*")} == set(HEADERS)


def test_a_header_that_is_read_only_is_overwritten_too(tmp_path: Path) -> None:
    files = new_vault(tmp_path)
    path = directory_of(tmp_path).path / "header"
    with path.open("rb") as old:
        path.chmod(0o400)
        directory_of(tmp_path).change_passphrase(files, OTHER)
        assert set(old.read()) == {0}


def test_a_passphrase_that_is_chosen_while_somebody_unlocks_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlocking takes a second, and then mends headers: not those of the new passphrase."""
    files = new_vault(tmp_path)
    directory = directory_of(tmp_path)

    def slow(header: bytes, passphrase: bytearray) -> Vault:
        directory_of(tmp_path).change_passphrase(files, OTHER)
        return unlock(header, passphrase)

    monkeypatch.setattr("relay.agent.vault_directory.unlock", slow)
    directory.unlock(PASSPHRASE)
    monkeypatch.undo()
    directory.unlock(OTHER)
    with pytest.raises(WrongPassphrase):
        directory.unlock(PASSPHRASE)


def test_a_full_disk_makes_no_half_of_a_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NotKept):
            new_vault(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not directory_of(tmp_path).exists


def test_what_a_killed_process_left_of_one_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "vault.new").mkdir()
    (tmp_path / "vault.new" / "header").write_bytes(b"half")
    new_vault(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]


def test_of_two_first_starts_the_second_waits_and_is_told(tmp_path: Path) -> None:
    making, may_end = threading.Event(), threading.Event()

    def things() -> Iterator[tuple[str, bytes]]:
        making.set()
        assert may_end.wait(20.0)
        yield "identity.key", b"one"

    with ThreadPoolExecutor() as threads:
        first = threads.submit(directory_of(tmp_path).create, PASSPHRASE, things())
        assert making.wait(20.0)
        second = threads.submit(directory_of(tmp_path).create, OTHER, [("identity.key", b"other")])
        done, _ = wait([second], timeout=0.3)
        may_end.set()
        assert not done
        first.result(20.0)
        with pytest.raises(ConfigurationError, match="somebody else made the vault just now; try again"):
            second.result(20.0)
    assert directory_of(tmp_path).unlock(PASSPHRASE).read("identity.key") == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]


def test_two_first_starts_of_processes_make_one_vault(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.agent.vaults import new_vault\n"
        "new_vault(Path(sys.argv[1])).write('identity.key', sys.argv[2].encode())"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name], stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "other")
    ]
    said = [child.communicate()[1] for child in children]
    (refused,) = [text for text in said if text]
    assert "somebody else made the vault just now" in refused
    assert directory_of(tmp_path).unlock(PASSPHRASE).read("identity.key") in (b"one", b"other")
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]
