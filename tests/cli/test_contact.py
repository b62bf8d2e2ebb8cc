"""`bayonne contact`: the people in an agent's files, and what may be done to them."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from relay.agent import ContactBook, PlainFiles
from relay.agent.contact_file import Contact, IntroductionRequest, Place, Whereabouts
from relay.agent.reachability import written
from relay.cli.contact import command
from relay.core import (
    BayonneError,
    ConfigurationError,
    MisuseError,
    SeededEntropy,
    SystemClock,
    SystemEntropy,
)
from relay.forward_publish import RecordStatus
from relay.identity import format_address
from relay.media_reflector import ReflectorKeys, ReflectorReference

REFERENCE = ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity)
NOW = SystemClock().wall()


def configuration(directory: Path, name: str) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(
        f'state_directory = "{directory / name}"\nname = "{name}"\n'
        f'contact_points = ["{"a" * 56}"]\nreflectors = ["{REFERENCE}"]\n'
        "[vault]\nsealed = false\n"
    )
    return path


def call(path: Path, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(command, [*arguments, "--config", str(path)], input=typed)


def run(path: Path, *arguments: str, typed: str | None = None) -> str:
    result = call(path, *arguments, typed=typed)
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output


def refused(path: Path, *arguments: str, typed: str | None = None) -> BayonneError:
    error = call(path, *arguments, typed=typed).exception
    assert isinstance(error, BayonneError)
    assert "\n" not in str(error)
    return error


def book_of(path: Path) -> ContactBook:
    book = ContactBook(PlainFiles(path.with_suffix("")))
    book.refresh()
    return book


def known(path: Path, name: str) -> Contact:
    """A contact who can be called, as an agent would have left it."""
    state = PlainFiles(path.with_suffix(""))
    book = ContactBook(state)
    here = Whereabouts((Place("b" * 56, "c" * 52),), bytes(1216), 1, 1, int(NOW) + 86400, int(NOW))
    request = IntroductionRequest("ab", name, SystemEntropy().token(32), bytes(32), here, "", int(NOW))
    assert book.asked(request)
    return book.accept("ab", name, SystemEntropy())


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


def test_the_commands_are_those_that_the_documents_name() -> None:
    assert isinstance(command, click.Group)
    assert command.commands.keys() >= {
        *("invite", "add", "list", "invitations", "withdraw", "requests", "accept", "refuse"),
        *("block", "unblock", "hours", "missed", "remove", "search", "listing"),
        *("accept-change", "webfinger", "verify", "set-pgp"),
    }


def test_list_says_who_can_be_called(alice: Path) -> None:
    assert "no contacts yet" in run(alice, "list")
    assert json.loads(run(alice, "list", "--json")) == []
    bob = known(alice, "bob")
    (row,) = json.loads(run(alice, "list", "--json"))
    assert row == {
        "name": "bob",
        "state": "known",
        "known": True,
        "blocked": False,
        "hours": "always",
        "missed": 0,
        "trouble": "",
        "account": "",
        "address": format_address(bob.public_key),
        "alarm": "",
        "offered": "",
        "withdrawn": False,
        "checked": 0,
        "verified": [],
        "voice_alarm": "",
        "openpgp": "",
    }
    assert run(alice, "list").split() == ["bob", "can", "be", "called", "not", "verified"]


def test_list_says_what_became_of_an_invitation_that_came_too_late(alice: Path, tmp_path: Path) -> None:
    bob = configuration(tmp_path, "bob")
    run(bob, "add", "alice", run(alice, "invite", "bob").strip())
    assert "not heard of yet" in run(bob, "list")
    book = book_of(bob)
    book.turned_away(book.named("alice"), RecordStatus.USED)
    assert "used by somebody already; ask for a new one" in run(bob, "list")
    (row,) = json.loads(run(bob, "list", "--json"))
    assert (row["state"], row["known"]) == ("introducing", False)
    assert "ask for a new one" in row["trouble"]


def test_list_says_where_nothing_was_found_for_days(alice: Path, tmp_path: Path) -> None:
    bob = configuration(tmp_path, "bob")
    run(bob, "add", "alice", run(alice, "invite", "bob", "--expires", "never").strip())
    book = book_of(bob)
    book.looked(book.named("alice"), there=False, wall=1.0)
    assert "is away, or takes nobody by it any more" in run(bob, "list")
    (row,) = json.loads(run(bob, "list", "--json"))
    assert "nothing was there for days" in row["trouble"]
    book.looked(book.named("alice"), there=True, wall=2.0)
    assert "not heard of yet" in run(bob, "list")


def test_block_and_unblock(alice: Path) -> None:
    before = known(alice, "bob")
    assert "was blocked" in run(alice, "block", "BOB")
    assert "blocked" in run(alice, "list")
    assert book_of(alice).named("bob").token_root != before.token_root
    assert "may ring again" in run(alice, "unblock", "bob")
    assert "can be called" in run(alice, "list")
    assert isinstance(refused(alice, "block", "carol"), MisuseError)


def test_hours(alice: Path) -> None:
    known(alice, "bob")
    assert "08:00-22:00" in run(alice, "hours", "bob", "08:00-22:00")
    assert "may ring 08:00-22:00" in run(alice, "list")
    assert isinstance(refused(alice, "hours", "bob", "8 to 10"), MisuseError)
    assert "always" in run(alice, "hours", "bob", "always")
    assert isinstance(refused(alice, "hours", "carol", "always"), MisuseError)


def test_missed_calls_the_latest_first(alice: Path) -> None:
    assert "no missed calls" in run(alice, "missed")
    bob = known(alice, "bob")
    book = book_of(alice)
    for ago in (7200.0, 60.0):
        book.missed_call(bob, NOW - ago)
    rows = json.loads(run(alice, "missed", "--json"))
    assert [row["name"] for row in rows] == ["bob", "bob"]
    assert rows[0]["minute"] > rows[1]["minute"]
    first, second = run(alice, "missed").splitlines()
    assert first == f"{written(rows[0]['minute'])}  bob"
    assert second < first


def test_remove(alice: Path) -> None:
    known(alice, "bob")
    assert "was removed" in run(alice, "remove", "BOB")
    assert json.loads(run(alice, "list", "--json")) == []
    assert isinstance(refused(alice, "remove", "bob"), MisuseError)


def test_a_wrong_configuration_touches_nothing(tmp_path: Path, alice: Path) -> None:
    alice.write_text(alice.read_text().replace("contact_points", "contact_pints"))
    error = refused(alice, "list")
    assert isinstance(error, ConfigurationError)
    assert "line 3: unknown key 'contact_pints'" in str(error)
    assert not (tmp_path / "alice").exists()


def test_contacts_of_an_earlier_version_are_one_sentence(alice: Path, tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "contacts.json").write_text('{"contacts": [{"name": "bob", "role": "inviter"}]}')
    error = refused(alice, "list")
    assert isinstance(error, ConfigurationError)
    assert "earlier version" in str(error)
