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
from relay.agent.vault_destroying import StateToDestroy
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
    result = call("--yes", "--config", str(alice), "--keep-config", "--json")
    told = json.loads(result.stdout)
    assert (told["state"], told["nothing_at"]) == ("nothing", [str(state_of(alice))])
    assert "NOTHING was destroyed" in str(result.exception)
    assert alice.exists()


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
    assert ("it stays" in str(result.exception)) is (text is not None)
    assert f"destroyed  {usual}: a vault" in result.stdout
    assert "agent.toml" in result.stderr
    assert not usual.exists()
    assert config.exists() is (text is not None), "what names no state directory may be any file"
    new_vault(usual)
    assert "destroyed" in wiped()
    for arguments in ((), ("--config", str(config))):
        assert "NOTHING was destroyed: nothing of an agent's was found in" in str(refused(*arguments))


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
    assert "notes.toml names no state_directory that can be read; it stays" in str(result.exception)
    assert (tmp_path / "notes.toml").exists()
    assert not (tmp_path / "other").exists()
    new_vault(tmp_path / "other")
    wiped("--state-directory", str(tmp_path / "other"), "--config", str(alice))
    assert not (tmp_path / "other").exists()
    assert not state_of(alice).exists()


def test_what_cannot_be_done_stops_nothing_else_and_is_told(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_vault(tmp_path / "other")

    real = StateToDestroy.destroy

    def stuck(state: StateToDestroy) -> None:
        if state.named == tmp_path / "other":
            raise NotKept("a file could not be overwritten")
        real(state)

    monkeypatch.setattr("relay.cli.vault_wipe.StateToDestroy.destroy", stuck)
    result = call("--yes", "--state-directory", str(tmp_path / "other"), "--config", str(alice))
    assert isinstance(result.exception, ConfigurationError)
    assert f"not everything was done: {tmp_path / 'other'}: a file could not" in str(result.exception)
    assert "nothing opens it" not in result.stdout
    assert f"destroyed  {state_of(alice)}: a vault\n" in result.stdout
    assert f"destroyed  {tmp_path / 'other'}" not in result.stdout
    assert f"left       {tmp_path / 'other'}: a vault, or some of it\n" in result.stdout
    assert not alice.exists()
    for place in (tmp_path / "other", state_of(alice)):
        assert not (place / "vault" / "header").exists()


def test_an_agent_in_memory_ends_wherever_it_began(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place hangs on no variable; keys are gone before it is asked."""
    monkeypatch.setattr(
        "relay.cli.vault_places.amnesic_places", lambda directory, user: (tmp_path / "memory",)
    )
    ended: list[int] = []

    async def end(process: ProcessIdentity, *, patience: float) -> None:
        ended.append(process.pid)

    monkeypatch.setattr("relay.cli.vault_wipe.end_process", end)
    keys: list[bool] = []

    async def wipe(arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        keys.append((tmp_path / "memory" / "vault" / "header").exists())
        return {"state": "wiped"}

    (tmp_path / "memory").mkdir(mode=0o700)
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


# -- what is named and is not there, or is not an agent's ------------------------------------------------------------


def test_where_nothing_is_found_the_configuration_stays_and_the_exit_status_says_so(alice: Path) -> None:
    """It is all that says where the agent's things are."""
    state_of(alice).rename(state_of(alice).with_name("moved"))
    result = call("--yes", "--config", str(alice))
    told = str(result.exception)
    assert isinstance(result.exception, ConfigurationError)
    assert f"NOTHING was destroyed: nothing of an agent's was found in {state_of(alice)}" in told
    assert f"{alice} stays" in told
    assert "wiped" not in result.stdout
    assert alice.exists()


def test_of_several_that_are_named_one_that_is_not_there_is_told(alice: Path, tmp_path: Path) -> None:
    result = call("--yes", "--config", str(alice), "--state-directory", str(tmp_path / "mistyped"), "--json")
    told = json.loads(result.stdout)
    assert (told["state"], told["nothing_at"]) == ("incomplete", [str(tmp_path / "mistyped")])
    assert "not everything was done: nothing of an agent's was found in" in str(result.exception)
    assert not state_of(alice).exists()
    assert not alice.exists(), "it said where, and that was there"


def test_a_configuration_whose_place_holds_nothing_stays_though_another_place_was_wiped(
    alice: Path, tmp_path: Path
) -> None:
    state_of(alice).rename(tmp_path / "moved")
    error = refused("--config", str(alice), "--state-directory", str(tmp_path / "moved"))
    assert f"{alice} stays" in str(error)
    assert alice.exists()
    assert not (tmp_path / "moved").exists()


def test_a_relative_directory_is_found_from_elsewhere_beside_the_configuration_or_not_at_all(
    alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.write_text(alice.read_text().replace(str(state_of(alice)), "alice"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "alice.toml"
    moved.write_text(alice.read_text())
    refused("--config", str(moved))
    assert moved.exists()
    assert state_of(alice).exists()
    wiped("--config", str(alice))
    assert not state_of(alice).exists()
    assert not alice.exists()


def test_a_home_that_is_named_by_mistake_is_left_as_it_is_and_that_is_told(home: Path) -> None:
    for path in ("vault/notes/thesis.md", "tor/data", "identity.key", ".foo.lock"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(b"" if path.endswith("lock") else b"not the agent's")
    before = sorted(home.rglob("*"))
    error = refused("--state-directory", str(home))
    assert "NOTHING was destroyed" in str(error)
    assert "has still: vault (nothing says that it is an agent's)" in str(error)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("role", ["contact-point", "reflector"])
def test_another_programs_configuration_is_refused_and_nothing_is_guessed_instead(
    tmp_path: Path, home: Path, role: str
) -> None:
    usual, config, state = home / ".local" / "share" / "bayonne", tmp_path / "role.toml", tmp_path / "role"
    new_vault(usual)
    (state / "tor").mkdir(parents=True)
    (state / ".role.lock").touch()
    sample = (Path(__file__).parents[2] / "ops" / "config" / f"{role}.toml").read_text()
    config.write_text(re.sub("state_directory = .*", f'state_directory = "{state}"', sample, count=1))
    for text in (config.read_text(), config.read_text() + "[broken\n"):
        config.write_text(text)
        error = str(refused("--config", str(config)))
        assert "not an agent's; nothing was touched" in error
        assert config.exists()
        assert (state / "tor").exists()
        assert usual.exists()
    assert "not an agent's; it stays" in str(
        refused("--config", str(config), "--state-directory", str(usual))
    )
    assert config.exists()
    assert not usual.exists()


def test_a_role_whose_configuration_could_be_an_agents_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "point" / "tor").mkdir(parents=True)
    (tmp_path / "point" / ".role.lock").touch()
    config = tmp_path / "point.toml"
    config.write_text(f'state_directory = "{tmp_path / "point"}"\n')
    assert "NOTHING was destroyed" in str(refused("--config", str(config)))
    assert config.exists()
    assert (tmp_path / "point" / "tor").exists()


def test_links_are_followed_to_an_agents_things_and_what_stays_behind_one_is_told(
    alice: Path, tmp_path: Path
) -> None:
    state = state_of(alice)
    (state / "vault").rename(tmp_path / "stick")
    (state / "vault").symlink_to(tmp_path / "stick")
    (tmp_path / "tors").mkdir()
    (state / "tor").symlink_to(tmp_path / "tors")
    result = call("--yes", "--config", str(alice))
    assert f"destroyed  {state}: a vault\n" in result.stdout
    assert f"{state} has still: tor (a link; see what is behind it)" in str(result.exception)
    assert "nothing opens it" not in result.stdout
    assert not (tmp_path / "stick").exists()


def test_a_state_directory_that_is_a_link_is_wiped_without_complaint(alice: Path, tmp_path: Path) -> None:
    state_of(alice).rename(tmp_path / "real")
    state_of(alice).symlink_to(tmp_path / "real")
    assert "nothing opens it any more" in wiped("--config", str(alice))
    assert not (tmp_path / "real").exists()
    assert not state_of(alice).is_symlink()
