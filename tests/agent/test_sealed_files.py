"""Things in a vault: sealed at every moment, damage named and never overwritten, whole parts open beside it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.agent.kept import NAMES, Damaged, NotKept
from relay.agent.put_aside import ASIDE
from relay.agent.sealed_files import ROLL, SealedFiles
from relay.core import MisuseError
from tests.agent.vaults import ENTROPY, PASSPHRASE, directory_of, everything_in, flip, new_vault

SECRET = b"nobody must read this on a disk"


@pytest.fixture
def kept(tmp_path: Path) -> SealedFiles:
    return new_vault(tmp_path)


def again(kept: SealedFiles) -> SealedFiles:
    """As another process finds it."""
    return directory_of(kept.path.parent).unlock(PASSPHRASE)


def file_of(kept: SealedFiles, name: str) -> Path:
    return kept.path / kept.vault.file_name(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.dictionaries(st.sampled_from(sorted(NAMES)), st.binary(max_size=5000), max_size=4))
def test_what_is_kept_is_there_for_the_next_process(kept: SealedFiles, things: dict[str, bytes]) -> None:
    for name in kept.names():
        kept.remove(name)
    for name, content in things.items():
        kept.write(name, content)
    other = again(kept)
    assert other.names() == tuple(sorted(things))
    assert {name: other.read(name) for name in NAMES} == {name: things.get(name) for name in NAMES}


def test_nothing_on_the_disk_says_what_it_is(kept: SealedFiles) -> None:
    for name in NAMES:
        kept.write(name, SECRET)
    with kept.locked("contacts"):
        found = everything_in(kept.path)
    assert SECRET not in found
    assert not [name for name in NAMES if name.encode() in found or name.partition(".")[0].encode() in found]
    modes = {path.stat().st_mode & 0o777 for path in kept.path.iterdir() if path.suffix != ".lock"}
    assert modes == {0o600}
    assert {path.stat().st_size for path in kept.path.iterdir()} <= {
        0,
        4096 + 28,
        len(directory_of(kept.path.parent).header()),
    }


def test_in_plain_files_the_same_search_finds_it(tmp_path: Path) -> None:
    (tmp_path / "contacts.json").write_bytes(SECRET)
    assert SECRET in everything_in(tmp_path)


def test_every_write_is_noticed_by_the_other_process(kept: SealedFiles) -> None:
    other = again(kept)
    assert other.stamp("replays") is None
    stamps = []
    for number in range(3):
        kept.write("replays", bytes([number]))
        stamps.append(other.stamp("replays"))
        assert other.read("replays") == bytes([number])
    assert len(set(stamps)) == 3


@pytest.mark.parametrize("position", [0, 11, 12, 40, 4000, -1])
def test_a_damaged_part_is_named_others_open_and_it_is_never_overwritten(
    kept: SealedFiles, position: int
) -> None:
    kept.write("guards.json", b"guards")
    kept.write("contacts.json", b"contacts")
    path = file_of(kept, "contacts.json")
    flip(path, position)
    damaged = path.read_bytes()
    for reader in (kept, again(kept)):
        with pytest.raises(
            Damaged, match=f"the part 'contacts.json' of the vault is damaged \\(file {path.name}\\)"
        ):
            reader.read("contacts.json")
        assert reader.read("guards.json") == b"guards"
        assert len(reader.damaged()) == 1
    assert path.read_bytes() == damaged
    told: list[str] = []
    kept.tell = told.append
    kept.write("contacts.json", b"new")
    assert kept.read("contacts.json") == b"new"
    assert path.with_name(path.name + ASIDE).read_bytes() == damaged
    assert told == [
        f"what was damaged of the part 'contacts.json' of the vault is put aside as {path.name}{ASIDE}"
    ]
    flip(path)
    kept.write("contacts.json", b"newer")
    assert len(list(kept.path.glob(f"*{ASIDE}*"))) == 2
    assert kept.damaged() == ()


def test_a_part_that_is_gone_is_told_from_one_that_never_was(kept: SealedFiles) -> None:
    kept.write("identity.key", b"seed")
    file_of(kept, "identity.key").unlink()
    assert kept.read("guards.json") is None
    with pytest.raises(Damaged, match=r"the part 'identity.key' of the vault is gone"):
        again(kept).read("identity.key")
    kept.remove("identity.key")
    assert kept.read("identity.key") is None


def test_a_part_in_the_place_of_another_is_damage(kept: SealedFiles) -> None:
    kept.write("guards.json", b"guards")
    kept.write("contacts.json", b"contacts")
    file_of(kept, "guards.json").write_bytes(file_of(kept, "contacts.json").read_bytes())
    with pytest.raises(Damaged, match=r"'guards.json'"):
        kept.read("guards.json")


@pytest.mark.parametrize("name", [ROLL, f"{ROLL}.copy"])
def test_a_damaged_copy_of_the_list_is_put_aside_and_told_before_another_takes_its_place(
    kept: SealedFiles, name: str
) -> None:
    told: list[str] = []
    kept.tell = told.append
    kept.write("guards.json", b"guards")
    assert told == []
    path = file_of(kept, name)
    flip(path)
    damaged = path.read_bytes()
    (sentence,) = kept.damaged()
    assert sentence == (
        f"a copy of the list of the vault's parts is damaged or gone (file {path.name}), the other is whole"
    )
    assert path.read_bytes() == damaged
    for number in range(3):
        kept.write("guards.json", bytes([number]))
    assert told == [f"{sentence}; it is put aside as {path.name}{ASIDE}"]
    assert path.with_name(f"{path.name}{ASIDE}").read_bytes() == damaged
    assert (kept.damaged(), kept.read("guards.json")) == ((), b"\2")
    path.unlink()
    assert kept.damaged() == (sentence,)
    kept.tidy()
    assert told[1:] == [f"{sentence}; it is made anew"]
    assert kept.damaged() == ()


def test_the_list_of_parts_is_there_twice_and_without_it_whole_parts_open_still(kept: SealedFiles) -> None:
    kept.write("guards.json", b"guards")
    flip(file_of(kept, ROLL))
    assert kept.names() == ("guards.json",)
    flip(file_of(kept, f"{ROLL}.copy"))
    before = file_of(kept, ROLL).read_bytes()
    assert kept.read("guards.json") == b"guards"
    with pytest.raises(Damaged, match=r"nobody knows whether there was a part 'contacts.json'"):
        kept.read("contacts.json")
    with pytest.raises(Damaged, match="the list of the vault's parts is damaged"):
        kept.names()
    assert len(kept.damaged()) == 1
    kept.write("contacts.json", b"contacts")
    assert kept.read("contacts.json") == b"contacts"
    assert file_of(kept, ROLL).read_bytes() == before


def test_a_full_disk_loses_nothing(kept: SealedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write("guards.json", b"guards")

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NotKept, match="No space left on device"):
            kept.write("guards.json", b"others")
        with pytest.raises(NotKept):
            kept.write("contacts.json", b"contacts")
    assert again(kept).read("guards.json") == b"guards"
    assert kept.names() == ("guards.json",)
    assert kept.damaged() == ()


def test_once_the_key_is_wiped_nothing_is_read_or_written(kept: SealedFiles) -> None:
    kept.write("guards.json", b"guards")
    before = everything_in(kept.path)
    kept.vault.wipe()
    with pytest.raises(MisuseError, match="the vault is locked"):
        kept.read("guards.json")
    with pytest.raises(MisuseError, match="the vault is locked"):
        kept.write("guards.json", b"others")
    assert everything_in(kept.path) == before


def test_where_no_lock_can_be_had_damage_is_named_still(
    kept: SealedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write("contacts.json", b"contacts")
    flip(file_of(kept, "contacts.json"))

    def read_only(_: Path) -> None:
        raise NotKept("the state directory cannot be written (Read-only file system)")

    monkeypatch.setattr("relay.agent.sealed_files.file_lock", read_only)
    with pytest.raises(Damaged, match=r"'contacts.json' of the vault is damaged"):
        kept.read("contacts.json")
    assert len(kept.damaged()) == 1


_WRITER = """
import sys
from pathlib import Path
from relay.agent.vault_directory import VaultDirectory
from relay.core import SystemEntropy
kept = VaultDirectory(Path(sys.argv[1]), SystemEntropy()).unlock(bytearray(sys.argv[2].encode()))
print("writing", flush=True)
number = 0
while True:
    number += 1
    for name in sys.argv[3:]:
        with kept.locked("counting"):
            before = int((kept.read(name) or b"0").split()[0])
            kept.write(name, b"%d " % (before + 1) + b"nobody must read this on a disk" * 100)
        if number % 7 == 0:
            kept.remove("prekey.3")
        kept.write("prekey.3", b"x")
    print(number, flush=True)
