"""Following an invitation: first come, late comers, an inviter who is away, introductions that were lost."""

import asyncio
from pathlib import Path

import pytest

from relay.agent import reachability
from relay.agent.contact_file import Introducing, OwnListing
from relay.agent.inbox import MOST_FOR_A_TOKEN
from relay.agent.introducing import RESEND
from relay.agent.invitations import why_not_yet
from relay.agent.lookups import RETRY_LAST
from relay.core import SystemEntropy
from relay.forward_publish import LISTING_SECRET, RecordStatus
from relay.identity import InvitationKind
from tests.agent.halves import CLOCK, DAY, FIRST, Half, Shelf, introduced, running
from tests.agent.virtual_time import in_virtual_time

ONE = RETRY_LAST + 3600.0
"""Seconds within which somebody who looks finds what is there."""
BOTH = 2 * RETRY_LAST + 3600.0
"""And within which two find each other: the one begins to publish when it has found the other."""


@pytest.fixture(autouse=True)
def _few_wakings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of the clock are seconds of the test: nothing here depends on the moment at which a change is noticed."""
    monkeypatch.setattr(reachability, "NOTICE_EVERY", 10.0)


def refused(person: Half, name: str) -> RecordStatus:
    state = person.book.named(name).introducing
    return state.refused if state is not None else RecordStatus.OPEN


def silent(person: Half, name: str) -> bool:
    state = person.book.named(name).introducing
    return state is not None and "nothing was there for days" in why_not_yet(state, CLOCK.wall())


@in_virtual_time
async def test_the_first_is_taken_and_a_late_comer_hears_that_it_was_used(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob, eve = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "eve"))
    invitation = alice.invite("bob")
    bob.add("alice", invitation)
    async with running(alice, bob):
        await asyncio.sleep(900.0)
        assert bob.knows("alice")
        eve.add("alice", invitation)
        async with running(eve):
            await asyncio.sleep(60.0)
    assert refused(eve, "alice") is RecordStatus.USED
    (told,) = eve.events("too-late")
    assert told == {
        "contact": "alice",
        "reason": "the invitation was used by somebody already; ask for a new one",
    }
    assert [contact.name for contact in alice.book] == ["bob"]
    assert alice.book.named("bob").public_key == bob.identity.public_key
    looks = len(shelf.looks)
    eve.begin_anew()
    async with running(eve):
        await asyncio.sleep(DAY)
    assert len(shelf.looks) == looks, "nothing is asked any more"


@in_virtual_time
async def test_of_two_at_once_one_is_taken_and_the_other_hears_it(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob, eve = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "eve"))
    invitation = alice.invite("bob")
    for other in (bob, eve):
        other.add("alice", invitation)
    async with running(alice, bob, eve):
        await asyncio.sleep(6 * 3600.0)
    taken = [other for other in (bob, eve) if other.knows("alice")]
    assert len(taken) == 1
    (late,) = {bob, eve} - set(taken)
    assert refused(late, "alice") is RecordStatus.USED
    assert alice.book.named("bob").public_key == taken[0].identity.public_key


@in_virtual_time
@pytest.mark.parametrize(("lasts", "after"), [(0, 6 * DAY), (7 * DAY, 5 * DAY)])
async def test_who_comes_days_later_hears_that_it_was_used_too(
    tmp_path: Path, lasts: int, after: int
) -> None:
    shelf = Shelf()
    alice, bob, eve = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "eve"))
    invitation = alice.invite("bob", lasts=lasts)
    bob.add("alice", invitation)
    async with running(alice, bob):
        await asyncio.sleep(after)
        assert bob.knows("alice")
        eve.add("alice", invitation)
        async with running(eve):
            await asyncio.sleep(60.0)
    assert refused(eve, "alice") is RecordStatus.USED


@in_virtual_time
async def test_who_finds_nothing_for_days_is_told_once_and_goes_on_looking(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    bob.add("alice", alice.invite("bob", lasts=0))
    async with running(bob):
        shelf.down.add(FIRST)
        await asyncio.sleep(10 * DAY)
        assert not bob.told, "a contact point that is out of reach says nothing of the invitation"
        shelf.down.clear()
        await asyncio.sleep(2 * DAY)
        assert not bob.told
        await asyncio.sleep(10 * DAY)
        (told,) = bob.told
        assert told[0] == "inviter-silent"
        assert "whoever gave it to you is away, or takes nobody by it any more" in str(told[1]["reason"])
        assert silent(bob, "alice")
        async with running(alice):
            await asyncio.sleep(ONE)
            assert bob.knows("alice")


@in_virtual_time
async def test_an_inviter_who_is_heard_of_again_is_silent_no_more(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    bob.add("alice", alice.invite(kind=InvitationKind.STANDING, lasts=0), "Bob")
    async with running(bob):
        await asyncio.sleep(4 * DAY)
        assert silent(bob, "alice")
        async with running(alice):
            await asyncio.sleep(DAY)
            assert not silent(bob, "alice")
        await asyncio.sleep(7 * DAY)
        assert silent(bob, "alice")
        assert len(bob.events("inviter-silent")) == 2


@in_virtual_time
async def test_an_invitation_that_expired_meanwhile_says_so(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    invitation = alice.invite("bob", lasts=3600)
    async with running(alice):
        await asyncio.sleep(3 * 3600.0)
        bob.add("alice", invitation)
        async with running(bob):
            await asyncio.sleep(60.0)
    assert refused(bob, "alice") is RecordStatus.EXPIRED
    assert not list(alice.book)


@in_virtual_time
async def test_an_invitation_that_was_withdrawn_says_so(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    invitation = alice.invite("bob")
    async with running(alice):
        await asyncio.sleep(60.0)
        alice.book.withdraw(alice.book.invitations[0].id, CLOCK.wall())
        await asyncio.sleep(900.0)
        bob.add("alice", invitation)
        async with running(bob):
            await asyncio.sleep(60.0)
    (told,) = bob.events("too-late")
    assert "taken back" in str(told["reason"])


@in_virtual_time
async def test_an_inviter_who_comes_a_day_later_finds_the_introduction(tmp_path: Path) -> None:
    _, alice, bob = introduced(tmp_path)
    async with running(bob):
        await asyncio.sleep(DAY)
        assert not bob.knows("alice")
        async with running(alice):
            await asyncio.sleep(BOTH)
            assert bob.knows("alice")
            assert alice.knows("bob")


@in_virtual_time
async def test_an_introduction_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice):
        await asyncio.sleep(60.0)
    # Her record lies there, and she is away: what is sent to her goes nowhere.
    async with running(bob):
        await asyncio.sleep(3600.0)
        assert shelf.messages
        async with running(alice):
            await asyncio.sleep(6 * 3600.0)
            assert bob.knows("alice")
    state = bob.book.named("alice")
    assert state.introducing is None


@in_virtual_time
async def test_an_inviter_who_was_away_for_most_of_a_day_is_found_whichever_introduction_came(
    tmp_path: Path,
) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    bob.add("alice", alice.invite(kind=InvitationKind.STANDING), "Bob")
    async with running(bob):
        async with running(alice):
            await asyncio.sleep(120.0)
        # She is away, and what he sends again goes nowhere; what came before counts as much.
        await asyncio.sleep(20 * 3600.0)
        alice.book.accept(alice.book.requests[0].id, "bob", SystemEntropy())
        async with running(alice):
            await asyncio.sleep(BOTH)
            assert bob.knows("alice")
            assert alice.knows("bob")
    assert alice.book.named("bob").secret == bob.book.named("alice").secret


@in_virtual_time
async def test_who_took_an_introduction_and_left_at_once_is_found_when_they_are_back(tmp_path: Path) -> None:
    _, alice, bob = introduced(tmp_path)
    async with running(bob):
        async with running(alice):
            while not list(alice.book):  # noqa: ASYNC110 - the moment at which she takes it
                await asyncio.sleep(0.1)
        await asyncio.sleep(3600.0)
        async with running(alice):
            await asyncio.sleep(6 * 3600.0)
            assert bob.knows("alice")
    assert not bob.events("too-late")


@in_virtual_time
async def test_who_used_an_invitation_is_not_turned_away_while_the_contact_record_finds_no_room(
    tmp_path: Path,
) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        while not shelf.puts:  # noqa: ASYNC110 - the moment at which the invitation's record is out
            await asyncio.sleep(0.1)
        shelf.full = True
        await asyncio.sleep(DAY)
        assert [contact.name for contact in alice.book] == ["bob"]
        assert not bob.knows("alice")
        assert not bob.events("too-late"), "the record that says so says by whom it was used"
        shelf.full = False
        await asyncio.sleep(ONE)
        assert bob.knows("alice")


@in_virtual_time
@pytest.mark.parametrize("lasts", [3600, 2 * DAY])
async def test_a_yes_is_heard_of_also_after_the_invitation_ended(tmp_path: Path, lasts: int) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    bob.add("alice", alice.invite(kind=InvitationKind.STANDING, lasts=lasts), "Bob")
    async with running(bob):
        async with running(alice):
            await asyncio.sleep(120.0)
        await asyncio.sleep(4 * DAY)
        assert refused(bob, "alice") is RecordStatus.EXPIRED
        assert len(bob.events("too-late")) == 1
        sent = len(shelf.messages)
        alice.book.accept(alice.book.requests[0].id, "bob", SystemEntropy())
        async with running(alice):
            await asyncio.sleep(BOTH)
            assert bob.knows("alice")
            assert alice.knows("bob")
        assert len(shelf.messages) == sent, "nobody is asked again by what ended"


@in_virtual_time
async def test_a_message_from_the_inviter_shows_that_we_were_taken(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        shelf.refusing = False
        while not alice.knows("bob"):  # noqa: ASYNC110 - the first moment at which she could ring
            await asyncio.sleep(0.1)
        shelf.refusing = True
        hers = alice.book.named("bob")
        assert hers.whereabouts is not None
        (place,) = hers.whereabouts.places
        note = alice.correspondence.seal_note(hers, b"")
        await shelf.send(place.onion, place.token, note)
        await asyncio.sleep(1.0)
        assert bob.book.named("alice").secret == hers.secret
        assert bob.book.named("alice").state == "known"


@in_virtual_time
@pytest.mark.parametrize("policy", ["ask"])
async def test_by_a_standing_invitation_many_ask_and_the_owner_decides(tmp_path: Path, policy: str) -> None:
    shelf = Shelf()
    alice, bob, carol = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "carol"))
    invitation = alice.invite(kind=InvitationKind.STANDING)
    bob.add("alice", invitation, "Bob of the harbour")
    carol.add("alice", invitation, "Carol")
    async with running(alice, bob, carol):
        await asyncio.sleep(3 * 3600.0)
        assert not list(alice.book)
        waiting = {request.name: request for request in alice.book.requests}
        assert waiting.keys() == {"Bob of the harbour", "Carol"}
        assert len(alice.events("introduction")) == 2, "asked once, however often they introduce themselves"
        alice.book.accept(waiting["Bob of the harbour"].id, "bob", SystemEntropy())
        alice.book.refuse(waiting["Carol"].id)
        await asyncio.sleep(4 * 3600.0)
        assert bob.knows("alice")
        assert alice.knows("bob")
        assert not carol.knows("alice")
        assert not carol.told


@in_virtual_time
async def test_a_crowd_of_strangers_closes_no_listing_and_the_owner_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.contacts.MOST_REQUESTS", 3)
    shelf = Shelf()
    alice, bob, carol = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "carol"))
    strangers = [Half(tmp_path, f"stranger {number}", shelf) for number in range(MOST_FOR_A_TOKEN)]
    listing = OwnListing("Alice", "", (), ("en",), SystemEntropy().token(32), int(CLOCK.wall()))
    alice.book.set_listing(listing)
    for other in (*strangers, carol):
        introducing = Introducing(LISTING_SECRET, 0, other.name)
        other.book.add("alice", alice.identity.public_key, introducing, (FIRST,), SystemEntropy())
    bob.add("alice", alice.invite(kind=InvitationKind.STANDING), "bob")
    async with running(alice):
        async with running(bob):
            await asyncio.sleep(60.0)
        async with running(*strangers):
            await asyncio.sleep(0.6 * RESEND)
        assert len(alice.events("introductions-crowded")) == 1, "told once, not for each"
        assert alice.introductions.counters["gave way"] == 2
        async with running(carol):
            await asyncio.sleep(60.0)
            waiting = {request.name: request.id for request in alice.book.requests}
            assert len(waiting) == 3
            assert {"bob", "carol"} < waiting.keys()
            alice.book.accept(waiting["carol"], "carol", SystemEntropy())
            alice.book.accept(waiting["bob"], "bob", SystemEntropy())
            await asyncio.sleep(3600.0)
            assert carol.knows("alice")


@in_virtual_time
async def test_who_accepts_everybody_gives_names_that_a_phone_can_dial(tmp_path: Path) -> None:
    shelf = Shelf()
    alice = Half(tmp_path, "alice", shelf, policy="always")
    invitation = alice.invite(kind=InvitationKind.STANDING, lasts=0)
    others = {
        name: Half(tmp_path, str(number), shelf) for number, name in enumerate(("Bob!", "bob", "\u202e"))
    }
    for name, other in others.items():
        other.add("alice", invitation, name if name.isprintable() else "")
    async with running(alice, *others.values()):
        await asyncio.sleep(600.0)
        assert all(other.knows("alice") for other in others.values())
    assert sorted(contact.name.casefold() for contact in alice.book) == ["bob", "bob-2", "somebody"]


@in_virtual_time
async def test_a_listing_is_enough_to_ask(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob = (Half(tmp_path, name, shelf) for name in ("alice", "bob"))
    listing = OwnListing("Alice", "", (), ("en",), SystemEntropy().token(32), int(CLOCK.wall()))
    alice.book.set_listing(listing)
    bob.book.add(
        "alice", alice.identity.public_key, Introducing(LISTING_SECRET, 0, "Bob"), (FIRST,), SystemEntropy()
    )
    async with running(alice, bob):
        await asyncio.sleep(120.0)
        (request,) = alice.book.requests
        assert (request.name, request.invitation) == ("Bob", "")
        alice.book.accept(request.id, "bob", SystemEntropy())
        await asyncio.sleep(2 * 3600.0)
        assert bob.knows("alice")
