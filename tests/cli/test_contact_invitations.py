"""Inviting and being invited, through files alone."""

import dataclasses
import json
from pathlib import Path

import pytest

from relay.agent.contact_file import IntroductionRequest, Place, Whereabouts
from relay.cli import contact_invitations
from relay.cli.contact_book import Opened, open_book
from relay.core import BayonneError, ConfigurationError, MisuseError, PeerError, SystemEntropy
from relay.forward_publish import LISTING_SECRET
from relay.identity import Identity, Invitation, InvitationKind
from tests.cli.test_contact import NOW, book_of, configuration, refused, run


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    return configuration(tmp_path, "bob")


def invitation(path: Path, *arguments: str) -> str:
    uri = run(path, "invite", *arguments).strip()
    assert uri.startswith("bayonne:")
    assert len(uri.split()) == 1, "fit for a pipe"
    return uri


def test_invite_and_add(alice: Path, bob: Path) -> None:
    uri = invitation(alice, "bob")
    parsed = Invitation.parse(uri)
    assert parsed.kind is InvitationKind.ONCE
    assert NOW + 6.9 * 86400 < parsed.expires * 3600 <= NOW + 7.1 * 86400
    assert "alice was added" in run(bob, "add", "alice", f"  {uri}\n")
    (contact,) = book_of(bob)
    assert contact.introducing is not None
    assert contact.introducing.secret == parsed.record_secret
    assert contact.introducing.expires == parsed.expires * 3600
    assert contact.home == ("a" * 56,)
    (kept,) = book_of(alice).invitations
    assert (kept.name, kept.secret) == ("bob", parsed.record_secret)


def test_a_standing_invitation_is_for_nobody_in_particular(alice: Path) -> None:
    parsed = Invitation.parse(invitation(alice, "--standing", "--expires", "never"))
    assert (parsed.kind, parsed.expires) == (InvitationKind.STANDING, 0)
    assert "leave the name out" in str(refused(alice, "invite", "bob", "--standing"))
    assert "say for whom" in str(refused(alice, "invite"))


@pytest.mark.parametrize("expires", ["0d", "7", "7w", "-1d", "367d", "", "soon"])
def test_an_expiry_that_is_none_is_one_sentence(alice: Path, expires: str) -> None:
    assert "expires after hours or days" in str(refused(alice, "invite", "bob", f"--expires={expires} "))
    assert not book_of(alice).invitations


