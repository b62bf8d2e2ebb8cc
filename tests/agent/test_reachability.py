"""Publishing and looking up, on a schedule, never at call time: as people meet, and for days after."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from relay.agent import reachability
from relay.agent.lookups import EVERY as LOOK_EVERY
from relay.agent.lookups import LAST_RESORT
from relay.agent.missed import SOON
from relay.agent.reachability import NOTICE_EVERY
from relay.agent.regrouping import LATE
from relay.core import SystemEntropy
from relay.forward_publish import PERIOD, EntryKind, StoredRecord, current_period, record_key
from relay.forward_publish.publication import EVERY
from tests.agent.halves import CLOCK, FIRST, SECOND, THIRD, Half, Shelf, introduced, running
from tests.agent.virtual_time import in_virtual_time


@pytest.fixture(autouse=True)
def _few_wakings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of the clock are seconds of the test: all but one depend on no moment at which a change is noticed."""
    monkeypatch.setattr(reachability, "NOTICE_EVERY", 10.0)


def puts_of(shelf: Shelf, person: Half, name: str, onion: str = FIRST) -> list[tuple[float, StoredRecord]]:
    """When which pairwise records of that person for that contact were taken."""
    secret = person.book.named(name).secret
    today = current_period(CLOCK.wall())
    keys = {record_key(person.identity.public_key, secret, today + day) for day in range(-6, 2)}
    return [
        (at, entry)
        for at, where, entry in shelf.puts
        if where == onion and isinstance(entry, StoredRecord) and entry.key in keys
    ]


@in_virtual_time
async def test_two_new_contacts_are_ready_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachability, "NOTICE_EVERY", NOTICE_EVERY)
    _, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(15.0)
        assert alice.knows("bob")
        assert bob.knows("alice")
    assert alice.told == [("introduced", {"contact": "bob"}), ("contact-ready", {"contact": "bob"})]
    assert bob.told == [("contact-ready", {"contact": "alice"})]
    hers, his = alice.book.named("bob"), bob.book.named("alice")
    assert hers.secret == his.secret
    assert (hers.state, his.state) == ("known", "known")
    assert hers.public_key == bob.identity.public_key
    period = current_period(CLOCK.wall())
    assert hers.whereabouts is not None
    assert [(place.onion, place.token) for place in hers.whereabouts.places] == [
        (FIRST, his.token(FIRST, period).token)
    ]
    assert hers.whereabouts.prekey == bob.prekeys.current(CLOCK.wall()).public


@in_virtual_time
async def test_a_full_disk_ends_nothing_and_what_is_found_is_kept_later(tmp_path: Path) -> None:
    _, alice, bob = introduced(tmp_path)
    bob.disk.full = True
    async with running(alice, bob):
        await asyncio.sleep(3600.0)
        assert not bob.knows("alice")
        assert bob.disk.refused
        bob.disk.full = False
        await asyncio.sleep(3600.0)
        assert bob.knows("alice")
        whereabouts = bob.book.named("alice").whereabouts
        assert whereabouts is not None
        bob.disk.full = True
        # Records of two more days are found, of which none can be kept: the agent only goes on.
        await asyncio.sleep(2 * PERIOD)
        bob.disk.full = False
        await asyncio.sleep(PERIOD / 2)
        found = bob.book.named("alice").whereabouts
        assert found is not None
        assert found.period >= whereabouts.period + 2


@in_virtual_time
async def test_nothing_is_published_before_its_token_is_taken_up(tmp_path: Path) -> None:
    shelf, alice, _ = introduced(tmp_path)
    async with running(alice):
        alice.online = False
        await asyncio.sleep(1800.0)
        assert not shelf.puts
        alice.online = True
        await asyncio.sleep(130.0)
        assert len(shelf.puts) == 1


