"""The contact book: names, invitations, introductions, two processes at once."""

import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from relay.agent.contact_file import (
    CONTACTS_FILE,
    FILE_VERSION,
    Book,
    Contact,
    Introducing,
    IntroductionRequest,
    KeptInvitation,
    Place,
    Whereabouts,
    write_book,
)
from relay.agent.contacts import MOST_REQUESTS, ContactBook
from relay.agent.kept import Damaged, PlainFiles
from relay.agent.kept_book import ENDED_KEPT
from relay.agent.voice_security import End
from relay.agent.voice_trust import Doubt, VoiceTrust
from relay.core import ConfigurationError, MisuseError, SystemEntropy
from relay.forward_publish import RecordStatus, taken_by
from relay.identity import Identity, InvitationKind
from tests.agent.vaults import new_vault

POINTS = ("a" * 56,)
KEY = Identity.from_seed(bytes(range(32))).public_key
OTHER_KEY = Identity.from_seed(bytes(range(1, 33))).public_key
NOW = 1_800_000_000.0
DAY = 86400.0
HERE = Whereabouts((Place("b" * 56, "c" * 52),), bytes(1216), 20833, 5, 1_800_100_000, 1_800_000_000)


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    made = PlainFiles(tmp_path)
    return made


@pytest.fixture
def book(state: PlainFiles) -> ContactBook:
    return ContactBook(state)


def add(book: ContactBook, name: str = "bob", key: bytes = KEY, secret: bytes = bytes(32)) -> Contact:
    return book.add(name, key, Introducing(secret, 0), POINTS, SystemEntropy())


def kept(name: str = "bob", identifier: str = "01", expires: int = 0) -> KeptInvitation:
    kind = InvitationKind.ONCE if name else InvitationKind.STANDING
    return KeptInvitation(identifier, kind, bytes(32), bytes(32), name, int(NOW), expires)


def request(
    key: bytes = KEY,
    identifier: str = "0a",
    secret: bytes = bytes(32),
    *,
    door: str = "01",
    at: float = NOW,
) -> IntroductionRequest:
    return IntroductionRequest(identifier, "Bob", key, secret, HERE, door, int(at))


@pytest.mark.parametrize("name", ["bob", "Bob-2", "x_y", "Jürgen", "田中", "a" * 64])
def test_good_names(book: ContactBook, name: str) -> None:
    add(book, name)
    assert book.find(name.upper()) is not None


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "bob@home", "a b", "sip:x", "../x", "-", "x\n", "a.b", "%41", "\x00"]
)
def test_names_that_no_phone_could_dial(book: ContactBook, state: PlainFiles, name: str) -> None:
    with pytest.raises(MisuseError, match="name"):
        add(book, name)
    book.asked(request())
    with pytest.raises(MisuseError, match="name"):
        book.accept("0a", name, SystemEntropy())
    assert not list(book)


def test_a_name_is_given_once_whatever_its_capitals_and_promised_once(book: ContactBook) -> None:
    add(book)
    with pytest.raises(MisuseError, match="there already"):
        add(book, "BOB", OTHER_KEY)
    book.invite(kept("Carol"))
    for name in ("carol", "CAROL"):
        with pytest.raises(MisuseError, match="invitation for somebody of that name is out"):
            add(book, name, OTHER_KEY)
    with pytest.raises(MisuseError, match="there already"):
        book.invite(kept("bob", "02"))


def test_an_invitation_is_taken_once_and_a_contact_is_not_met_twice(book: ContactBook) -> None:
    alice = add(book, "alice")
    with pytest.raises(MisuseError, match="used here already"):
        add(book, "alice2")
    add(book, "alice2", secret=bytes(range(32)))
    book.confirmed(alice, bytes(32), NOW)
    with pytest.raises(MisuseError, match="one of your contacts already"):
        add(book, "alice3", secret=b"x" * 32)


def test_removing(book: ContactBook) -> None:
    add(book)
    book.remove("Bob")
    assert list(book) == []
    with pytest.raises(MisuseError, match="no contact of that name"):
        book.remove("bob")


