"""`bayonne contact`: two people get to know each other through files alone."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.contact import command
from relay.core import BayonneError, ConfigurationError, MisuseError, PeerError, SeededEntropy
from relay.media_reflector import ReflectorKeys, ReflectorReference

REFERENCE = ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity)


def configuration(directory: Path, name: str) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(
        f'state_directory = "{directory / name}"\nname = "{name}"\n'
        f'contact_points = ["{"a" * 56}"]\nreflectors = ["{REFERENCE}"]\n'
    )
    return path


def call(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--config", str(path)])


def run(path: Path, *arguments: str) -> str:
    result = call(path, *arguments)
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output


def refused(path: Path, *arguments: str) -> BayonneError:
    error = call(path, *arguments).exception
    assert isinstance(error, BayonneError)
    assert "\n" not in str(error)
    return error


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    return configuration(tmp_path, "bob")


def test_invite_add_list_remove(alice: Path, bob: Path) -> None:
    assert "no contacts yet" in run(alice, "list")
    assert json.loads(run(alice, "list", "--json")) == []
    uri = run(alice, "invite", "bob").strip()
    assert uri.startswith("bayonne:")
    assert len(uri.split()) == 1, "fit for a pipe"
    assert "alice was added" in run(bob, "add", "alice", f"  {uri}\n")
    for path, other in ((alice, "bob"), (bob, "alice")):
        assert json.loads(run(path, "list", "--json")) == [{"name": other, "known": False}]
        assert other in run(path, "list")
        assert "not heard of yet" in run(path, "list")
    assert "was removed" in run(alice, "remove", "BOB")
    assert json.loads(run(alice, "list", "--json")) == []


def test_what_cannot_be_done_is_one_sentence(alice: Path, bob: Path) -> None:
    uri = run(alice, "invite", "bob").strip()
    assert isinstance(refused(alice, "invite", "bob"), MisuseError)
    assert isinstance(refused(alice, "invite", "b@b"), MisuseError)
    assert isinstance(refused(alice, "remove", "carol"), MisuseError)
    run(bob, "add", "alice", uri)
    assert "used here already" in str(refused(bob, "add", "alice2", uri))
    other = "7" if uri[20] != "7" else "6"
    for damaged in ("", "hello", "bayonne:", uri[:-1], uri[:20] + other + uri[21:], uri * 9):
        error = refused(bob, "add", "eve", damaged)
        assert isinstance(error, PeerError | MisuseError)
        assert damaged[8:] not in str(error) or not damaged[8:]
    assert json.loads(run(bob, "list", "--json")) == [{"name": "alice", "known": False}]


def test_half_an_invitation_is_told_from_a_whole_one(alice: Path, bob: Path) -> None:
    uri = run(alice, "invite", "bob").strip()
    assert "copy all of the line" in str(refused(bob, "add", "alice", uri[:-9]))


def test_an_invitation_comes_by_standard_input_too(alice: Path, bob: Path) -> None:
    uri = run(alice, "invite", "bob")
    result = CliRunner().invoke(command, ["add", "alice", "--config", str(bob)], input=uri)
    assert result.exception is None, result.exception
    assert json.loads(run(bob, "list", "--json")) == [{"name": "alice", "known": False}]


def test_ones_own_invitation_is_refused(alice: Path) -> None:
    uri = run(alice, "invite", "bob").strip()
    assert isinstance(refused(alice, "add", "me", uri), MisuseError)


def test_a_wrong_configuration_touches_nothing(tmp_path: Path, alice: Path) -> None:
    alice.write_text(alice.read_text().replace("contact_points", "contact_pints"))
    error = refused(alice, "invite", "bob")
    assert isinstance(error, ConfigurationError)
    assert "line 3: unknown key 'contact_pints'" in str(error)
    assert not (tmp_path / "alice").exists()
