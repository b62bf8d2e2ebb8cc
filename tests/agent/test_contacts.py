"""The contact book: names, invitations, two processes at once."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from relay.agent.contacts import CONTACTS_FILE, MAX_CONTACTS, ContactBook, Whereabouts
from relay.agent.state import StateDirectory
from relay.core import ConfigurationError, MisuseError, SeededEntropy, SystemEntropy
from relay.forward_publish import Role
from relay.identity import Identity, Invitation

POINTS = ("a" * 56,)
KEY = Identity.from_seed(bytes(range(32))).public_key


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def book(state: StateDirectory) -> ContactBook:
    return ContactBook(state)


def invitation(seed: int = 1) -> Invitation:
    return Invitation.generate(KEY, POINTS, SeededEntropy(seed))


def test_inviter_and_invitee_share_a_secret_and_play_different_parts(
    book: ContactBook, tmp_path: Path
) -> None:
    made = book.invite("bob", POINTS, KEY, SystemEntropy())
    other = StateDirectory(tmp_path / "other")
    other.prepare()
    theirs = ContactBook(other)
    theirs.accept("alice", Invitation.parse(made.format()), SystemEntropy())
    bob, alice = book.find("bob"), theirs.find("alice")
    assert bob is not None
    assert alice is not None
    assert bob.secret == alice.secret
    assert (bob.role, alice.role) == (Role.INVITER, Role.INVITEE)
    assert bob.public_key == b""
    assert alice.public_key == KEY
    assert bob.token.token != alice.token.token
    assert book.by_token(bob.token.token) == bob
    assert book.by_token(alice.token.token) is None


@pytest.mark.parametrize("name", ["bob", "Bob-2", "x_y", "Jürgen", "田中", "a" * 64])
def test_good_names(book: ContactBook, name: str) -> None:
    book.invite(name, POINTS, KEY, SystemEntropy())
    assert book.find(name.upper()) is not None


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "bob@home", "a b", "sip:x", "../x", "-", "x\n", "a.b", "%41", "\x00"]
)
def test_names_that_no_phone_could_dial(book: ContactBook, state: StateDirectory, name: str) -> None:
    with pytest.raises(MisuseError, match="name"):
        book.invite(name, POINTS, KEY, SystemEntropy())
    with pytest.raises(MisuseError, match="name"):
        book.accept(name, invitation(), SystemEntropy())
    assert state.read(CONTACTS_FILE) is None


def test_a_name_is_given_once_whatever_its_capitals(book: ContactBook) -> None:
    book.invite("bob", POINTS, KEY, SystemEntropy())
    with pytest.raises(MisuseError, match="there already"):
        book.invite("BOB", POINTS, KEY, SystemEntropy())


def test_an_invitation_is_taken_once(book: ContactBook) -> None:
    book.accept("alice", invitation(), SystemEntropy())
    with pytest.raises(MisuseError, match="used here already"):
        book.accept("alice2", invitation(), SystemEntropy())
    assert [contact.name for contact in book] == ["alice"]


def test_an_invitation_that_cannot_be_handed_over_adds_nobody(book: ContactBook) -> None:
    for points in ((), ("not an onion",), POINTS * 9):
        with pytest.raises(MisuseError):
            book.invite("bob", points, KEY, SystemEntropy())
    assert book.find("bob") is None


def test_removing(book: ContactBook) -> None:
    book.invite("bob", POINTS, KEY, SystemEntropy())
    book.remove("Bob")
    assert list(book) == []
    with pytest.raises(MisuseError, match="no contact of that name"):
        book.remove("bob")


def test_the_book_is_bounded(book: ContactBook, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CONTACTS == 1000
    monkeypatch.setattr("relay.agent.contacts.MAX_CONTACTS", 2)
    for name in "ab":
        book.invite(name, POINTS, KEY, SystemEntropy())
    with pytest.raises(MisuseError, match="full"):
        book.invite("c", POINTS, KEY, SystemEntropy())


def test_another_process_change_is_seen_and_an_own_one_is_no_news(
    book: ContactBook, state: StateDirectory
) -> None:
    other = ContactBook(state)
    assert not other.refresh()
    book.invite("bob", POINTS, KEY, SystemEntropy())
    assert not book.refresh()
    assert other.refresh()
    assert not other.refresh()
    assert other.find("bob") == book.find("bob")


def test_what_was_found_is_kept_and_written_only_when_it_is_new(
    book: ContactBook, state: StateDirectory
) -> None:
    book.invite("bob", POINTS, KEY, SystemEntropy())
    bob = book.find("bob")
    assert bob is not None
    place = Whereabouts("b" * 56, "c" * 52, bytes(1216), 5, 1_800_000_000)
    known = book.found(bob, KEY, place)
    assert (known.public_key, known.whereabouts) == (KEY, place)
    inode = (state.path / CONTACTS_FILE).stat().st_ino
    assert book.found(bob, KEY, place) == known
    assert (state.path / CONTACTS_FILE).stat().st_ino == inode
    book.remove("bob")
    book.found(bob, KEY, place)
    assert list(book) == [], "who was removed meanwhile does not come back"


def test_the_file_is_the_owners_alone(book: ContactBook, state: StateDirectory) -> None:
    book.invite("bob", POINTS, KEY, SystemEntropy())
    assert stat.S_IMODE((state.path / CONTACTS_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"{", b'{"contacts": 5}', b'{"people": []}', b"\xff", b"[]"])
def test_a_damaged_file_is_one_sentence_and_stays(
    book: ContactBook, state: StateDirectory, content: bytes
) -> None:
    state.write(CONTACTS_FILE, content)
    with pytest.raises(ConfigurationError, match=r"contacts.json in the state directory is damaged"):
        book.refresh()
    with pytest.raises(ConfigurationError):
        book.invite("bob", POINTS, KEY, SystemEntropy())
    assert state.read(CONTACTS_FILE) == content


_WRITER = """
import sys
from pathlib import Path
from relay.agent.contacts import ContactBook
from relay.agent.state import StateDirectory
from relay.core import SystemEntropy
book = ContactBook(StateDirectory(Path(sys.argv[1])))
for number in range(20):
    book.invite(f"{sys.argv[2]}{number}", ("a" * 56,), bytes(32), SystemEntropy())
"""


def test_two_processes_that_write_at_once_lose_nothing(book: ContactBook, tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), who]) for who in ("x", "y")]
    for number in range(20):
        book.invite(f"z{number}", POINTS, KEY, SystemEntropy())
    assert [writer.wait(30) for writer in writers] == [0, 0]
    book.refresh()
    assert {contact.name for contact in book} == {f"{who}{number}" for who in "xyz" for number in range(20)}
