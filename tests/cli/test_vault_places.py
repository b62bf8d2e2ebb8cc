"""Where a wipe looks: for whom it may be, and from wherever it is asked."""

import os
from pathlib import Path

import pytest

from relay.agent import AgentSettings
from relay.agent.amnesia import amnesic_places
from relay.cli import vault_places
from relay.cli.vault_places import VARIABLE, Where
from relay.core import ConfigurationError
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.reflector_settings import ReflectorSettings

USER = os.geteuid()
OTHER = USER + 4242


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("relay.agent.amnesia._USERS", tmp_path / "run")
    monkeypatch.setattr("relay.agent.amnesia._EVERYBODYS", tmp_path / "shm")
    return tmp_path / "home"


def config(tmp_path: Path, state: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'state_directory = "{state}"\n')
    return path


def as_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The files here are the user's whose tests these are."""
    monkeypatch.setattr(vault_places, "_ROOT", OTHER)
    monkeypatch.setattr("relay.cli.vault_places.os.geteuid", lambda: OTHER)
    monkeypatch.setattr(
        vault_places, "_home", lambda user: {USER: tmp_path / "alice", 5: tmp_path / "bob"}.get(user)
    )


def test_the_other_roles_keys_are_those_that_they_have() -> None:
    others = {*ContactPointSettings.__struct_fields__, *ReflectorSettings.__struct_fields__}
    assert others - set(AgentSettings.__struct_fields__) == vault_places._OTHERS
    assert others & set(AgentSettings.__struct_fields__) == vault_places._EVERYBODYS


def test_another_roles_configuration_is_told_by_its_keys_unless_it_has_an_agents(tmp_path: Path) -> None:
    path = config(tmp_path, "/x")
    for text in ("capacity = 7\n", "[limits]\nqueue = 1\n", "[[trunks]]\n= broken\n"):
        path.write_text(f'state_directory = "/x"\n{text}')
        with pytest.raises(ConfigurationError, match="a contact point or a reflector"):
            Where.find(path, (), {})
        assert Where.find(path, ("/y",), {}).configuration is None
        path.write_text(f'state_directory = "/x"\nname = "me"\n{text}')
        assert Where.find(path, (), {}).configuration == path


def test_a_users_own_home_alone_is_looked_in_whatever_a_variable_says(tmp_path: Path, home: Path) -> None:
    (asked,) = Where.find(config(tmp_path, "~/state"), (), {"SUDO_UID": str(OTHER)}).asked
    assert asked.places[0] == home / "state"
    assert len(asked.places) == 1 or USER == 0


def test_as_root_a_home_is_also_that_of_the_configurations_owner_and_of_who_asked_sudo(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_root(monkeypatch, tmp_path)
    (asked,) = Where.find(config(tmp_path, "~/state"), (), {"SUDO_UID": "5"}).asked
    assert asked.places == (home / "state", tmp_path / "alice" / "state", tmp_path / "bob" / "state")
    (guessed,) = Where.find(None, (), {"SUDO_UID": "5"}).asked
    assert guessed.guessed
    assert guessed.places == tuple(
        place / ".local" / "share" / "bayonne" for place in (home, tmp_path / "bob")
    )


def test_as_root_memory_is_searched_for_whoever_has_the_configuration_or_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_root(monkeypatch, tmp_path)
    (tmp_path / "shm").mkdir()
    for state, by_name in ((tmp_path / "one", False), (tmp_path / "deep" / "two", True)):
        begun = amnesic_places(state, USER)[1]
        begun.mkdir(mode=0o700)
        path = None if by_name else config(tmp_path, str(state))
        (asked,) = Where.find(path, (str(state),) if by_name else (), {}).asked
        assert asked.memory == (begun,)
        begun.chmod(0o777)
        (asked,) = Where.find(path, (str(state),) if by_name else (), {}).asked
        assert asked.memory == (), "anybody can have made it"


def test_a_relative_directory_counts_from_here_and_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (asked,) = Where.find(config(tmp_path, "state"), (), {}).asked
    assert asked.places == (tmp_path / "here" / "state", tmp_path / "state")
    (asked,) = Where.find(None, ("state",), {}).asked
    assert asked.places == (tmp_path / "here" / "state",)


def test_the_variable_stands_for_what_the_configuration_says(tmp_path: Path) -> None:
    path = config(tmp_path, "/x")
    where = Where.find(path, (), {VARIABLE: "/y"})
    assert [(asked.told, asked.by_configuration) for asked in where.asked] == [("/y", True)]
    assert where.configuration == path