"""


def writer(place: Path, *names: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", _WRITER, str(place), PASSPHRASE.decode(), *names]
    made = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "writing\n"
    return made


def wait_for_rounds(child: "subprocess.Popen[str]", count: int) -> None:
    assert child.stdout is not None
    for _ in range(count):
        assert child.stdout.readline()


def test_a_process_killed_as_it_writes_leaves_a_whole_vault_and_no_plaintext(kept: SealedFiles) -> None:
    last = 0
    for round_ in range(3):
        child = writer(kept.path.parent, "replays", "contacts.json")
        wait_for_rounds(child, 3 + round_)
        child.send_signal(signal.SIGKILL)
        child.wait()
        found = everything_in(kept.path)
        assert b"nobody must read" not in found
        other = again(kept)
        assert other.damaged() == ()
        number = int((other.read("replays") or b"0").split()[0])
        assert number >= last
        last = number
    assert last > 3


def test_two_processes_at_once_lose_nothing_of_one_another(kept: SealedFiles) -> None:
    children = [writer(kept.path.parent, "replays") for _ in range(2)]
    for child in children:
        wait_for_rounds(child, 20)
    for child in children:
        child.send_signal(signal.SIGTERM)
        child.wait()
    assert again(kept).damaged() == ()
    assert set(kept.names()) - {"prekey.3"} == {"replays"}
    for number in range(5):
        kept.write("contacts.json", bytes([number]))
        assert SealedFiles(kept.path, kept.vault, ENTROPY).read("contacts.json") == bytes([number])


# -- what somebody puts back ---------------------------------------------------------------------------------------


def test_an_old_part_put_back_is_named_and_put_aside(kept: SealedFiles) -> None:
    kept.write("contacts.json", b"mallory is a contact")
    path = file_of(kept, "contacts.json")
    old = path.read_bytes()
    kept.write("contacts.json", b"mallory was removed")
    kept.write("guards.json", b"guards")
    path.write_bytes(old)
    for reader in (kept, again(kept)):
        with pytest.raises(Damaged, match=r"'contacts.json' of the vault is an older one than was kept last"):
            reader.read("contacts.json")
        assert len(reader.damaged()) == 1
        assert reader.read("guards.json") == b"guards"
    kept.write("contacts.json", b"new")
    assert kept.read("contacts.json") == b"new"
    assert path.with_name(path.name + ASIDE).read_bytes() == old
    kept.remove("contacts.json")
    path.write_bytes(old)
    assert kept.read("contacts.json") is None
    assert kept.names() == ("guards.json",)


def test_an_old_list_put_back_with_its_part_betrays_itself_by_the_others(kept: SealedFiles) -> None:
    lists = {file_of(kept, name): file_of(kept, name).read_bytes() for name in (ROLL, f"{ROLL}.copy")}
    for name in ("contacts.json", "zids"):
        kept.write(name, b"before")
    old = {path: path.read_bytes() for path in kept.path.iterdir() if path.suffix != ".lock"}
    for _ in range(2):
        for name in ("contacts.json", "zids"):
            kept.write(name, b"after")
    for path in (file_of(kept, "contacts.json"), file_of(kept, ROLL), file_of(kept, f"{ROLL}.copy")):
        path.write_bytes(old[path])
    with pytest.raises(Damaged, match=r"'zids' of the vault is a newer one than the list of parts knows of"):
        kept.read("zids")
    for path in kept.path.iterdir():
        if path in lists:
            path.write_bytes(lists[path])
    with pytest.raises(Damaged, match=r"'zids' of the vault is a newer one than the list of parts knows of"):
        again(kept).read("zids")
    assert len(again(kept).damaged()) == 1
    for path, content in old.items():
        path.write_bytes(content)
    assert (kept.damaged(), kept.read("zids")) == ((), b"before"), "everything at once is not found out"


def test_what_an_old_list_takes_for_removed_is_named_and_stays(kept: SealedFiles) -> None:
    kept.write("contacts.json", b"contacts")
    kept.remove("contacts.json")
    old = {file_of(kept, name): file_of(kept, name).read_bytes() for name in (ROLL, f"{ROLL}.copy")}
    for _ in range(2):
        kept.write("contacts.json", b"newer")
    newer = file_of(kept, "contacts.json").read_bytes()
    for path, content in old.items():
        path.write_bytes(content)
    with pytest.raises(
        Damaged, match=r"'contacts.json' of the vault is a newer one than the list of parts knows of"
    ):
        again(kept).read("contacts.json")
    assert file_of(kept, "contacts.json").read_bytes() == newer


# -- whoever is killed ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As SIGKILL: nothing that catches errors catches it."""


