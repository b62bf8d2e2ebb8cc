"""A wrong configuration is refused by name and line before anything starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from relay.core import ConfigurationError, load_configuration


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["own", "running"] = "own"
    control: str = ""


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    state_directory: str
    capacity: int = 1000
    delay: float = 60.0
    relays: tuple[str, ...] = ()
    verbose: bool = False
    tor: Inner = msgspec.field(default_factory=Inner)
    ends: tuple[Inner, ...] = ()


def load(directory: Path, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    path = directory / "role.toml"
    path.write_text(text)
    return load_configuration(path, Settings, environment=environment)


def refused(directory: Path, text: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, text, environment)
    return str(caught.value)


def test_a_whole_configuration_is_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        '# a comment\nstate_directory = "x"\ncapacity = 5\nrelays = ["a", "b"]\n\n[tor]\nmode = "running"\n',
    )
    assert settings == Settings("x", 5, 60.0, ("a", "b"), tor=Inner("running"))


def test_defaults_fill_what_is_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, 'state_directory = "x"\n') == Settings("x")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('state_directory = "x"\ncapcity = 5\n', 2, "capcity"),
        ('\n# first\n\nstate_directory = "x"\n  strange="y"\n', 5, "strange"),
        ('state_directory = "x"\n[tor]\nmode = "own"\nport = 1\n', 4, "port"),
        ('state_directory = "x"\n[tro]\nmode = "own"\n', 2, "tro"),
        ('state_directory = "x"\ntor.port = 1\n', 2, "port"),
        ('state_directory = "x"\n[tor.deeper]\nkey = 1\n', 2, "deeper"),
        ('state_directory = "x"\n"odd key" = 1\n', 2, "odd key"),
        ('state_directory = "x"\nodd-key = 1\n', 2, "odd-key"),
        ('state_directory = "x"\nport = 1\n[tor]\n', 2, "port"),
        ('state_directory = "x"\n[tor]\ncontrol = """\nport = 5\n"""\nport = 1\n', 6, "port"),
        ('state_directory = "x"\ntor = { port = 1 }\n', 2, "port"),
        ('state_directory = "x"\n[[ends]]\nport = 1\n[[ends]]\nmode = "own"\n', 3, "port"),
        ('state_directory = "x"\n[[ends]]\nmode = "own"\n[[ends]]\nport = 1\n', 5, "port"),
    ],
)
def test_an_unknown_key_is_named_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"role.toml: line {line}: ")
    assert f"unknown key '{key}'" in message


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("state_directory = 5\n", 1, "state_directory"),
        ('state_directory = "x"\n\ncapacity = "many"\n', 3, "capacity"),
        ('state_directory = "x"\ncapacity = 1.5\n', 2, "capacity"),
        ('state_directory = "x"\nverbose = 1\n', 2, "verbose"),
        ('state_directory = "x"\n[tor]\nmode = "theirs"\n', 3, "tor.mode"),
        ('state_directory = "x"\nrelays = ["a", 5]\n', 2, "relays"),
        ('state_directory = "x"\nrelays = [\n  "a",\n  5,\n]\n', 2, "relays"),
        ('state_directory = "x"\ntor = 5\n', 2, "tor"),
        ('state_directory = "x"\n[[ends]]\nmode = 5\n[[ends]]\nmode = "own"\n', 3, "ends.mode"),
        ('state_directory = "x"\n[[ends]]\nmode = "own"\n[tor]\n[[ends]]\nmode = 5\n', 6, "ends.mode"),
        ('state_directory = "x"\nends = [{mode = "own"}, {mode = 5}]\n', 2, "ends.mode"),
        (
            'state_directory = "x"\n[[ends]]\nmode = "own"\n[[ends]]\n[[ends]]\ncontrol = 5\n',
            6,
            "ends.control",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"role.toml: line {line}: ")
    assert key in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "state_directory" in refused(tmp_path, "capacity = 5\n")


def test_what_is_not_toml_says_where(tmp_path: Path) -> None:
    message = refused(tmp_path, 'state_directory = "x"\ncapacity = = 5\n')
    assert message.startswith("role.toml: not TOML")
    assert "line 2" in message


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "role.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"role\.toml"):
        load_configuration(path, Settings)


def test_a_missing_file_is_named_without_its_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(tmp_path / "absent.toml", Settings)
    assert str(caught.value).startswith("absent.toml: cannot be read")
    assert str(tmp_path) not in str(caught.value)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        'state_directory = "x"\ncapacity = 5\n[tor]\nmode = "own"\n',
        {
            "BAYONNE_CAPACITY": "7",
            "BAYONNE_TOR_MODE": "running",
            "BAYONNE_VERBOSE": "true",
            "BAYONNE_DELAY": "2",
        },
    )
    assert (settings.capacity, settings.tor.mode, settings.verbose, settings.delay) == (
        7,
        "running",
        True,
        2.0,
    )


def test_the_environment_supplies_what_the_file_lacks(tmp_path: Path) -> None:
    settings = load(tmp_path, "", {"BAYONNE_STATE_DIRECTORY": "y", "BAYONNE_TOR_CONTROL": "unix:z"})
    assert settings == Settings("y", tor=Inner(control="unix:z"))


def test_a_list_from_the_environment_is_separated_by_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, 'state_directory = "x"\n', {"BAYONNE_RELAYS": "a, b"})
    assert settings.relays == ("a", "b")


def test_a_wrong_value_in_the_environment_is_named_and_not_repeated(tmp_path: Path) -> None:
    message = refused(tmp_path, 'state_directory = "x"\n', {"BAYONNE_CAPACITY": "a-secret"})
    assert "BAYONNE_CAPACITY" in message
    assert "a-secret" not in message


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, 'state_directory = "x"\n', {"PATH": "y", "BAYONNE_SETUP": "root"}) == Settings("x")
