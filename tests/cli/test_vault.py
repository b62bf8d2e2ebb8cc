"""`bayonne vault`, and what every command does with a passphrase: given by a descriptor, asked for, or not at all."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from relay.agent import PlainFiles
from relay.agent.credentials import own_identity
from relay.agent.sealed_files import ROLL, SealedFiles
from relay.agent.vault_directory import VaultDirectory
from relay.cli import contact, vault
from relay.cli.passphrases import CREDENTIAL, Passphrases
from relay.core import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    RefusedByPolicy,
    SeededEntropy,
    SystemEntropy,
)
from relay.identity.vault import WrongPassphrase
from tests.agent.vaults import CHEAP, everything_in, flip
from tests.cli.test_contact import configuration

PASSPHRASE = "correct horse battery staple"
OTHER = "another good passphrase"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VaultDirectory.__init__, "__defaults__", (CHEAP,))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    # Not whoever runs the tests.
    monkeypatch.setattr("relay.cli.passphrases._has_terminal", lambda: False)


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    path = configuration(tmp_path, "alice")
    path.write_text(path.read_text().replace("sealed = false", "sealed = true"))
    return path


def descriptor(*lines: str) -> int:
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{line}\n" for line in lines).encode())
    os.close(writing)
    return reading


def call(
    group: click.Group, path: Path, *arguments: str, typed: tuple[str, ...] = (), stdin: str = ""
) -> Result:
    given = ["--passphrase-fd", str(descriptor(*typed))] if typed else []
    return CliRunner().invoke(group, [*arguments, *given, "--config", str(path)], input=stdin)


def run(group: click.Group, path: Path, *arguments: str, typed: tuple[str, ...] = ()) -> str:
    result = call(group, path, *arguments, typed=typed)
    assert result.exception is None, result.exception
    return result.stdout


def refused(path: Path, *arguments: str, typed: tuple[str, ...] = (), stdin: str = "") -> BayonneError:
    error = call(vault.command, path, *arguments, typed=typed, stdin=stdin).exception
    assert isinstance(error, BayonneError), error
    assert "\n" not in str(error)
    return error


def invited(path: Path, name: str = "bob-at-the-harbour", typed: str = PASSPHRASE) -> None:
    run(contact.command, path, "invite", name, typed=(typed,))


def state_of(path: Path) -> Path:
    return path.with_suffix("")


def sealed(path: Path, passphrase: str = PASSPHRASE) -> SealedFiles:
    return VaultDirectory(state_of(path), SystemEntropy()).unlock(bytearray(passphrase.encode()))


def test_the_first_command_makes_the_vault_and_the_next_one_opens_it(alice: Path) -> None:
    invited(alice)
    found = everything_in(state_of(alice))
    assert b"harbour" not in found
    assert own_identity(sealed(alice), SystemEntropy()).seed not in found
    listed = run(contact.command, alice, "invitations", "--json", typed=(PASSPHRASE,))
    assert json.loads(listed)[0]["name"] == "bob-at-the-harbour"


def test_that_there_is_no_list_of_parts_is_told_to_whoever_opens_the_vault(alice: Path) -> None:
    invited(alice)
    files = sealed(alice)
    lists = [files.path / files.vault.file_name(name) for name in (ROLL, f"{ROLL}.copy")]
    for path in lists:
        flip(path)
    result = call(contact.command, alice, "invitations", "--json", typed=(PASSPHRASE,))
    assert result.exception is None
    told = "the list of the vault's parts is damaged or gone (file {}), so that parts may be old ones; put the whole"
    assert result.stderr.count(told.format(lists[0].name)) == 1
    assert "bob-at-the-harbour" in result.stdout


@pytest.mark.parametrize("what", ["header", "header.copy", ROLL, f"{ROLL}.copy"])
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damage_to_half_of_what_is_there_twice_is_told_once_and_put_aside(
    alice: Path, what: str, damage: Callable[[Path], None]
) -> None:
    """Whoever reached one copy reached for the vault."""
    invited(alice)
    files = sealed(alice)
    path = files.path / (what if "header" in what else files.vault.file_name(what))
    damage(path)
    damaged = path.read_bytes() if path.exists() else None
    result = call(vault.command, alice, "status", "--check", "--json", typed=(PASSPHRASE,))
    assert isinstance(result.exception, ConfigurationError)
    found = json.loads(result.stdout)
    (sentence,) = found["damaged"]
    assert sentence.startswith("a copy of the ")
    assert path.name in sentence
    asides = [path.with_name(f"{path.name}.damaged")] if damaged else []
    assert found["aside"] == [aside.name for aside in asides]
    assert [aside.read_bytes() for aside in asides] == ([damaged] if damaged else [])
    said = run(vault.command, alice, "status", "--check", typed=(PASSPHRASE,))
    assert "all of them whole, and both copies of their list and of the header" in said
    assert said.count("which was damaged once") == len(asides)
    damage(path)
    told = call(contact.command, alice, "invitations", typed=(PASSPHRASE,))
    assert sentence.partition("(")[0] in told.stderr, "and to whoever opens it for something else"
    assert "bob-at-the-harbour" in told.stdout


def test_a_wrong_passphrase_is_one_sentence(alice: Path) -> None:
    invited(alice)
    before = everything_in(state_of(alice))
    error = refused(alice, "status", "--check", typed=(OTHER,))
    assert isinstance(error, WrongPassphrase)
    assert str(error) == "that is not the passphrase of this vault"
    assert everything_in(state_of(alice)) == before


def test_what_lay_in_the_clear_moves_in_and_is_told(alice: Path) -> None:
    seed = own_identity(PlainFiles(state_of(alice)), SeededEntropy(1)).seed
    result = call(contact.command, alice, "invite", "bob", typed=(PASSPHRASE,))
    assert result.stderr.startswith("1 files that lay in the clear are in the vault now")
    assert seed not in everything_in(state_of(alice))
    assert own_identity(sealed(alice), SystemEntropy()).seed == seed


def test_the_clear_is_refused_where_there_is_a_vault(alice: Path) -> None:
    invited(alice)
    alice.write_text(alice.read_text().replace("sealed = true", "sealed = false"))
    error = call(contact.command, alice, "list").exception
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith("vault.sealed: there is a vault")


def test_new_ones_have_a_least_length_and_none_is_taken_from_nowhere(
    alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed, wanted in (((), "there is no terminal"), (("short",), "at least 12 characters")):
        error = call(contact.command, alice, "invite", "bob", typed=typed).exception
        assert wanted in str(error)
    monkeypatch.setenv("BAYONNE_PASSPHRASE", PASSPHRASE)
    assert "there is no terminal" in str(call(contact.command, alice, "invite", "bob").exception)
    assert not list(state_of(alice).glob("*"))


def test_the_service_manager_hands_it_over(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited(alice)
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert "there is no terminal" in str(refused(alice, "status", "--check"))
    (tmp_path / "credentials" / CREDENTIAL).write_text(f"{PASSPHRASE}\n")
    found = json.loads(run(vault.command, alice, "status", "--check", "--json"))
    assert found["damaged"] == []
    assert f"parts   {found['parts']}, all of them whole" in run(vault.command, alice, "status", "--check")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    answers: list[str] = []
    monkeypatch.setattr("relay.cli.passphrases._has_terminal", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt, stream: answers.pop(0))
    yield answers
    assert not answers


def test_on_a_terminal_a_new_one_is_asked_for_twice(terminal: list[str]) -> None:
    terminal[:] = [PASSPHRASE, PASSPHRASE]
    assert Passphrases(None).new() == PASSPHRASE.encode()
    terminal[:] = [PASSPHRASE, OTHER]
    with pytest.raises(MisuseError, match="not the same"):
        Passphrases(None).new()
    terminal[:] = ["x"]
    assert Passphrases(None).known() == b"x"


def test_what_is_no_text_is_one_sentence() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\xff\xfe\n")
    os.close(writing)
    for number in (reading, 1 << 20):
        with pytest.raises(ConfigurationError, match="one line of UTF-8"):
            Passphrases(number).known()


def test_status_says_what_there_is(alice: Path) -> None:
    def found() -> dict[str, object]:
        return dict(json.loads(run(vault.command, alice, "status", "--json")))

    assert found() == {"agent": "not running", "disk": "nothing"}
    PlainFiles(state_of(alice)).write("replays", b"x")
    assert found()["disk"] == "files in the clear"
    invited(alice)
    assert found()["disk"] == "vault"
    assert run(vault.command, alice, "status") == "agent   not running\ndisk    vault\n"


def test_damage_is_told_by_name_and_the_rest_opens(alice: Path) -> None:
    invited(alice)
    files = sealed(alice)
    flip(files.path / files.vault.file_name("identity.key"))
    result = call(vault.command, alice, "status", "--check", typed=(PASSPHRASE,))
    assert "damaged the part 'identity.key' of the vault is damaged" in result.stdout
    assert isinstance(result.exception, ConfigurationError)
    listed = run(contact.command, alice, "invitations", "--json", typed=(PASSPHRASE,))
    assert json.loads(listed)[0]["name"] == "bob-at-the-harbour"
    error = call(contact.command, alice, "invite", "carol", typed=(PASSPHRASE,)).exception
    assert "'identity.key' of the vault is damaged" in str(error)


def test_the_passphrase_is_changed(alice: Path) -> None:
    invited(alice)
    assert isinstance(refused(alice, "passphrase", typed=(OTHER, OTHER)), WrongPassphrase)
    assert "another line" in str(refused(alice, "passphrase", typed=(PASSPHRASE,)))
    assert "at least 12" in str(refused(alice, "passphrase", typed=(PASSPHRASE, "short")))
    assert "holds from now on" in run(vault.command, alice, "passphrase", typed=(PASSPHRASE, OTHER))
    assert isinstance(refused(alice, "status", "--check", typed=(PASSPHRASE,)), WrongPassphrase)
    run(vault.command, alice, "status", "--check", typed=(OTHER,))


def test_it_moves_to_another_machine(alice: Path, tmp_path: Path) -> None:
    invited(alice)
    file = tmp_path / "moving.bayonne"
    run(vault.command, alice, "export", str(file), typed=(PASSPHRASE,))
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"harbour" not in file.read_bytes()
    assert "File exists" in str(refused(alice, "export", str(file), typed=(PASSPHRASE,)))
    bob = configuration(tmp_path, "bob")
    bob.write_text(bob.read_text().replace("sealed = false", "sealed = true"))
    assert isinstance(refused(bob, "import", str(file), typed=(OTHER,)), WrongPassphrase)
    assert "state already" in str(refused(alice, "import", str(file), typed=(PASSPHRASE,)))
    run(vault.command, bob, "import", str(file), typed=(PASSPHRASE,))
    assert own_identity(sealed(bob), SystemEntropy()) == own_identity(sealed(alice), SystemEntropy())
    files = sealed(alice)
    flip(files.path / files.vault.file_name("contacts.json"))
    error = refused(alice, "export", str(tmp_path / "second"), typed=(PASSPHRASE,))
    assert isinstance(error, RefusedByPolicy)
    assert str(error) == "left out, because damaged: contacts.json"
    assert (tmp_path / "second").exists()


def test_an_export_whose_name_would_not_last_is_none(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wipe may follow."""
    invited(alice)

    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    file = tmp_path / "export"
    with monkeypatch.context() as patch:
        patch.setattr(vault, "synchronise", broken)
        assert "Input/output" in str(refused(alice, "export", str(file), typed=(PASSPHRASE,)))
    assert not file.exists()
    run(vault.command, alice, "export", str(file), typed=(PASSPHRASE,))