class KilledAt:
    """At the n-th thing that is done to the disk."""

    def __init__(self, patch: pytest.MonkeyPatch, moment: int) -> None:
        self.left = moment
        for name in ("open", "fsync", "rename", "unlink"):
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, done: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return done(*arguments, **named)

        return counted


@pytest.mark.parametrize("what", ["write the first time", "write again", "remove", "write what was removed"])
def test_killed_at_any_moment_it_leaves_the_old_or_the_new(kept: SealedFiles, what: str) -> None:
    old: bytes | None = None if "first" in what or "removed" in what else b"old"
    new: bytes | None = None if what == "remove" else b"new"
    seen = set[bytes | None]()
    for moment in range(1, 100):
        kept.write("guards.json", b"guards")
        kept.write("contacts.json", b"old")
        if old is None:
            kept.remove("contacts.json")
        with pytest.MonkeyPatch.context() as patch:
            killing = KilledAt(patch, moment)
            try:
                if new is None:
                    kept.remove("contacts.json")
                else:
                    kept.write("contacts.json", new)
            except Killed:
                pass
        found = again(kept)
        assert found.damaged() == ()
        content = found.read("contacts.json")
        assert content in (old, new)
        assert found.names() == (("guards.json",) if content is None else ("contacts.json", "guards.json"))
        assert file_of(kept, "contacts.json").exists() or content is None
        if what == "remove":
            assert file_of(kept, "contacts.json").exists() is (content is not None), "and nothing stays of it"
        seen.add(content)
        # Whoever comes next can do everything.
        found.write("contacts.json", b"next")
        assert found.read("contacts.json") == b"next"
        assert found.damaged() == ()
        assert not list(kept.path.glob(f"*{ASIDE}*"))
        if killing.left > 0:
            break
    assert moment >= 3
    assert seen == {old, new}


