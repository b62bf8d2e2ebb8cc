"""`bayonne vault wipe`: from as little as can be read, and it says what it destroyed and what it did not find."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from relay.agent.control import Stage
from relay.agent.daemon import WIPE
from relay.agent.kept import NotKept
from relay.agent.vault_directory import VaultDirectory
from relay.cli import vault
from relay.core import BayonneError, ConfigurationError
from relay.tor.supervision import ProcessIdentity
from tests.agent.vaults import CHEAP, new_vault
from tests.cli.running_agent import answering
from tests.cli.test_contact import configuration


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's real state is where the sample configuration has it."""
    monkeypatch.setattr(VaultDirectory.__init__, "__defaults__", (CHEAP,))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("relay.agent.amnesia._USERS", tmp_path / "run")
    monkeypatch.setattr("relay.agent.amnesia._EVERYBODYS", tmp_path / "shm")
    return tmp_path / "home"


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    """Her configuration; there is a vault."""
    path = configuration(tmp_path, "alice")
    new_vault(state_of(path)).write("contacts.json", b"bob")
    return path


def state_of(path: Path) -> Path:
    return path.with_suffix("")


def call(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(vault.command, ["wipe", *arguments], input=stdin)


def wiped(*arguments: str) -> str:
    result = call("--yes", *arguments)
    assert result.exception is None, result.exception
    return result.stdout


def refused(*arguments: str) -> BayonneError:
    error = call("--yes", *arguments).exception
    assert isinstance(error, BayonneError), error
    assert "\n" not in str(error)
    return error


def test_it_asks_and_then_leaves_nothing_the_configuration_included(alice: Path) -> None:
    result = call("--config", str(alice), stdin="n\n")
    assert isinstance(result.exception, SystemExit | click.Abort)
    assert str(state_of(alice)) in result.stderr, "it says what it would destroy"
    assert (state_of(alice) / "vault" / "header").exists()
    told = wiped("--config", str(alice))
    assert f"destroyed  {state_of(alice)}: a vault\n" in told
    assert f"destroyed  {alice}: the configuration\n" in told
    assert "agents     none ran there\n" in told
    assert told.endswith("wiped; nothing opens it any more\n")
    assert not state_of(alice).exists()
    assert not alice.exists()


def test_the_configuration_stays_for_whoever_says_so(alice: Path) -> None:
    wiped("--config", str(alice), "--keep-config")
    assert alice.exists()
    told = json.loads(wiped("--config", str(alice), "--keep-config", "--json"))
    assert (told["state"], told["nothing_at"], told["troubles"]) == ("nothing", [str(state_of(alice))], [])
    assert f"not found  anything of an agent's in {state_of(alice)}" in wiped(
        "--config", str(alice), "--keep-config"
    )


def unknown_key(path: Path) -> None:
    path.write_text('colour = "red"\n' + path.read_text())


def no_reflector(path: Path) -> None:
    path.write_text(re.sub("reflectors = .*", "reflectors = []", path.read_text()))


def no_toml(path: Path) -> None:
    path.write_text(path.read_text() + "[chaff\n= 7\n")


def no_text(path: Path) -> None:
    path.write_bytes(b"# \xff\xfe\n" + path.read_bytes())


def wrong_type(path: Path) -> None:
    path.write_text(path.read_text().replace("[vault]", "[vault]\nlock_after = 'never'"))


def named_twice(path: Path) -> None:
    path.write_text(path.read_text().splitlines()[0] + "\n" + path.read_text())


@pytest.mark.parametrize("fault", [unknown_key, no_reflector, no_toml, no_text, wrong_type, named_twice])
def test_no_fault_of_the_configuration_keeps_anything_from_being_destroyed(
    alice: Path, fault: Callable[[Path], None]
) -> None:
    fault(alice)
    wiped("--config", str(alice))
    assert not state_of(alice).exists()
    assert not alice.exists()


@pytest.mark.parametrize(
    "name", ["BAYONNE_CHAFF_START_DELAY", "BAYONNE_VAULT_SEALED", "BAYONNE_PASSPHRASE_FD"]
)
def test_nor_does_a_variable(alice: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "nonsense")
    wiped("--config", str(alice))
    assert not state_of(alice).exists()


def test_the_variable_that_names_the_directory_counts_as_for_the_agent(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_vault(tmp_path / "elsewhere")
    monkeypatch.setenv("BAYONNE_STATE_DIRECTORY", str(tmp_path / "elsewhere"))
    wiped()
    assert not (tmp_path / "elsewhere").exists()
    assert state_of(alice).exists()


@pytest.mark.parametrize("text", [None, "", "state_directory = 5\n", 'name = "bob"\n'])
def test_where_nothing_says_which_it_is_it_is_the_samples_and_that_is_told(
    tmp_path: Path, home: Path, text: str | None
) -> None:
    config, usual = tmp_path / "agent.toml", home / ".local" / "share" / "bayonne"
    if text is not None:
        config.write_text(text)
    new_vault(usual)
    result = call("--yes", "--config", str(config))
    assert result.exception is None, result.exception
    assert f"destroyed  {usual}: a vault" in result.stdout
    assert "agent.toml" in result.stderr
    assert not usual.exists()
    assert config.exists() is (text is not None), "what names no state directory may be any file"
    new_vault(usual)
    assert "destroyed" in wiped()
    for arguments in ((), ("--config", str(config))):
        assert "nothing was found to destroy; name the directory" in str(refused(*arguments))


def test_a_directory_that_is_named_is_wiped_whatever_the_configuration_says(
    alice: Path, tmp_path: Path
) -> None:
    new_vault(tmp_path / "other")
    told = wiped("--state-directory", str(tmp_path / "other"))
    assert f"destroyed  {tmp_path / 'other'}: a vault" in told
    assert state_of(alice).exists()
    new_vault(tmp_path / "other")
    (tmp_path / "notes.toml").write_text("x = 1")
    result = call(
        "--yes", "--state-directory", str(tmp_path / "other"), "--config", str(tmp_path / "notes.toml")
    )
    assert "notes.toml names no state_directory that can be read; it stays" in result.stderr
    assert (tmp_path / "notes.toml").exists()
    wiped("--state-directory", str(tmp_path / "other"), "--config", str(alice))
    assert not (tmp_path / "other").exists()
    assert not state_of(alice).exists()


def test_what_cannot_be_done_stops_nothing_else_and_is_told(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_vault(tmp_path / "other")

    def stuck(place: Path) -> None:
        if place == tmp_path / "other":
            raise NotKept("a file could not be overwritten")

    monkeypatch.setattr("relay.cli.vault_wipe.destroy", lambda place: stuck(place))
    result = call("--yes", "--state-directory", str(tmp_path / "other"), "--config", str(alice))
    assert isinstance(result.exception, ConfigurationError)
    assert f"not everything was done: {tmp_path / 'other'}: a file could not" in str(result.exception)
    assert "nothing opens it" not in result.stdout
    assert "destroyed  " not in result.stdout.replace(f"destroyed  {alice}: the configuration", ""), (
        "vaults lie there"
    )
    assert not alice.exists()
    for place in (tmp_path / "other", state_of(alice)):
        assert not (place / "vault" / "header").exists()


def test_an_agent_in_memory_ends_wherever_it_began(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place hangs on no variable; keys are gone before it is asked."""
    monkeypatch.setattr("relay.cli.vault_wipe.memory_of", lambda directory: (tmp_path / "memory",))
    ended: list[int] = []

    async def end(process: ProcessIdentity, *, patience: float) -> None:
        ended.append(process.pid)

    monkeypatch.setattr("relay.cli.vault_wipe.end_process", end)
    keys: list[bool] = []

    async def wipe(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        keys.append((tmp_path / "memory" / "vault" / "header").exists())
        return {"state": "wiped"}

    new_vault(tmp_path / "memory")
    with answering(tmp_path / "memory", {WIPE: wipe}):
        told = json.loads(wiped("--config", str(alice), "--json"))
    assert (keys, ended, told["agents_ended"]) == ([False], [os.getpid()], 1)
    assert told["destroyed"].keys() == {str(state_of(alice)), str(tmp_path / "memory"), str(alice)}
    assert not (tmp_path / "memory").exists()


def test_a_configuration_that_lies_elsewhere_goes_with_the_link_to_it(alice: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(alice)
    wiped("--config", str(link))
    assert not alice.exists()
    assert not link.is_symlink()
