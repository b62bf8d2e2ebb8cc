"""Contact records: one reader, one author, one size, and order by revision."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.forward_publish import (
    PERIOD,
    PREKEY_SIZE,
    ContactRecord,
    Peer,
    ReachableAt,
    Role,
    StoredRecord,
    TokenKey,
    coarse_revision,
    current_period,
    latest_expiry,
    lookup_periods,
    newest_first,
    open_record,
    record_key,
    records,
    seal_record,
)
from relay.forward_publish.records import RECORD_SIZE, SEALED_RECORD_SIZE
from relay.identity import Identity

Pair = Any  # of conftest.py, which cannot be imported by name


def record_of(pair: Pair, **changes: Any) -> ContactRecord:
    now = int(pair.clock.wall())
    record = ContactRecord(
        pair.alice.public_key,
        (ReachableAt("a" * 56, TokenKey.generate(pair.entropy).token),),
        pair.prekey.public,
        revision=7,
        expires=now + PERIOD,
        capabilities=("voice",),
    )
    return msgspec.structs.replace(record, **changes)


def stored_of(pair: Pair, **changes: Any) -> StoredRecord:
    period = current_period(pair.clock.wall())
    return seal_record(
        record_of(pair, **changes), pair.alice, pair.to_bob, Role.INVITEE, period, pair.entropy
    )


def opened(pair: Pair, stored: StoredRecord, **changes: Any) -> ContactRecord:
    arguments: dict[str, Any] = {"expected_identity": None, "now": pair.clock.wall(), **changes}
    return open_record(stored, pair.bob, pair.secret, Role.INVITEE, **arguments)


def test_round_trip_in_one_size(pair: Pair) -> None:
    sizes = set()
    for points in (1, 8):
        record = record_of(
            pair, reachable_at=record_of(pair).reachable_at * points, revision=2**52 * (points - 1) // 7
        )
        stored = seal_record(
            record, pair.alice, pair.to_bob, Role.INVITEE, current_period(pair.clock.wall()), pair.entropy
        )
        assert opened(pair, StoredRecord.parse(stored.to_bytes())) == record
        assert opened(pair, stored, expected_identity=pair.alice.public_key) == record
        sizes |= {len(stored.to_bytes()), len(stored.sealed)}
    assert sizes == {RECORD_SIZE, SEALED_RECORD_SIZE}


def test_keys_change_with_secret_role_and_period_and_nothing_else(pair: Pair) -> None:
    keys = {
        record_key(secret, role, period)
        for secret in (pair.secret, bytes(32))
        for role in Role
        for period in (20000, 20001)
    }
    assert len(keys) == 8
    assert record_key(pair.secret, Role.INVITER, 1) == record_key(pair.secret, Role.INVITER, 1)
    assert Role.INVITER.other is Role.INVITEE
    assert Role.INVITEE.other is Role.INVITER


def test_what_a_contact_point_sees_holds_no_identity(pair: Pair) -> None:
    data = stored_of(pair).to_bytes()
    for known in (pair.alice.public_key, pair.bob.public_key, pair.secret, pair.prekey.public[:32], b"voice"):
        assert known not in data


def test_only_the_reader_with_identity_and_secret_believes_it(pair: Pair) -> None:
    stored = stored_of(pair)
    stranger = Identity.generate(pair.entropy)
    now = pair.clock.wall()
    with pytest.raises(PeerError, match="not authentic"):
        open_record(stored, stranger, pair.secret, Role.INVITEE, expected_identity=None, now=now)
    with pytest.raises(PeerError, match="another key"):
        open_record(stored, pair.bob, bytes(32), Role.INVITEE, expected_identity=None, now=now)
    with pytest.raises(PeerError, match="another key"):
        open_record(stored, pair.bob, pair.secret, Role.INVITER, expected_identity=None, now=now)
    with pytest.raises(PeerError, match="somebody else"):
        opened(pair, stored, expected_identity=stranger.public_key)


def test_whoever_holds_the_secret_alone_cannot_pose_as_the_author(pair: Pair) -> None:
    thief = Identity.generate(pair.entropy)
    record = record_of(pair, identity=thief.public_key)
    period = current_period(pair.clock.wall())
    forged = seal_record(record, thief, pair.to_bob, Role.INVITEE, period, pair.entropy)
    with pytest.raises(PeerError, match="somebody else"):
        opened(pair, forged, expected_identity=pair.alice.public_key)


def test_every_field_is_signed(pair: Pair) -> None:
    stored = stored_of(pair)
    for name in StoredRecord.__struct_fields__:
        value = getattr(stored, name)
        changed: object = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        with pytest.raises(PeerError, match="forged"):
            msgspec.structs.replace(stored, **{name: changed}).verify()


def test_changed_bytes_raise_only_peer_error(pair: Pair) -> None:
    data = stored_of(pair).to_bytes()
    for position in range(0, RECORD_SIZE, 23):
        with pytest.raises(PeerError):
            StoredRecord.parse(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :])


@given(st.binary(max_size=200).map(lambda data: data.ljust(RECORD_SIZE, b"\0")))
def test_garbage_raises_only_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        StoredRecord.parse(data)
    with pytest.raises(PeerError):
        StoredRecord.parse(data[:-1])


def test_an_older_revision_is_refused(pair: Pair) -> None:
    stored = stored_of(pair)
    assert opened(pair, stored, newest_revision=7).revision == 7
    with pytest.raises(PeerError, match="older"):
        opened(pair, stored, newest_revision=8)
    assert [each.revision for each in newest_first([stored, stored_of(pair, revision=9)])] == [9, 7]


ONION_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
ODD_ONIONS = st.text(st.characters(codec="ascii"), min_size=56, max_size=56).filter(
    lambda onion: not set(onion) <= set(ONION_LETTERS)
)


@settings(max_examples=20, deadline=None)
@given(ODD_ONIONS)
def test_what_is_no_onion_name_is_refused_though_its_author_is_authentic(new_pair: Any, onion: str) -> None:
    pair = new_pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_is_sound", lambda _: True)
        stored = stored_of(pair, reachable_at=(ReachableAt(onion, "a" * 52),))
    with pytest.raises(PeerError, match="malformed"):
        opened(pair, stored)


@given(st.floats(0, 5e9), st.floats(0, 2 * PERIOD), st.integers(0, 5000))
def test_revisions_never_fall_and_say_no_more_than_the_hour(now: float, later: float, step: int) -> None:
    assert coarse_revision(now) <= coarse_revision(now + later)
    assert coarse_revision(now, step) < coarse_revision(now, step + 1)
    assert coarse_revision(now) == coarse_revision(now // 3600 * 3600)
    assert coarse_revision(now, step) < coarse_revision(now + PERIOD), "whatever the step"


def test_the_newest_revision_holds_across_periods(pair: Pair) -> None:
    now = pair.clock.wall()
    yesterdays = coarse_revision(now - PERIOD, step=4096)
    todays = coarse_revision(now)
    stored = stored_of(pair, revision=todays)
    assert opened(pair, stored, newest_revision=yesterdays).revision == todays
    with pytest.raises(PeerError, match="older"):
        opened(pair, stored_of(pair, revision=yesterdays), newest_revision=todays)


def test_two_owners_who_publish_in_the_same_hour_show_the_same_numbers(pair: Pair) -> None:
    shown = set()
    hour = pair.clock.wall() // 3600 * 3600
    for now in (hour, hour + 1234.5, hour + 3599.9):
        period = current_period(now)
        stored = stored_of(pair, revision=coarse_revision(now), expires=latest_expiry(period))
        shown.add((stored.period, stored.revision, stored.expires))
    assert len(shown) == 1


def test_time(pair: Pair) -> None:
    now = pair.clock.wall()
    period = current_period(now)
    assert lookup_periods(now) == (period, period - 1, period + 1)
    stored = stored_of(pair)
    stored.check_time(now)
    stored.check_time(now + PERIOD + 1700)  # clocks may differ by half an hour
    with pytest.raises(PeerError, match="expired"):
        stored.check_time(now + PERIOD + 1801)
    for wrong in (period - 2, period + 2):
        record = record_of(pair, expires=latest_expiry(wrong))
        far = seal_record(record, pair.alice, pair.to_bob, Role.INVITEE, wrong, pair.entropy)
        with pytest.raises(PeerError):
            far.check_time(now)
    with pytest.raises(PeerError, match="outside its period"):
        stored_of(pair, expires=latest_expiry(period) + 1).check_time(now)


@pytest.mark.parametrize(
    "changes",
    [
        {"prekey": bytes(PREKEY_SIZE - 1)},
        {"reachable_at": ()},
        {"reachable_at": (ReachableAt("a" * 55, "a" * 52),)},
        {"reachable_at": (ReachableAt("a" * 56, "not a token"),)},
        {"reachable_at": (ReachableAt("A" * 56, "a" * 52),)},
        {"reachable_at": (ReachableAt("a" * 55 + "1", "a" * 52),)},
        {"reachable_at": (ReachableAt("a" * 56 + "\n", "a" * 52),)},
        {"reachable_at": (ReachableAt("x\r\nRoute: <sip:x>".ljust(56, "a"), "a" * 52),)},
        {"revision": -1},
        {"capabilities": ("x" * 33,)},
        {"identity": bytes(32)},
    ],
)
def test_an_unsound_record_is_not_made(pair: Pair, changes: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        stored_of(pair, **changes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**53 - 1), st.integers(0, 2**36))
def test_any_revision_and_period_fit(new_pair: Any, revision: int, period: int) -> None:
    pair = new_pair()
    peer = Peer(pair.bob.public_key, pair.secret)
    record = record_of(pair, revision=revision, expires=period * PERIOD)
    stored = seal_record(record, pair.alice, peer, Role.INVITER, period, pair.entropy)
    assert StoredRecord.parse(stored.to_bytes()) == stored
