"""What was found first stays, whatever the domain says later, until the user says otherwise."""

import stat
from pathlib import Path

import msgspec
import pytest

from relay.agent import domain_pins
from relay.agent.domain_pins import DOMAINS_FILE, Changed, DomainPins, Pinned, Unchanged
from relay.agent.domains import Account, Found
from relay.agent.kept import PlainFiles
from relay.core import ConfigurationError, MisuseError, RefusedByPolicy, SeededEntropy
from relay.identity import Identity

ALICE = Account("alice", "example.org")
BOB = Account("bob", "example.org")
HERS, ANOTHERS = (Identity.generate(SeededEntropy(name)) for name in ("alice", "another"))
NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    directory = PlainFiles(tmp_path / "state")
    return directory


def found(identity: Identity = HERS, account: Account = ALICE, *, name: str = "alice") -> Found:
    return Found(account, identity.public_key, identity.sip_uri(name))


def test_the_first_answer_is_pinned_and_found_again(state: PlainFiles) -> None:
    pins = DomainPins(state)
    assert pins.to_call(ALICE) is None
    first = pins.note(found(), NOW)
    assert isinstance(first, Pinned)
    assert (first.pin.account, first.pin.address, first.pin.since) == (ALICE, HERS.address, int(NOW))
    again = DomainPins(state)
    kept = msgspec.structs.replace(first.pin, checked_at=int(NOW) + 1)
    assert again.note(found(), NOW + 1) == Unchanged(kept)
    assert again.to_call(ALICE) == kept == pins.to_call(ALICE)
    assert again.to_call(BOB) is None
    assert HERS.address not in repr(first)
    assert stat.S_IMODE((state.path / DOMAINS_FILE).stat().st_mode) == 0o600


def test_another_address_is_an_alarm_and_nobody_is_called(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.note(found(), NOW)
    for _ in range(2):
        changed = pins.note(found(ANOTHERS), NOW + 1)
        assert isinstance(changed, Changed)
        assert (changed.pin.address, changed.pin.offered) == (HERS.address, ANOTHERS.address)
        for reader in (pins, DomainPins(state)):
            with pytest.raises(RefusedByPolicy, match="'bayonne contact accept-change NAME'"):
                reader.to_call(ALICE)


def test_the_user_accepts_what_the_alarm_showed_and_nothing_else(state: PlainFiles) -> None:
    pins = DomainPins(state)
    with pytest.raises(MisuseError, match="no change to accept"):
        pins.accept_change(ALICE, ANOTHERS.address, NOW)
    pins.note(found(), NOW)
    with pytest.raises(MisuseError, match="no change to accept"):
        pins.accept_change(ALICE, ANOTHERS.address, NOW)
    pins.note(found(ANOTHERS), NOW)
    with pytest.raises(MisuseError, match="yet another address"):
        pins.accept_change(ALICE, HERS.address, NOW)
    pin = pins.accept_change(ALICE, ANOTHERS.address, NOW + 2)
    assert (pin.address, pin.offered, pin.since) == (ANOTHERS.address, "", int(NOW) + 2)
    assert pins.to_call(ALICE) == pin
    assert isinstance(pins.note(found(), NOW), Changed)


def test_a_domain_that_names_the_old_address_again_ends_its_alarm(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.note(found(), NOW)
    pins.note(found(ANOTHERS), NOW)
    assert isinstance(pins.note(found(), NOW), Unchanged)
    pin = pins.to_call(ALICE)
    assert pin is not None
    assert pin.address == HERS.address


def test_another_link_to_the_same_person_is_no_alarm(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.note(found(), NOW)
    unchanged = pins.note(found(name="office"), NOW + 9)
    assert isinstance(unchanged, Unchanged)
    assert unchanged.pin.href == HERS.sip_uri("office")
    assert unchanged.pin.since == int(NOW)


def test_who_is_not_published_any_more_is_news_once(state: PlainFiles) -> None:
    pins = DomainPins(state)
    assert not pins.note_withdrawn(ALICE, NOW), "nobody was pinned"
    pins.note(found(), NOW)
    assert [pins.note_withdrawn(ALICE, NOW + 1) for _ in range(2)] == [True, False]
    pin = pins.to_call(ALICE)
    assert pin is not None
    assert (pin.withdrawn, pin.address, pin.checked_at) == (True, HERS.address, int(NOW) + 1)
    again = pins.note(found(), NOW + 2)
    assert isinstance(again, Unchanged)
    assert not again.pin.withdrawn


def test_the_next_question_is_remembered(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.plan(ALICE, NOW)
    assert pins.all() == ()
    pins.note(found(), NOW)
    pins.plan(ALICE, NOW + 99.9)
    pins.note(found(ANOTHERS), NOW)
    pins.accept_change(ALICE, ANOTHERS.address, NOW)
    pin = DomainPins(state).find(ALICE)
    assert pin is not None
    assert pin.check_at == int(NOW) + 99


def test_a_lost_pin_is_made_anew_of_who_is_known(state: PlainFiles) -> None:
    pins = DomainPins(state)
    assert pins.find_or_pin(found(), NOW).address == HERS.address
    assert pins.find_or_pin(found(ANOTHERS), NOW).address == HERS.address
    assert isinstance(pins.note(found(ANOTHERS), NOW), Changed)


def test_capitals_lead_around_no_pin(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.note(found(), NOW)
    assert isinstance(pins.note(found(ANOTHERS, Account.parse("ALICE@EXAMPLE.ORG")), NOW), Changed)


def test_who_is_forgotten_is_found_for_the_first_time_again(state: PlainFiles) -> None:
    pins = DomainPins(state)
    pins.forget(ALICE)
    pins.note(found(), NOW)
    pins.note(found(ANOTHERS, BOB), NOW)
    pins.forget(ALICE)
    assert [pin.account for pin in pins.all()] == [BOB]
    assert isinstance(pins.note(found(ANOTHERS), NOW), Pinned)


def test_pins_have_a_bound(state: PlainFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_pins, "MOST_PINS", 1)
    pins = DomainPins(state)
    pins.note(found(), NOW)
    with pytest.raises(MisuseError, match="too many"):
        pins.note(found(account=BOB), NOW)
    assert isinstance(pins.note(found(), NOW), Unchanged)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pins": [{}]}', b"\xff"])
def test_a_damaged_file_is_not_passed_over(state: PlainFiles, content: bytes) -> None:
    state.write(DOMAINS_FILE, content)
    pins = DomainPins(state)
    for attempt in (lambda: pins.to_call(ALICE), lambda: pins.note(found(), NOW)):
        with pytest.raises(ConfigurationError, match="is damaged"):
            attempt()
    assert state.read(DOMAINS_FILE) == content