def test_a_qr_code_goes_to_a_file_or_the_terminal(alice: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("code.png", "code.SVG")):
        run(alice, "invite", f"bob{number}", "--qr", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 0
    assert "bayonne:" in run(alice, "invite", "bob2", "--qr", "-")
    assert ".png or .svg" in str(refused(alice, "invite", "carol", "--qr", str(tmp_path / "code.gif")))
    error = refused(alice, "invite", "carol", "--qr", str(tmp_path / "nowhere" / "code.png"))
    assert isinstance(error, ConfigurationError)
    statuses = {row["name"]: row["status"] for row in json.loads(run(alice, "invitations", "--json"))}
    assert statuses == {"bob0": "open", "bob1": "open", "bob2": "open", "carol": "withdrawn"}


def test_invitations_and_withdraw(alice: Path) -> None:
    assert "no invitations" in run(alice, "invitations")
    invitation(alice, "bob")
    (row,) = json.loads(run(alice, "invitations", "--json"))
    assert (row["kind"], row["name"], row["status"]) == ("once", "bob", "open")
    assert "open, expires" in run(alice, "invitations")
    assert "for bob was withdrawn" in run(alice, "withdraw", row["number"])
    assert "withdrawn" in run(alice, "invitations")
    assert isinstance(refused(alice, "withdraw", row["number"]), MisuseError)
    assert isinstance(refused(alice, "withdraw", "77"), MisuseError)
    invitation(alice, "bob")


def test_what_cannot_be_done_is_one_sentence(alice: Path, bob: Path) -> None:
    uri = invitation(alice, "bob")
    assert isinstance(refused(alice, "invite", "bob"), MisuseError)
    assert isinstance(refused(alice, "invite", "b@b"), MisuseError)
    run(bob, "add", "alice", uri)
    assert "used here already" in str(refused(bob, "add", "alice2", uri))
    other = "7" if uri[20] != "7" else "6"
    for damaged in ("hello", "bayonne:", uri[:-1], uri[:20] + other + uri[21:]):
        error = refused(bob, "add", "eve", damaged)
        assert isinstance(error, PeerError | MisuseError | ConfigurationError)
        assert damaged[8:] not in str(error) or not damaged[8:]
    assert [contact.name for contact in book_of(bob)] == ["alice"]


def test_half_an_invitation_is_told_from_a_whole_one(alice: Path, bob: Path) -> None:
    uri = invitation(alice, "bob")
    assert "copy all of the line" in str(refused(bob, "add", "alice", uri[:-9]))


def test_an_invitation_comes_by_standard_input_too_even_broken_over_lines(alice: Path, bob: Path) -> None:
    uri = invitation(alice, "bob")
    run(bob, "add", "alice", typed=f"{uri[:40]}\n{uri[40:]}\n")
    assert [contact.name for contact in book_of(bob)] == ["alice"]


def test_ones_own_invitation_is_refused(alice: Path) -> None:
    error = refused(alice, "add", "me", invitation(alice, "bob"))
    assert isinstance(error, MisuseError)
    assert "your own" in str(error)


def test_an_invitation_that_has_expired_is_refused_at_once(
    alice: Path, bob: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = invitation(alice, "bob", "--expires", "1h")

    def later(path: Path) -> Opened:
        return dataclasses.replace(open_book(path), wall=NOW + 3 * 3600)

    monkeypatch.setattr(contact_invitations, "open_book", later)
    assert "has expired" in str(refused(bob, "add", "alice", uri))
    assert not list(book_of(bob))


def test_the_address_of_a_listing_is_as_good_as_an_invitation(bob: Path) -> None:
    alice = Identity.generate(SystemEntropy())
    run(bob, "add", "alice", alice.address, "--as", "Bob")
    (contact,) = book_of(bob)
    assert contact.public_key == alice.public_key
    assert contact.introducing is not None
    assert (contact.introducing.secret, contact.introducing.own_name) == (LISTING_SECRET, "Bob")
    assert isinstance(
        refused(bob, "add", "carol", Identity.generate(SystemEntropy()).address, "--as", "x" * 49),
        BayonneError,
    )


def test_requests_says_where_more_ask_than_are_kept(alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.agent.contacts.MOST_REQUESTS", 2)
    here = Whereabouts((Place("b" * 56, "c" * 52),), bytes(1216), 1, 0, int(NOW) + 86400, int(NOW))
    book = book_of(alice)
    for number in range(2):
        assert "give way" not in run(alice, "requests")
        key = bytes([number]) * 32
        book.asked(IntroductionRequest(f"0{number}", "Bob", key, bytes(32), here, "", int(NOW)))
    assert "no more than these 2 are kept; when others ask, the earliest give way" in run(alice, "requests")
    assert len(json.loads(run(alice, "requests", "--json"))) == 2


def test_requests_accept_and_refuse(alice: Path) -> None:
    assert "nobody asks" in run(alice, "requests")
    here = Whereabouts((Place("b" * 56, "c" * 52),), bytes(1216), 1, 0, int(NOW) + 86400, int(NOW))
    run(alice, "list")
    for number in range(3):
        key = bytes([number]) * 32
        book_of(alice).asked(
            IntroductionRequest(f"0{number}", f"Bob {number}", key, bytes(32), here, "", int(NOW))
        )
    rows = json.loads(run(alice, "requests", "--json"))
    assert [row["name"] for row in rows] == ["Bob 0", "Bob 1", "Bob 2"]
    assert "says to be 'Bob 1'" in run(alice, "requests")
    assert "robert is a contact now" in run(alice, "accept", "00", "robert")
    assert "Bob1 is a contact now" in run(alice, "accept", "01")
    assert "dropped" in run(alice, "refuse", "02")
    assert json.loads(run(alice, "requests", "--json")) == []
    for act in (("accept", "02", "x"), ("accept", "02"), ("refuse", "02")):
        assert "nobody of that number" in str(refused(alice, *act))