@in_virtual_time
async def test_records_are_renewed_in_time_and_each_period_has_its_own(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        for _ in range(2 * 24 * 4):
            await asyncio.sleep(900.0)
            for person, other in ((alice, bob), (bob, alice)):
                contact = person.book.named(other.name)
                assert contact.callable_at(CLOCK.wall()), "at every moment, without a lookup"
                assert contact.whereabouts is not None
                old = CLOCK.wall() - (contact.whereabouts.period + 1) * PERIOD
                assert old < LATE[0] + 2.5 * 3600.0
    for person, other in ((alice, bob), (bob, alice)):
        records = [record for _, record in puts_of(shelf, person, other.name)]
        assert len({record.period for record in records}) >= 3
        assert len(records) <= 2 * PERIOD / (EVERY / 2) + 6
        revisions = [record.revision for record in records]
        assert revisions == sorted(revisions)


@in_virtual_time
async def test_a_contact_is_looked_up_about_four_times_a_day(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(3600.0)
        before = len(shelf.looks)
        await asyncio.sleep(2 * PERIOD)
    a_day = (len(shelf.looks) - before) / 2 / 2
    assert 3.0 <= a_day <= 8.0


@in_virtual_time
async def test_after_a_restart_a_contact_can_be_called_before_anything_was_looked_up(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(60.0)
    alice.begin_anew()
    alice.told.clear()
    looks = len(shelf.looks)
    async with running(alice):
        await asyncio.sleep(0.1)
        assert alice.told == [("contact-ready", {"contact": "bob"})]
        assert len(shelf.looks) == looks
        await asyncio.sleep(LOOK_EVERY[1])
        assert len(shelf.looks) > looks


@in_virtual_time
async def test_at_a_restart_records_of_known_contacts_do_not_go_out_together(tmp_path: Path) -> None:
    shelf = Shelf()
    alice = Half(tmp_path, "alice", shelf)
    others = [Half(tmp_path, f"bob{number}", shelf) for number in range(6)]
    for other in others:
        other.add("alice", alice.invite(other.name))
    async with running(alice, *others):
        await asyncio.sleep(2 * 3600.0)
    alice.begin_anew()
    shelf.puts.clear()
    async with running(alice):
        await asyncio.sleep(660.0)
    times = sorted(at for at, _, _ in shelf.puts)
    assert len(times) == 2 * len(others), "theirs, and those of the invitations that they used"
    assert times[-1] - times[0] > 100.0


@in_virtual_time
async def test_several_contact_points_get_the_record_at_times_of_their_own(tmp_path: Path) -> None:
    points = (FIRST, SECOND, THIRD)
    shelf, alice, bob = introduced(tmp_path, *points)
    async with running(alice, bob):
        await asyncio.sleep(PERIOD)
    contact = bob.book.named("alice")
    assert contact.whereabouts is not None
    assert tuple(place.onion for place in contact.whereabouts.places) == points
    times = {onion: [at for at, _ in puts_of(shelf, alice, "bob", onion)] for onion in points}
    assert all(len(found) >= 4 for found in times.values())
    later = {onion: [at for at in found if at > found[0] + 3600.0] for onion, found in times.items()}
    gaps = [abs(one - other) for one in later[FIRST] for other in later[SECOND]]
    assert min(gaps) > 1.0


@in_virtual_time
async def test_one_contact_point_that_is_down_does_not_hide_the_others(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path, FIRST, SECOND)
    shelf.down = {FIRST}
    async with running(alice, bob):
        await asyncio.sleep(120.0)
        assert alice.knows("bob")
        assert bob.knows("alice")
        whereabouts = bob.book.named("alice").whereabouts
        assert whereabouts is not None
        assert [place.onion for place in whereabouts.places] == [SECOND]
        shelf.down = set()
        await asyncio.sleep(2 * SOON[1] + LOOK_EVERY[1])
        whereabouts = bob.book.named("alice").whereabouts
        assert whereabouts is not None
        assert [place.onion for place in whereabouts.places] == [FIRST, SECOND], "it is told without delay"


def apart(directory: Path) -> tuple[Shelf, Half, Half]:
    """As `introduced`, each with a contact point of its own: alice is rung at the first, bob at the second."""
    shelf = Shelf()
    alice, bob = Half(directory, "alice", shelf, (FIRST,)), Half(directory, "bob", shelf, (SECOND,))
    bob.add("alice", alice.invite("bob"))
    return shelf, alice, bob


@in_virtual_time
async def test_where_another_has_the_record_nobody_looks_where_it_will_ring(tmp_path: Path) -> None:
    shelf, alice, bob = apart(tmp_path)
    shelf.shared = True
    async with running(alice, bob):
        await asyncio.sleep(2 * 3600.0)  # until the first lookups are over
        shelf.looked_for.clear()
        for _ in range(3 * 24):
            await asyncio.sleep(3600.0)
            assert alice.knows("bob")
            assert bob.knows("alice")
    assert {entry.key for _, entry in puts_of(shelf, alice, "bob")} & {
        key for onion, keys in shelf.looked_for if onion == SECOND for key in keys
    }
    for person, other, rings in ((alice, "bob", FIRST), (bob, "alice", SECOND)):
        own = {entry.key for _, entry in puts_of(shelf, person, other, rings)}
        assert len(own) >= 3
        assert all(own.isdisjoint(keys) for onion, keys in shelf.looked_for if onion == rings)


@in_virtual_time
async def test_contacts_whose_contact_points_share_nothing_find_one_another_every_day(tmp_path: Path) -> None:
    """Where nobody else has the record, the contact point that rings is asked: late, and only then."""
    _, alice, bob = apart(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(60.0)
        for _ in range(3 * 24 * 4):
            await asyncio.sleep(900.0)
            for person, other in ((alice, "bob"), (bob, "alice")):
                contact = person.book.named(other)
                assert contact.callable_at(CLOCK.wall())
                assert contact.whereabouts is not None
                assert CLOCK.wall() < (contact.whereabouts.period + 1) * PERIOD + 2 * LAST_RESORT + 900.0


@in_virtual_time
async def test_a_record_that_does_not_open_is_passed_over(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(60.0)
        before = bob.book.named("alice").whereabouts
        ((at, good), *_) = puts_of(shelf, alice, "bob")
        bad = msgspec.structs.replace(good, sealed=bytes(len(good.sealed)), revision=good.revision + 1)
        shelf.kept[FIRST, EntryKind.RECORD, good.key] = bad
        shelf.refusing = True
        await asyncio.sleep(LOOK_EVERY[1] + 60.0)
        assert bob.book.named("alice").whereabouts == before
        assert at


@in_virtual_time
async def test_while_nothing_is_reached_it_asks_ever_more_slowly_and_then_succeeds(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    shelf.down = {FIRST}
    async with running(alice, bob):
        await asyncio.sleep(6000.0)
        assert len(shelf.looks) < 60
        shelf.down = set()
        shelf.refusing = True
        await asyncio.sleep(300.0)
        shelf.refusing = False
        await asyncio.sleep(2 * 6000.0)
        assert alice.knows("bob")
        assert bob.knows("alice")


@in_virtual_time
async def test_an_agent_that_does_not_publish_is_asked_for_ever_more_rarely(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(60.0)
    async with running(bob):
        await asyncio.sleep(3 * PERIOD)
        before = len(shelf.looks)
        await asyncio.sleep(PERIOD)
        assert not bob.knows("alice"), "what is known is stale by now"
        assert len(shelf.looks) - before <= 14


@in_virtual_time
async def test_who_was_removed_is_neither_looked_up_nor_published_for(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(60.0)
        alice.book.remove("bob")
        await asyncio.sleep(2.0)
        puts = len(puts_of(shelf, bob, "alice")), len(shelf.puts)
        await asyncio.sleep(PERIOD)
        of_bob = len(puts_of(shelf, bob, "alice")) - puts[0]
        left = [
            one
            for one in shelf.puts[puts[1] :]
            if one[2].key not in {r.key for _, r in puts_of(shelf, bob, "alice")}
        ]
        assert of_bob
        # The used invitation's record alone goes on, so that late comers hear what became of it.
        assert len({entry.key for _, _, entry in left}) <= 2


@in_virtual_time
async def test_blocking_drops_the_tokens_of_that_contact_and_nobody_elses(tmp_path: Path) -> None:
    shelf = Shelf()
    alice, bob, carol = (Half(tmp_path, name, shelf) for name in ("alice", "bob", "carol"))
    for other in (bob, carol):
        other.add("alice", alice.invite(other.name))
    async with running(alice, bob, carol):
        await asyncio.sleep(60.0)
        before = set(alice.tokens.wanted()[FIRST])
        period = current_period(CLOCK.wall())
        given = alice.book.named("bob").token(FIRST, period).token
        alice.book.block("bob", SystemEntropy())
        after = set(alice.tokens.wanted()[FIRST])
        assert given in before - after
        assert alice.book.named("carol").token(FIRST, period).token in after
        assert after < before
        await asyncio.sleep(60.0)
        puts = len(puts_of(shelf, alice, "bob"))
        await asyncio.sleep(PERIOD)
        assert len(puts_of(shelf, alice, "bob")) == puts
        assert puts_of(shelf, alice, "carol")[-1][0] > CLOCK.wall() - EVERY - 3600.0
        alice.book.unblock("bob")
        assert alice.book.named("bob").token(FIRST, period).token != given, "the old ones are dead for good"
        await asyncio.sleep(PERIOD)
        assert bob.knows("alice")
    assert not [event for event, _ in bob.told if event not in ("contact-ready",)]


@in_virtual_time
async def test_a_call_that_was_not_heard_is_told_some_minutes_later_and_once(tmp_path: Path) -> None:
    shelf, alice, bob = introduced(tmp_path)
    async with running(alice, bob):
        await asyncio.sleep(2 * 3600.0)
    async with running(alice):
        await asyncio.sleep(1200.0)
        tried = CLOCK.wall()
        alice.book.not_heard(alice.book.named("bob"), tried)
        puts = len(puts_of(shelf, alice, "bob"))
        await asyncio.sleep(SOON[0])
        assert len(puts_of(shelf, alice, "bob")) == puts, "not at once"
        await asyncio.sleep(SOON[1])
        at, record = puts_of(shelf, alice, "bob")[-1]
        assert tried + SOON[0] <= at <= tried + SOON[1] + 120.0
        assert len(record.to_bytes()) == len(puts_of(shelf, bob, "alice")[0][1].to_bytes()), (
            "and looks as ever"
        )
    bob.begin_anew()
    async with running(bob):
        await asyncio.sleep(3600.0)
        (missed,) = bob.events("missed-call")
        assert missed["contact"] == "alice"
        assert missed["minute"] == int(tried) // 60
        assert bob.book.named("alice").missed == (int(tried) // 60,)
    bob.begin_anew()
    async with running(alice, bob):
        await asyncio.sleep(2 * PERIOD)
        assert len(bob.events("missed-call")) == 1