def test_the_book_is_bounded(book: ContactBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.agent.kept_book.MAX_CONTACTS", 2)
    monkeypatch.setattr("relay.agent.contacts.MAX_CONTACTS", 2)
    monkeypatch.setattr("relay.agent.contacts.MOST_INVITATIONS", 2)
    for number in range(2):
        book.invite(kept("", f"{number:02}"))
        add(book, f"bob{number}", bytes([number]) * 32)
    with pytest.raises(MisuseError, match="full"):
        add(book, "carol", OTHER_KEY)
    with pytest.raises(MisuseError, match="full"):
        book.invite(kept("carol", "03"))
    with pytest.raises(MisuseError, match="too many"):
        book.invite(kept("", "03"))


# -- introductions -----------------------------------------------------------------------------------------------


def test_the_first_takes_a_one_time_invitation_and_no_second(book: ContactBook) -> None:
    book.invite(kept())
    made = book.taken(book.invitations[0], request(), NOW, SystemEntropy())
    assert made is not None
    assert (made.name, made.public_key, made.whereabouts, made.state) == ("bob", KEY, HERE, "known")
    assert book.invitations[0].status is RecordStatus.USED
    assert book.invitations[0].taken_by == taken_by(request().secret)
    assert book.taken(book.invitations[0], request(OTHER_KEY), NOW, SystemEntropy()) is None
    assert book.taken(kept(), request(OTHER_KEY), NOW, SystemEntropy()) is None
    assert list(book) == [made]


def test_an_invitation_that_expired_or_was_withdrawn_takes_nobody(book: ContactBook) -> None:
    book.invite(kept("bob", "01", int(NOW + DAY)))
    book.invite(kept("carol", "02"))
    book.withdraw("02", NOW)
    old, withdrawn = book.invitations
    assert book.taken(old, request(), NOW + DAY, SystemEntropy()) is None
    assert book.taken(withdrawn, request(), NOW, SystemEntropy()) is None
    with pytest.raises(MisuseError, match="anyway"):
        book.withdraw("02", NOW)
    with pytest.raises(MisuseError, match="no invitation of that number"):
        book.withdraw("03", NOW)


def test_what_ended_is_shown_for_a_while_and_its_name_is_free(book: ContactBook) -> None:
    book.invite(kept("bob", "01", int(NOW + DAY)))
    book.settle(NOW + DAY)
    assert book.invitations[0].status is RecordStatus.EXPIRED
    book.invite(kept("bob", "02"))
    book.settle(NOW + DAY + ENDED_KEPT + 1.0)
    assert [one.id for one in book.invitations] == ["02"]


def test_who_asks_again_is_asked_about_once_by_the_latest_introduction(book: ContactBook) -> None:
    assert book.asked(request())
    assert not book.asked(request(identifier="0b", secret=b"x" * 32))
    (waiting,) = book.requests
    assert (waiting.id, waiting.secret) == ("0a", b"x" * 32)
    made = book.accept("0A", "bob", SystemEntropy())
    assert made.secret == b"x" * 32
    assert not book.requests
    assert not book.asked(request()), "who is a contact does not ask"
    with pytest.raises(MisuseError, match="nobody of that number"):
        book.refuse("0a")


def crowd(book: ContactBook, many: int, door: str = "") -> None:
    """So many strangers who come by one door, one a second."""
    for number in range(many):
        assert book.asked(request(bytes([number]) * 32, f"{number:02x}", door=door, at=NOW + number))


def test_only_so_many_wait_and_who_was_not_heard_for_longest_gives_way(book: ContactBook) -> None:
    crowd(book, MOST_REQUESTS - 1)
    assert not book.is_crowded
    assert book.asked(request(OTHER_KEY, "ff", door="", at=NOW - 1))
    assert book.is_crowded
    assert not book.asked(request(OTHER_KEY, "fe", door="", at=NOW + 100)), (
        "who waits and asks again is no news"
    )
    assert book.asked(request(KEY, "fd", door="", at=NOW + 101))
    waiting = {one.id for one in book.requests}
    assert len(book.requests) == MOST_REQUESTS
    assert {"ff", "fd"} <= waiting
    assert "00" not in waiting


def test_a_crowd_at_one_door_closes_no_other(book: ContactBook) -> None:
    assert book.asked(request(KEY, "fd", door="01", at=NOW - DAY))
    crowd(book, MOST_REQUESTS + 20)
    assert book.asked(request(OTHER_KEY, "fe", door="02", at=NOW))
    crowd_at = [one.id for one in book.requests if not one.invitation]
    assert len(crowd_at) == MOST_REQUESTS - 2
    assert {"fd", "fe"} <= {one.id for one in book.requests}


@pytest.mark.parametrize(
    ("wanted", "got"),
    [("Bob the Builder", "BobtheBuilder"), ("bob", "bob-2"), ("", "somebody"), ("--", "somebody")],
)
def test_a_name_that_somebody_gives_themselves_becomes_one_to_dial(
    book: ContactBook, wanted: str, got: str
) -> None:
    book.invite(kept("Bob"))
    assert book.free_name(wanted) == got


def test_all_our_introductions_to_somebody_propose_one_secret_until_one_was_taken(book: ContactBook) -> None:
    alice, entropy = add(book, "alice"), SystemEntropy()
    random = book.introduced_with(alice, entropy)
    assert random is not None
    assert len(random) == 32
    assert book.introduced_with(alice, entropy) == random
    state = book.named("alice").introducing
    assert state is not None
    assert state.random == random
    carol = book.add("carol", OTHER_KEY, Introducing(bytes(32), 0), POINTS, entropy)
    assert book.introduced_with(carol, entropy) != random
    book.turned_away(alice, RecordStatus.USED)
    taken = book.confirmed(alice, bytes([5]) * 32, NOW)
    assert taken == book.named("alice")
    assert taken is not None
    assert (taken.secret, taken.since, taken.introducing) == (bytes([5]) * 32, int(NOW), None)
    assert book.confirmed(alice, bytes([6]) * 32, NOW) == taken, "one introduction was taken, no other"
    assert book.introduced_with(alice, entropy) is None, "who knows us needs no introduction"
    book.remove("alice")
    assert book.confirmed(alice, bytes(32), NOW) is None
    assert book.introduced_with(alice, entropy) is None


@pytest.mark.parametrize(
    ("refused", "sent", "over"),
    [
        (RecordStatus.OPEN, False, False),
        (RecordStatus.OPEN, True, False),
        (RecordStatus.USED, False, True),
        (RecordStatus.USED, True, True),
        (RecordStatus.EXPIRED, False, True),
        (RecordStatus.EXPIRED, True, False),
        (RecordStatus.WITHDRAWN, False, True),
        (RecordStatus.WITHDRAWN, True, False),
    ],
)
def test_who_introduced_themselves_may_be_accepted_later(
    refused: RecordStatus, sent: bool, over: bool
) -> None:
    assert Introducing(bytes(32), 0, "", bytes(32) if sent else b"", refused).is_over is over


def test_since_when_nothing_was_found_is_kept_until_something_is(book: ContactBook) -> None:
    alice = add(book, "alice")

    def since() -> int:
        state = book.named("alice").introducing
        assert state is not None
        return state.silent_since

    assert since() == 0
    for hour in range(3):
        book.looked(alice, there=False, wall=NOW + 3600 * hour)
        assert since() == NOW
    book.looked(alice, there=True, wall=NOW)
    assert since() == 0
    book.confirmed(alice, bytes(32), NOW)
    before = book.named("alice")
    book.looked(alice, there=False, wall=NOW)
    assert book.named("alice") == before


# -- what is found out -------------------------------------------------------------------------------------------


def test_what_was_found_is_kept_and_written_only_when_it_is_new(book: ContactBook, state: PlainFiles) -> None:
    bob = add(book)
    assert book.found(bob, HERE) == ()
    assert book.named("bob").whereabouts == HERE
    inode = (state.path / CONTACTS_FILE).stat().st_ino
    book.found(bob, HERE)
    assert (state.path / CONTACTS_FILE).stat().st_ino == inode
    book.found(bob, msgspec.structs.replace(HERE, revision=4, places=()))
    assert book.named("bob").whereabouts == HERE, "an older record says nothing"
    book.remove("bob")
    assert book.found(bob, HERE) == ()
    assert list(book) == [], "who was removed meanwhile does not come back"


def test_missed_calls_are_told_once_and_tries_until_the_two_spoke(book: ContactBook) -> None:
    bob, minute = add(book), int(NOW) // 60
    assert book.found(bob, HERE, told=(minute - 10, minute - 20), wall=NOW) == (minute - 20, minute - 10)
    assert book.found(bob, HERE, told=(minute - 10, minute - 20), wall=NOW) == ()
    book.missed_call(bob, NOW)
    assert book.named("bob").missed == (minute - 20, minute - 10, minute)
    book.not_heard(bob, NOW)
    assert book.named("bob").tries == (minute,)
    book.spoken(bob)
    assert book.named("bob").tries == ()


def test_blocking_and_hours(book: ContactBook) -> None:
    add(book)
    before = book.named("bob")
    book.set_hours("bob", (480, 1320))
    book.block("Bob", SystemEntropy())
    after = book.named("bob")
    assert (after.blocked, after.hours) == (True, (480, 1320))
    assert after.token(POINTS[0], 1) != before.token(POINTS[0], 1)
    book.unblock("bob")
    assert not book.named("bob").blocked
    for act in (book.unblock, lambda name: book.block(name, SystemEntropy())):
        with pytest.raises(MisuseError, match="no contact of that name"):
            act("carol")


# -- the file ----------------------------------------------------------------------------------------------------


def test_what_a_voice_was_found_to_be_is_kept_until_the_contact_goes(book: ContactBook) -> None:
    bob = add(book)
    kept_now = book.judge(bob, lambda trust: trust.compared(End.AGENT, End.AGENT, NOW))
    assert kept_now.verified_between(End.AGENT, End.AGENT) is not None
    # What changes is what is kept now, and not what the caller saw before.
    assert book.judge(bob, lambda trust: trust.doubted(Doubt.TAMPERED, NOW)).verified == kept_now.verified
    assert book.named("bob").trust.doubts
    book.judge(bob, lambda trust: trust.with_pgp("A" * 40))
    introducing = Introducing(bytes(32), 0)
    anew = book.begin_anew("bob", OTHER_KEY, introducing, POINTS, SystemEntropy())
    assert anew.trust == VoiceTrust(pgp="A" * 40), "somebody else's voice, and the same person's key"
    book.remove("bob")
    assert book.judge(anew, VoiceTrust.begun_anew) == anew.trust
    assert list(book) == []


def test_a_file_of_the_version_before_is_read_and_written_as_the_newest(
    book: ContactBook, state: PlainFiles
) -> None:
    bob = add(book)
    content = msgspec.json.decode(state.read(CONTACTS_FILE) or b"")
    del content["contacts"][0]["trust"]
    content["contacts"][0]["introducing"]["offers"] = [{"secret": "AAAA", "sent_at": 1}]
    state.write(CONTACTS_FILE, msgspec.json.encode({**content, "version": 2}))
    before = ContactBook(state)
    before.refresh()
    assert list(before) == [bob]
    assert before.named("bob").trust == VoiceTrust()
    before.set_hours("bob", (1, 2))
    written = msgspec.json.decode(state.read(CONTACTS_FILE) or b"")
    assert written["version"] == FILE_VERSION == 4


def test_another_process_change_is_seen_and_an_own_one_is_no_news(
    book: ContactBook, state: PlainFiles
) -> None:
    other = ContactBook(state)
    assert not other.refresh()
    add(book)
    assert not book.refresh()
    assert other.refresh()
    assert not other.refresh()
    assert other.find("bob") == book.find("bob")


def test_what_fails_half_way_leaves_nothing_behind(book: ContactBook) -> None:
    book.invite(kept())
    with pytest.raises(MisuseError):
        book.accept("77", "carol", SystemEntropy())
    assert [one.id for one in book.invitations] == ["01"]


def test_the_file_is_the_owners_alone(book: ContactBook, state: PlainFiles) -> None:
    add(book)
    assert stat.S_IMODE((state.path / CONTACTS_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is damaged"),
        (b'{"contacts": 5}', "is damaged"),
        (b'{"people": []}', "is damaged"),
        (b"\xff", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"contacts": [{"\xff": 1}]}', "is damaged"),
        (b'{"contacts": [{"name": ' + b"[" * 5000, "is damaged"),
        (b'{"version": 2, "contacts": [{}]}', "is damaged"),
        (b'{"version": 3, "contacts": [], "listing": {"trust": {}}}', "is damaged"),
        (b'{"version": 3, "contacts": [{"introducing": {"offers": []}}]}', "is damaged"),
        (b'{"version": 4, "contacts": [{"introducing": {"offers": []}}]}', "is damaged"),
        (b'{"contacts": []}', "is of an earlier version"),
        (b'{"contacts": [{"name": "bob", "role": "inviter"}]}', "is of an earlier version"),
        (b'{"version": 5, "contacts": []}', "by a newer version"),
    ],
)
def test_a_file_of_no_use_is_one_sentence_and_stays(
    book: ContactBook, state: PlainFiles, content: bytes, said: str
) -> None:
    state.write(CONTACTS_FILE, content)
    with pytest.raises(ConfigurationError, match=rf"contacts.json in the state directory .*{said}"):
        book.refresh()
    with pytest.raises(ConfigurationError):
        add(book)
    assert state.read(CONTACTS_FILE) == content


_WRITER = """
import sys
from pathlib import Path
from relay.agent.contact_file import Introducing
from relay.agent.contacts import ContactBook
from relay.agent.kept import PlainFiles
from relay.core import SystemEntropy
book, entropy = ContactBook(PlainFiles(Path(sys.argv[1]))), SystemEntropy()
for number in range(20):
    introducing = Introducing(entropy.token(32), 0)
    book.add(f"{sys.argv[2]}{number}", entropy.token(32), introducing, ("a" * 56,), entropy)
"""


def test_two_processes_that_write_at_once_lose_nothing(book: ContactBook, tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), who]) for who in ("x", "y")]
    for number in range(20):
        add(book, f"z{number}", SystemEntropy().token(32))
    assert [writer.wait(30) for writer in writers] == [0, 0]
    book.refresh()
    assert {contact.name for contact in book} == {f"{who}{number}" for who in "xyz" for number in range(20)}


def test_contacts_that_are_gone_from_the_vault_are_no_empty_book(tmp_path: Path) -> None:
    files = new_vault(tmp_path)
    book = ContactBook(files)
    assert not book.refresh()
    files.write(CONTACTS_FILE, write_book(Book()))
    (tmp_path / "vault" / files.vault.file_name(CONTACTS_FILE)).unlink()
    with pytest.raises(Damaged, match="gone"):
        ContactBook(files).refresh()
    assert files.damaged()