def nothing(_: SealedFiles) -> None:
    pass


def remove_contacts(kept: SealedFiles) -> None:
    kept.remove("contacts.json")


@pytest.mark.parametrize("meanwhile", [nothing, remove_contacts, SealedFiles.tidy])
@pytest.mark.parametrize("was_there", [False, True])
def test_what_a_killed_process_wrote_cannot_be_put_back_either(
    kept: SealedFiles, was_there: bool, meanwhile: Callable[[SealedFiles], None]
) -> None:
    path, seen = file_of(kept, "contacts.json"), 0
    for moment in range(1, 100):
        if was_there:
            kept.write("contacts.json", b"before")
        else:
            kept.remove("contacts.json")
        with pytest.MonkeyPatch.context() as patch:
            killing = KilledAt(patch, moment)
            with suppress(Killed):
                kept.write("contacts.json", b"mallory is a contact")
        written = path.read_bytes() if path.exists() else None
        meanwhile(kept)
        kept.write("contacts.json", b"mallory was removed")
        if written is not None:
            seen += 1
            last = path.read_bytes()
            path.write_bytes(written)
            with pytest.raises(Damaged, match="is an older one than was kept last"):
                again(kept).read("contacts.json")
            path.write_bytes(last)
        assert kept.damaged() == ()
        if killing.left > 0:
            break
    assert seen > 1


def test_killed_as_it_replaces_what_is_damaged_nothing_of_that_is_lost(kept: SealedFiles) -> None:
    path = file_of(kept, "contacts.json")
    for moment in range(1, 100):
        kept.write("contacts.json", b"%d" % moment)
        flip(path)
        damaged = path.read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            killing = KilledAt(patch, moment)
            with suppress(Killed):
                kept.write("contacts.json", b"new")
        found = again(kept)
        with suppress(Damaged):
            assert found.read("contacts.json") == b"new"
        assert damaged in [one.read_bytes() for one in kept.path.glob(f"{path.name}*")]
        found.write("contacts.json", b"next")
        assert found.read("contacts.json") == b"next"
        assert found.damaged() == ()
        if killing.left > 0:
            break
    assert moment > 3