def test_what_needs_a_running_agent_says_so(alice: Path) -> None:
    invited(alice)
    for name in ("lock", "unlock"):
        assert "no agent runs" in str(refused(alice, name))


def test_the_real_cost_is_paid_by_each_guess(alice: Path) -> None:
    """Through the program itself, with the cost that ships."""
    started = 'import runpy, sys; sys.argv[0] = "bayonne"; runpy.run_module("relay.cli", run_name="__main__")'

    def bayonne(*arguments: str, typed: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-c", started, *arguments, "--config", str(alice), "--passphrase-fd", "0"]
        return subprocess.run(line, input=typed, capture_output=True, text=True, timeout=60)

    made = bayonne("contact", "invite", "bob", typed=f"{PASSPHRASE}\n")
    assert made.returncode == 0, made.stderr
    assert re.match(r"bayonne:\S+\n$", made.stdout)
    before = time.monotonic()
    wrong = bayonne("vault", "status", "--check", typed=f"{OTHER}\n")
    assert time.monotonic() - before > 0.2
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "bayonne: that is not the passphrase of this vault\n"


_STARTED = """
(ulimit -H -c unlimited) 2>/dev/null && ulimit -H -c unlimited
ulimit -S -c "$(ulimit -H -c)" && echo started && exec "$@"
"""
"""Whoever starts a command may allow core dumps, root also where they were forbidden."""


@pytest.mark.parametrize(
    "command",
    [
        ["contact", "list"],
        ["vault", "status", "--check"],
        ["vault", "export", "an-export"],
        ["vault", "passphrase"],
        ["agent"],
    ],
)
def test_while_it_waits_for_a_passphrase_no_core_dump_would_hold_one(alice: Path, command: list[str]) -> None:
    invited(alice)
    reading, writing = os.pipe()
    arguments = [*command, "--config", str(alice), "--passphrase-fd", str(reading)]
    with subprocess.Popen(
        ["sh", "-c", _STARTED, "sh", sys.executable, "-m", "relay.cli", *arguments],
        pass_fds=[reading],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(reading)
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        deadline = time.monotonic() + 20.0
        while child.poll() is None and not is_shielded(child.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        shielded = child.poll() is None and is_shielded(child.pid)
        os.write(writing, f"{OTHER}\n".encode())
        os.close(writing)
        said = child.communicate(timeout=60)[1]
    assert shielded
    assert said.splitlines()[-1] == "bayonne: that is not the passphrase of this vault", "it waited for that"


def is_shielded(pid: int) -> bool:
    """No core dump; and what is the user's no more in proc(5), because no other process of the user may read it.  Of
    root's processes the second cannot be seen."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    limit = next(line.split()[4] for line in lines if line.startswith("Max core file size"))
    return limit == "0" and Path(f"/proc/{pid}/environ").stat().st_uid == 0
