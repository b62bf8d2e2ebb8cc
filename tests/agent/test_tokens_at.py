"""Which tokens are bound where, and whose each is."""

from pathlib import Path

import pytest

from relay.agent.contact_file import KeptInvitation, OwnListing
from relay.agent.contacts import ContactBook
from relay.agent.kept import PlainFiles
from relay.agent.regrouping import token_life
from relay.agent.tokens_at import LINGERS, TokensAt
from relay.core import ManualClock, SystemEntropy
from relay.forward_publish import PERIOD, current_period
from relay.identity import InvitationKind
from tests.agent.people import acquaint

A, B = "a" * 56, "b" * 56
NOON = 20833 * PERIOD + PERIOD / 2


def tokens(directory: Path) -> tuple[ContactBook, TokensAt, ManualClock]:
    state = PlainFiles(directory)
    book, clock = ContactBook(state), ManualClock()
    clock.advance(NOON - clock.wall())
    return book, TokensAt(book, (A, B), clock), clock


def invite(book: ContactBook, name: str, expires: int = 0) -> KeptInvitation:
    kind = InvitationKind.ONCE if name else InvitationKind.STANDING
    made = KeptInvitation(
        SystemEntropy().token(4).hex(), kind, bytes(32), SystemEntropy().token(32), name, 0, expires
    )
    book.invite(made)
    return made


def test_everybody_has_tokens_of_their_own_at_each_contact_point(tmp_path: Path) -> None:
    book, at, clock = tokens(tmp_path)
    people = [acquaint(book, f"bob{n}", bytes([n]) * 32, bytes(32), clock.wall()) for n in range(3)]
    period = current_period(clock.wall())
    wanted = at.wanted()
    assert wanted.keys() == {A, B}
    seen = [person.token(onion, period).token for person in people for onion in (A, B)]
    assert len(set(seen)) == 6
    for person in people:
        for onion in (A, B):
            token = person.token(onion, period)
            assert wanted[onion][token.token] == token
            assert at.owner(token.token) == person
    assert at.owner("t" * 52) is None
    assert not at.alone


def test_what_strangers_may_know_rides_alone(tmp_path: Path) -> None:
    book, at, clock = tokens(tmp_path)
    acquaint(book, "bob", bytes(32), bytes(32), clock.wall())
    once, standing = invite(book, "carol"), invite(book, "")
    listing = OwnListing("Alice", "", (), (), SystemEntropy().token(32), 0)
    book.set_listing(listing)
    at.wanted()
    period = current_period(clock.wall())
    known = {
        owner.token(onion, period).token: owner for owner in (once, standing, listing) for onion in (A, B)
    }
    assert known.keys() <= at.alone
    for token, owner in known.items():
        assert at.owner(token) == owner


def test_each_token_comes_and_goes_at_its_own_moment_and_is_known_by_its_period(tmp_path: Path) -> None:
    book, at, clock = tokens(tmp_path)
    people = [acquaint(book, f"bob{n}", bytes([n]) * 32, bytes(32), clock.wall()) for n in range(4)]
    moments, before = [], at.wanted()
    while clock.wall() < NOON + PERIOD:
        # What was said holds until a second before, and no longer.
        quiet = at.quiet_for(PERIOD)
        clock.advance(max(0.0, quiet - 1.0))
        assert at.wanted() == before
        clock.advance(min(1.0, quiet))
        after = at.wanted()
        assert after != before
        moments.append(clock.wall())
        before = after
    lives = [
        moment
        for person in people
        for onion in (A, B)
        for period in (current_period(NOON), current_period(NOON) + 1)
        for moment in token_life(person.token_root, onion, period)
        if NOON < moment < NOON + PERIOD
    ]
    assert len(lives) == 16
    assert moments[:16] == pytest.approx(sorted(lives), abs=0.01)
    assert {at.periods[token] for tokens in before.values() for token in tokens} == set(at.periods.values())
    assert at.quiet_for(0.0) == 0.0


def test_who_is_blocked_and_what_has_ended_is_bound_no_more(tmp_path: Path) -> None:
    book, at, clock = tokens(tmp_path)
    bob = acquaint(book, "bob", bytes(32), bytes(32), clock.wall())
    old, withdrawn = invite(book, "carol", int(clock.wall()) + 60), invite(book, "dave")
    before = at.wanted()[A]
    book.block("bob", SystemEntropy())
    book.withdraw(withdrawn.id, clock.wall())
    book.set_listing(OwnListing("Alice", "", (), (), bytes(32), 0, withdrawn_at=1))
    period = current_period(clock.wall())
    token = bob.token(A, period).token
    assert token in before
    assert at.owner(token) is None, "at once, although its flow may still carry it"
    theirs = {old.token(A, period).token, withdrawn.token(A, period).token}
    assert theirs <= before.keys()
    clock.advance(61.0 + LINGERS[0])
    assert at.wanted()[A].keys() == theirs, "they do not go when somebody came by one of them"
    clock.advance(LINGERS[1])
    assert at.wanted() == {A: {}, B: {}}


def test_each_period_has_its_tokens_and_they_overlap(tmp_path: Path) -> None:
    book, at, clock = tokens(tmp_path)
    acquaint(book, "bob", bytes(32), bytes(32), clock.wall())
    counts = []
    for _ in range(48):
        counts.append(len(at.wanted()[A]))
        period = current_period(clock.wall())
        assert book.named("bob").token(A, period).token in at.wanted()[A]
        clock.advance(3600.0)
    assert set(counts) <= {1, 2, 3}
    assert 2 in counts
