"""`bayonne reflectors`: a maker signs, a user checks and reads."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.reflectors import command
from relay.core import BayonneError, ConfigurationError, MisuseError, PeerError, SystemClock
from relay.media_reflector import ReflectorReference, format_maker, parse_maker, verify_list
from relay.media_reflector.lists import day_of

REFERENCES = [ReflectorReference(letter * 56, letter.encode() * 32) for letter in "abc"]


def call(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=typed)


def run(*arguments: object, typed: str | None = None) -> str:
    result = call(*arguments, typed=typed)
    assert result.exception is None, result.exception
    return result.stdout


def refused(*arguments: object, typed: str | None = None) -> BayonneError:
    error = call(*arguments, typed=typed).exception
    assert isinstance(error, BayonneError), error
    assert "\n" not in str(error)
    return error


@pytest.fixture
def references(tmp_path: Path) -> Path:
    path = tmp_path / "references.txt"
    path.write_text("# our three\n\n" + "".join(f"{reference}\n" for reference in REFERENCES))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "maker.key"


@pytest.fixture
def signed(tmp_path: Path, references: Path, key: Path) -> Path:
    path = tmp_path / "friends.txt"
    path.write_text(run("sign", references, "--key", key, "--new-key", "--name", "Friends"))
    return path


def test_sign_verify_show(signed: Path, key: Path) -> None:
    maker = json.loads(run("show", signed, "--json"))["maker"]
    wall = SystemClock().wall()
    found = verify_list(signed.read_text(), {parse_maker(maker)}, wall)
    assert found.references == tuple(REFERENCES)
    assert (found.name, found.issued) == ("Friends", day_of(wall))
    assert (found.until - found.issued).days == 180
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    said = run("verify", signed, "--maker", maker)
    assert "3 reflectors" in said
    assert maker in said
    assert json.loads(run("verify", signed, "--maker", maker, "--json"))["reflectors"] == [
        str(reference) for reference in REFERENCES
    ]
    shown = run("show", signed)
    assert all(str(reference) in shown for reference in REFERENCES)
    assert "Friends" in shown
    assert maker in shown


def test_the_maker_is_told_apart_from_the_list(references: Path, key: Path) -> None:
    result = call("sign", references, "--key", key, "--new-key", "--name", "Friends")
    assert result.stdout.startswith("bayonne reflector list 1\n")
    assert result.stdout.splitlines()[-1].startswith("signature: ")
    assert result.stderr.splitlines()[-1] in result.stdout.splitlines()[2]


def test_the_next_list_has_the_same_maker(references: Path, key: Path, signed: Path) -> None:
    again = run("sign", "-", "--key", key, "--name", "More", "--days", "7", typed=references.read_text())
    assert again.splitlines()[2] == signed.read_text().splitlines()[2]


def test_without_a_maker_it_says_what_that_is_worth(signed: Path) -> None:
    assert "ask the maker" in run("verify", signed)
    assert "ask the maker" in run("verify", "-", typed=signed.read_text())


def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, references: Path, key: Path, signed: Path
) -> None:
    options = ["--name", "Friends", "--key"]
    assert "--new-key makes a key" in str(refused("sign", references, *options, tmp_path / "none.key"))
    assert "is there already" in str(refused("sign", references, *options, key, "--new-key"))
    (tmp_path / "short.key").write_bytes(b"short")
    assert "not a maker's key" in str(refused("sign", references, *options, tmp_path / "short.key"))
    assert "cannot be made" in str(
        refused("sign", references, *options, tmp_path / "no" / "key", "--new-key")
    )
    assert isinstance(refused("sign", tmp_path / "none.txt", *options, key), ConfigurationError)
    assert isinstance(refused("sign", "-", *options, key, typed="somebody\n"), MisuseError)
    assert isinstance(refused("sign", "-", *options, key, typed=""), MisuseError)
    assert isinstance(refused("show", "-", typed="hello\n"), PeerError)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "UTF-8" in str(refused("show", tmp_path / "binary"))
    stranger = format_maker(bytes(32))
    assert "not accepted" in str(refused("verify", signed, "--maker", stranger))
    assert "not a list maker" in str(refused("verify", signed, "--maker", "me"))
    signed.write_text(signed.read_text().replace("Friends", "Friend"))
    assert "not signed" in str(refused("verify", signed))
    assert call("sign", references, *options, key, "--days", "400").exit_code == 2


def test_a_list_that_is_over_is_shown_as_such_and_does_not_verify(
    references: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SystemClock, "wall", lambda self: 1_700_000_000.0)
    old = run("sign", references, "--key", key, "--new-key", "--name", "Friends", "--days", "1")
    monkeypatch.undo()
    assert "(out of date)" in run("show", "-", typed=old)
    assert "out of date" in str(refused("verify", "-", typed=old))
