"""A vault as a whole: state in the clear moves in, and an export moves to another machine."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from relay.agent.credentials import own_identity
from relay.agent.kept import NAMES, PlainFiles
from relay.agent.prekeys import PREKEY_LIFE, PrekeyRing
from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_destroying import plain_files
from relay.agent.vault_moving import (
    Import,
    _Export,
    clear_up,
    export,
    move_in,
)
from relay.core import ConfigurationError, MisuseError, SeededEntropy
from relay.identity.vault import WrongPassphrase
from relay.wire import decode, encode
from tests.agent.vaults import ENTROPY, PASSPHRASE, directory_of, everything_in, flip, new_vault

SECRET = b"nobody must read this on a disk"
KILLED = 9
NOW = 1_800_000_000.0


def in_the_clear(place: Path) -> PlainFiles:
    plain = PlainFiles(place)
    for name in NAMES - {"identity.key"}:
        plain.write(name, SECRET + name.encode())
    own_identity(plain, SeededEntropy(1))
    return plain


# -- into a vault ------------------------------------------------------------------------------------------------


def test_what_lay_in_the_clear_is_in_the_vault_and_nowhere_else(tmp_path: Path) -> None:
    plain = in_the_clear(tmp_path)
    seed = own_identity(plain, SeededEntropy(2)).seed
    (tmp_path / "listings.db-wal").write_bytes(SECRET)
    (tmp_path / "notes.txt").write_text("not the agent's")
    assert SECRET in everything_in(tmp_path)
    assert seed in everything_in(tmp_path)
    with (tmp_path / "identity.key").open("rb") as block:
        files = move_in(tmp_path, directory_of(tmp_path), bytearray(PASSPHRASE))
        assert block.read() == bytes(len(seed)), "overwritten before it was removed"
    found = everything_in(tmp_path)
    assert SECRET not in found
    assert seed not in found
    assert files.names() == tuple(sorted(NAMES))
    assert own_identity(files, SeededEntropy(3)).seed == seed
    assert files.read("contacts.json") == SECRET + b"contacts.json"
    assert (tmp_path / "notes.txt").exists()


def test_where_there_was_nothing_a_vault_is_made_that_is_empty(tmp_path: Path) -> None:
    assert move_in(tmp_path / "new", directory_of(tmp_path / "new"), bytearray(PASSPHRASE)).names() == ()


def test_a_move_that_was_broken_off_is_ended_and_what_differs_is_nobodys_to_destroy(tmp_path: Path) -> None:
    plain = in_the_clear(tmp_path)
    files = move_in(tmp_path, directory_of(tmp_path), bytearray(PASSPHRASE))
    content = files.read("guards.json")
    assert content is not None
    plain.write("guards.json", content)
    clear_up(tmp_path, files)
    assert plain_files(tmp_path) == []
    # Overwritten in part by somebody who was killed then.
    plain.write("guards.json", bytes(4096) + SECRET)
    files.write("guards.json", SECRET * 200)
    with pytest.raises(ConfigurationError, match=r"guards.json lies in the clear beside the vault"):
        clear_up(tmp_path, files)
    plain.write("guards.json", bytes(4096) + (SECRET * 200)[4096:])
    clear_up(tmp_path, files)
    assert plain_files(tmp_path) == []
    content = SECRET * 200
    plain.write("guards.json", b"others")
    with pytest.raises(ConfigurationError, match=r"guards.json lies in the clear beside the vault"):
        clear_up(tmp_path, files)
    assert plain.read("guards.json") == b"others"
    assert files.read("guards.json") == content


def killed_at(moment: int, place: Path) -> bool:
    """Whether a process that moves in was killed before the end, at the n-th thing that it does to the disk."""
    child = os.fork()
    if child == 0:
        left = moment

        def counted(done: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(KILLED)
                return done(*arguments, **named)

            return call

        for name in ("open", "write", "fsync", "mkdir", "rename", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        try:
            move_in(place, directory_of(place), bytearray(PASSPHRASE))
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def test_killed_at_any_moment_of_a_move_nothing_is_lost_and_the_next_start_ends_it(tmp_path: Path) -> None:
    large = SECRET * 100_000  # It takes several steps to overwrite.
    for moment in range(1, 1000):
        place = tmp_path / str(moment)
        plain = PlainFiles(place)
        plain.write("listings.db", large)
        plain.write("contacts.json", SECRET)
        killed, directory = killed_at(moment, place), directory_of(place)
        if directory.exists:
            files = directory.unlock(PASSPHRASE)
            clear_up(place, files)
        else:
            files = move_in(place, directory, bytearray(PASSPHRASE))
        assert (files.read("listings.db"), files.read("contacts.json")) == (large, SECRET)
        assert files.damaged() == ()
        assert [path.name for path in place.iterdir()] == ["vault"]
        shutil.rmtree(place)
        if not killed:
            break
    assert moment > 30


# -- to another machine ------------------------------------------------------------------------------------------


def full_vault(place: Path) -> SealedFiles:
    files = new_vault(place)
    for name in ("contacts.json", "guards.json", "identity.key", "listings.db"):
        files.write(name, SECRET + name.encode())
    return files


def test_an_export_is_the_same_vault_on_another_machine(tmp_path: Path) -> None:
    files = full_vault(tmp_path / "old")
    data, damaged = export(directory_of(tmp_path / "old"), files, ENTROPY)
    assert damaged == ()
    assert SECRET not in data
    read = Import(data)
    with pytest.raises(WrongPassphrase):
        read.unlock(bytearray(b"another one"))
    new = directory_of(tmp_path / "new")
    assert read.place(tmp_path / "new", new, read.unlock(PASSPHRASE)) == ()
    opened = new.unlock(PASSPHRASE)
    assert opened.names() == ("contacts.json", "guards.json", "identity.key"), "listings are fetched again"
    assert all(opened.read(name) == files.read(name) for name in opened.names())


def test_no_export_has_a_prekey_however_long_somebody_keeps_it(tmp_path: Path) -> None:
    """Else whoever has it, and its passphrase, opened rings that were recorded years ago."""
    files = full_vault(tmp_path / "old")
    keys = PrekeyRing(files, ENTROPY)
    published = keys.current(NOW)
    keys.current(NOW + PREKEY_LIFE)
    assert {"prekey.0", "prekey.1"} <= set(files.names())
    data, damaged = export(directory_of(tmp_path / "old"), files, ENTROPY)
    assert damaged == ()
    read = Import(data)
    vault = read.unlock(PASSPHRASE)
    names = msgspec.json.decode(vault.open("names in an export", decode(data, _Export, limit=1 << 20).roll))
    assert names == ["contacts.json", "guards.json", "identity.key"]
    new = directory_of(tmp_path / "new")
    read.place(tmp_path / "new", new, vault)
    moved = PrekeyRing(new.unlock(PASSPHRASE), ENTROPY)
    assert moved.usable(NOW + PREKEY_LIFE) == []
    assert moved.current(NOW + PREKEY_LIFE).public != published.public, "the new machine publishes its own"


def test_a_prekey_in_an_earlier_versions_export_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = full_vault(tmp_path / "old")
    PrekeyRing(files, ENTROPY).current(NOW)
    with monkeypatch.context() as patch:
        patch.setattr("relay.agent.vault_moving._STAYS_HERE", frozenset())
        data, _ = export(directory_of(tmp_path / "old"), files, ENTROPY)
    read = Import(data)
    new = directory_of(tmp_path / "new")
    assert read.place(tmp_path / "new", new, read.unlock(PASSPHRASE)) == ()
    assert new.unlock(PASSPHRASE).names() == ("contacts.json", "guards.json", "identity.key")


def test_what_is_damaged_is_left_out_by_name_and_the_rest_moves(tmp_path: Path) -> None:
    files = full_vault(tmp_path / "old")
    flip(files.path / files.vault.file_name("guards.json"))
    data, damaged = export(directory_of(tmp_path / "old"), files, ENTROPY)
    assert damaged == ("guards.json",)
    whole = decode(data, _Export, limit=1 << 20)
    parts = list(whole.parts)
    parts[0] = parts[0][:-1] + bytes([parts[0][-1] ^ 1])
    hurt = Import(encode(msgspec.structs.replace(whole, parts=tuple(parts))))
    place = tmp_path / "new"
    assert hurt.place(place, directory_of(place), hurt.unlock(PASSPHRASE)) == ("contacts.json",)
    assert directory_of(place).unlock(PASSPHRASE).names() == ("identity.key",)
    parts[1] = parts[0]
    nobody = Import(encode(msgspec.structs.replace(whole, parts=tuple(parts))))
    with pytest.raises(ConfigurationError, match=r"'identity.key' of that export is damaged"):
        nobody.place(tmp_path / "x", directory_of(tmp_path / "x"), nobody.unlock(PASSPHRASE))
    assert not (tmp_path / "x").exists()


def test_what_is_no_export_is_one_sentence(tmp_path: Path) -> None:
    files = full_vault(tmp_path / "old")
    data, _ = export(directory_of(tmp_path / "old"), files, ENTROPY)
    whole = decode(data, _Export, limit=1 << 20)
    for bad in (
        b"",
        b"x",
        data[:-1],
        data + b"x",
        encode(msgspec.structs.replace(whole, version=2)),
        bytes(100),
    ):
        with pytest.raises(ConfigurationError, match="that file is no export of a vault"):
            Import(bad)
    for changes in ({"header": b"x"}, {"roll": whole.roll[:-1]}, {"parts": whole.parts[1:]}):
        hurt = Import(encode(msgspec.structs.replace(whole, **changes)))
        place = tmp_path / "new"
        with pytest.raises(ConfigurationError, match="that file is no export of a vault"):
            hurt.place(place, directory_of(place), hurt.unlock(PASSPHRASE))
        assert not place.exists()


def test_nothing_is_imported_over_somebody(tmp_path: Path) -> None:
    files = full_vault(tmp_path / "old")
    data, _ = export(directory_of(tmp_path / "old"), files, ENTROPY)
    in_the_clear(tmp_path / "plain")
    for place in (tmp_path / "old", tmp_path / "plain"):
        before = everything_in(place)
        read = Import(data)
        with pytest.raises(MisuseError, match="there is an agent's state already"):
            read.place(place, directory_of(place), read.unlock(PASSPHRASE))
        assert everything_in(place) == before


def test_who_was_killed_as_it_destroyed_what_lay_in_the_clear_goes_on(tmp_path: Path) -> None:
    in_the_clear(tmp_path)
    clear = tmp_path / "contacts.json"
    size = clear.stat().st_size
    files = move_in(tmp_path, directory_of(tmp_path), PASSPHRASE)
    clear.write_bytes(bytes(size))
    clear_up(tmp_path, files)
    assert not clear.exists()
    clear.write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match="something else"):
        clear_up(tmp_path, files)
