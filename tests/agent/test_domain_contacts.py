"""Contacts that domains name: book and pins go together, also where a command was stopped in between."""

from pathlib import Path

import pytest

from relay.agent import domain_pins
from relay.agent.contact_file import Introducing
from relay.agent.contacts import ContactBook
from relay.agent.domain_contacts import DomainContacts
from relay.agent.domain_pins import DOMAINS_FILE, DomainPins
from relay.agent.domains import Account, Found
from relay.agent.kept import PlainFiles
from relay.core import MisuseError, SeededEntropy
from relay.forward_publish import LISTING_SECRET
from relay.identity import Identity, Invitation, InvitationKind

ALICE, BOB = Account("alice", "example.org"), Account("bob", "example.org")
HERS, ANOTHERS = (Identity.generate(SeededEntropy(name)) for name in ("alice", "another"))
OURS = ("abcdefgh" * 7,)
NOW = 1_800_000_000.0


class Bench:
    def __init__(self, path: Path) -> None:
        self.state = PlainFiles(path)
        self.entropy = SeededEntropy("bench")
        self.book = ContactBook(self.state)
        self.pins = DomainPins(self.state)
        self.people = DomainContacts(self.book, self.pins)

    def add(self, name: str = "alice", who: Identity = HERS, account: Account = ALICE) -> None:
        found = Found(account, who.public_key, who.sip_uri("x"))
        self.people.add(name, found, "Bob", OURS, NOW, self.entropy)

    def change(self, who: Identity = ANOTHERS, href: str = "") -> None:
        self.pins.note(Found(ALICE, who.public_key, href or who.sip_uri("x")), NOW)

    def accept(self, address: str = ANOTHERS.address) -> None:
        self.people.accept_change("ALICE", address, "Bob", OURS, NOW, self.entropy)

    def doubt(self, name: str = "alice") -> str:
        return self.people.doubt(self.book.named(name))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state")


def test_who_was_found_is_added_and_pinned(bench: Bench) -> None:
    bench.add()
    contact = bench.book.named("alice")
    assert (contact.account, contact.public_key, contact.home) == (ALICE.text, HERS.public_key, OURS)
    assert contact.introducing == Introducing(LISTING_SECRET, 0, "Bob")
    pin = bench.people.pin(contact)
    assert pin is not None
    assert (pin.address, pin.since) == (HERS.address, int(NOW))
    assert bench.doubt() == ""
    assert bench.people.alarm(contact) is None


def test_an_account_is_one_contact(bench: Bench) -> None:
    bench.add()
    with pytest.raises(MisuseError, match="that account is one of your contacts"):
        bench.add("alice2", ANOTHERS)
    with pytest.raises(MisuseError, match="of that name"):
        bench.book.check_new("Alice", "")
    with pytest.raises(MisuseError, match="that account"):
        bench.book.check_new("carol", ALICE.text)
    bench.book.check_new("carol", BOB.text)
    assert [pin.address for pin in bench.pins.all()] == [HERS.address]


def test_what_a_stopped_command_left_is_no_alarm(bench: Bench) -> None:
    bench.change(ANOTHERS)
    bench.add()
    assert bench.doubt() == ""


def test_without_room_for_a_pin_there_is_no_contact(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_pins, "MOST_PINS", 0)
    with pytest.raises(MisuseError, match="too many"):
        bench.add()
    assert not list(bench.book)


def test_another_address_is_a_doubt_until_it_is_accepted(bench: Bench) -> None:
    bench.add()
    bench.book.set_hours("alice", (60, 120))
    old = bench.book.named("alice")
    bench.change()
    assert "accept-change" in bench.doubt()
    assert bench.people.alarm(old) is not None
    bench.accept()
    new = bench.book.named("alice")
    assert bench.doubt() == ""
    assert new.public_key == ANOTHERS.public_key
    assert (new.name, new.account, new.hours) == ("alice", ALICE.text, (60, 120))
    assert new.id != old.id
    assert new.token_root != old.token_root, "who had the old key rings nobody"
    assert new.introducing == Introducing(LISTING_SECRET, 0, "Bob")
    with pytest.raises(MisuseError, match="same address as ever"):
        bench.accept()


def test_what_the_two_shared_is_forgotten_with_the_change(bench: Bench) -> None:
    bench.add()
    bench.book.confirmed(bench.book.named("alice"), bytes(range(32)), NOW)
    bench.change()
    bench.accept()
    new = bench.book.named("alice")
    assert (new.secret, new.since, new.whereabouts, new.state) == (b"", 0, None, "introducing")


def test_only_the_address_that_was_shown_is_accepted(bench: Bench) -> None:
    bench.add()
    bench.change()
    with pytest.raises(MisuseError, match="not the address which the domain names"):
        bench.accept(HERS.address)
    with pytest.raises(MisuseError, match="no contact of that name"):
        bench.people.accept_change("carol", HERS.address, "", OURS, NOW, bench.entropy)
    assert bench.book.named("alice").public_key == HERS.public_key


def test_a_change_to_a_standing_invitation_follows_it(bench: Bench) -> None:
    bench.add()
    points = ("bcdefgha" * 7,)
    made = Invitation.generate(InvitationKind.STANDING, ANOTHERS.public_key, points, 0, bench.entropy)
    bench.change(ANOTHERS, made.format())
    bench.accept()
    contact = bench.book.named("alice")
    assert contact.introducing is not None
    assert (contact.introducing.secret, contact.home) == (made.record_secret, points)


def test_a_change_to_somebody_who_is_a_contact_already_is_refused(bench: Bench) -> None:
    bench.add()
    bench.add("other", ANOTHERS, BOB)
    bench.change()
    with pytest.raises(MisuseError, match="remove one of the two"):
        bench.accept()
    assert "accept-change" in bench.doubt()


def test_an_acceptance_that_was_stopped_halfway_is_finished_the_next_time(bench: Bench) -> None:
    bench.add()
    bench.change()
    lead = Introducing(LISTING_SECRET, 0, "")
    bench.book.begin_anew("alice", ANOTHERS.public_key, lead, OURS, bench.entropy)
    assert "accept-change" in bench.doubt(), "not called before it is finished"
    halfway = bench.book.named("alice")
    bench.accept()
    assert bench.book.named("alice") == halfway
    assert bench.doubt() == ""


def test_a_pin_of_somebody_else_is_a_doubt(bench: Bench) -> None:
    bench.add()
    bench.pins.forget(ALICE)
    assert bench.doubt() == "", "nothing speaks against who was found first"
    bench.pins.note(Found(ALICE, ANOTHERS.public_key, ""), NOW)
    assert "is of somebody else" in bench.doubt()


def test_a_damaged_file_is_a_doubt(bench: Bench) -> None:
    bench.add()
    bench.state.write(DOMAINS_FILE, b"{")
    assert "is damaged" in bench.doubt()


def test_who_is_removed_is_forgotten(bench: Bench) -> None:
    bench.add()
    bench.add("bob", ANOTHERS, BOB)
    bench.people.remove("Alice")
    assert [pin.account for pin in bench.pins.all()] == [BOB]
    assert [contact.name for contact in bench.book] == ["bob"]
    with pytest.raises(MisuseError, match="no contact of that name"):
        bench.people.remove("alice")


def test_who_came_without_a_domain_is_never_doubted(bench: Bench) -> None:
    bench.book.add("carol", HERS.public_key, Introducing(LISTING_SECRET, 0), OURS, bench.entropy)
    bench.state.write(DOMAINS_FILE, b"{")
    assert bench.doubt("carol") == ""
    assert bench.people.pin(bench.book.named("carol")) is None
    bench.people.remove("carol")
