"""Contact records: found and opened by whoever has identity and secret, one size, order by revision."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.forward_publish import (
    LISTING_SECRET,
    PERIOD,
    PREKEY_SIZE,
    ContactRecord,
    ReachableAt,
    RecordStatus,
    RecordUse,
    StoredRecord,
    coarse_revision,
    current_period,
    latest_expiry,
    newest_first,
    open_record,
    record_key,
    records,
    seal_record,
)
from relay.forward_publish.records import RECORD_SIZE, SEALED_RECORD_SIZE
from relay.identity import Identity
from tests.forward_publish.shelves import (
    ENTROPY,
    HERE,
    NOW,
    OWNER,
    PERIOD_NOW,
    SECRET,
    record_of,
    stored_record,
)

OPEN = st.builds(
    ContactRecord,
    use=st.sampled_from(RecordUse),
    status=st.just(RecordStatus.OPEN),
    reachable_at=st.lists(
        st.builds(
            ReachableAt,
            st.binary(min_size=35, max_size=35),
            st.binary(min_size=32, max_size=32),
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    prekey=st.binary(min_size=32, max_size=32).map(lambda some: some * (PREKEY_SIZE // 32)),
    revision=st.integers(0, 2**17 - 1),
    expires=st.just(0),
    capabilities=st.lists(st.from_regex(r"[a-z0-9-]{1,16}", fullmatch=True), max_size=8).map(tuple),
    languages=st.lists(st.sampled_from(["de", "pt-BR", "zh-Hant", "fil", "sr-Latn"]), max_size=6).map(tuple),
    missed=st.sets(st.integers(0, 2**32 - 1), max_size=8).map(lambda minutes: tuple(sorted(minutes))),
)
CLOSED = st.builds(
    ContactRecord,
    use=st.sampled_from([RecordUse.INVITATION, RecordUse.STANDING]),
    status=st.sampled_from([RecordStatus.USED, RecordStatus.EXPIRED, RecordStatus.WITHDRAWN]),
    reachable_at=st.just(()),
    prekey=st.just(b""),
    revision=st.integers(0, 2**17 - 1),
    expires=st.just(0),
)
USED = st.builds(
    ContactRecord,
    use=st.just(RecordUse.INVITATION),
    status=st.just(RecordStatus.USED),
    reachable_at=st.just(()),
    prekey=st.just(b""),
    revision=st.integers(0, 2**17 - 1),
    expires=st.just(0),
    taken_by=st.binary(min_size=16, max_size=16),
)

EXPIRED = {
    "use": RecordUse.INVITATION,
    "status": RecordStatus.EXPIRED,
    "reachable_at": (),
    "prekey": b"",
}


def opened(stored: StoredRecord, **changes: Any) -> ContactRecord:
    arguments: dict[str, Any] = {"now": NOW, **changes}
    return open_record(stored, OWNER.public_key, SECRET, **arguments)


@settings(max_examples=60, deadline=None)
@given(OPEN | CLOSED | USED, st.integers(0, 2**36 - 1), st.binary(min_size=32, max_size=32))
def test_every_sound_record_comes_back_from_a_slot_of_one_size(
    record: ContactRecord, period: int, secret: bytes
) -> None:
    record = msgspec.structs.replace(
        record, revision=period * 2**17 + record.revision, expires=latest_expiry(period)
    )
    stored = seal_record(record, OWNER, secret, period, ENTROPY)
    slot = stored.to_bytes()
    assert (len(slot), len(stored.sealed)) == (RECORD_SIZE, SEALED_RECORD_SIZE)
    again = StoredRecord.parse(slot)
    again.verify()
    assert again == stored
    assert again.body == slot
    assert open_record(again, OWNER.public_key, secret, now=period * PERIOD) == record


def test_the_longest_record_fits() -> None:
    longest = record_of(
        reachable_at=(HERE,) * 4,
        revision=2**53 - 1,
        expires=latest_expiry(2**36 - 1),
        capabilities=tuple(f"{number}".ljust(16, "x") for number in range(8)),
        languages=("zh-Hant1",) * 6,
        missed=tuple(range(2**32 - 8, 2**32)),
    )
    stored = seal_record(longest, OWNER, SECRET, 2**36 - 1, ENTROPY)
    assert StoredRecord.parse(stored.to_bytes()) == stored


def test_its_key_follows_from_identity_secret_and_period() -> None:
    other = Identity.generate(ENTROPY)
    keys = {
        record_key(identity, secret, period)
        for identity in (OWNER.public_key, other.public_key)
        for secret in (SECRET, LISTING_SECRET)
        for period in (20000, 20001)
    }
    assert len(keys) == 8
    assert stored_record().key == record_key(OWNER.public_key, SECRET, PERIOD_NOW)
    with pytest.raises(PeerError):
        record_key(bytes(31) + b"\x01", SECRET, 1)
    for secret, period in ((b"", 1), (SECRET, -1), (SECRET, 2**36)):
        with pytest.raises(MisuseError):
            record_key(OWNER.public_key, secret, period)


def test_what_a_contact_point_sees_holds_no_identity() -> None:
    data = stored_record().to_bytes()
    for known in (OWNER.public_key, SECRET, HERE.onion, HERE.token, b"voice"):
        assert known not in data
    assert bytes(16) not in stored_record().sealed, "a prekey of zeros would show"


def test_records_under_two_secrets_have_no_more_in_common_than_strangers_records() -> None:
    first, second = stored_record(), stored_record(bytes(32))
    assert first.key != second.key
    assert (first.period, first.revision, first.expires) == (second.period, second.revision, second.expires)
    alike = sum(one == other for one, other in zip(first.sealed, second.sealed, strict=True))
    assert alike < SEALED_RECORD_SIZE / 64, "as often as chance has it: one byte in 256"


def test_only_who_has_identity_and_secret_opens_it() -> None:
    stored = stored_record()
    assert opened(stored) == record_of()
    stranger = Identity.generate(ENTROPY)
    with pytest.raises(PeerError, match="another key"):
        open_record(stored, OWNER.public_key, bytes(32), now=NOW)
    with pytest.raises(PeerError, match="another key"):
        open_record(stored, stranger.public_key, SECRET, now=NOW)
    with pytest.raises(PeerError, match="identity"):
        open_record(stored, bytes(31) + b"\x01", SECRET, now=NOW)


def test_whoever_holds_the_secret_cannot_pose_as_the_owner() -> None:
    thief = Identity.generate(ENTROPY)
    theirs = seal_record(record_of(), thief, SECRET, PERIOD_NOW, ENTROPY)
    with pytest.raises(PeerError, match="another key"):
        opened(theirs)
    moved = msgspec.structs.replace(theirs, key=stored_record().key)
    with pytest.raises(PeerError, match="forged"):
        opened(moved)


def test_every_field_is_signed() -> None:
    stored = stored_record(step=1)
    for name in ("revision", "key", "sealed", "signature"):
        value = getattr(stored, name)
        changed: object = value - 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        with pytest.raises(PeerError, match="forged"):
            msgspec.structs.replace(stored, **{name: changed}).verify()
    later = {
        "period": PERIOD_NOW + 1,
        "revision": stored.revision + 2**17,
        "expires": stored.expires + PERIOD,
    }
    with pytest.raises(PeerError, match="forged"):
        msgspec.structs.replace(stored, **later).verify()


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": PERIOD_NOW * 2**17 - 1},
        {"revision": (PERIOD_NOW + 1) * 2**17},
        {"revision": 2**53},
        {"expires": latest_expiry(PERIOD_NOW) + 1},
        {"expires": latest_expiry(PERIOD_NOW) - 1},
        {"period": -1},
        {"key": bytes(31)},
        {"sealed": bytes(SEALED_RECORD_SIZE - 1)},
        {"signature": bytes(65)},
    ],
)
def test_numbers_and_sizes_that_no_owner_may_choose_are_refused(changes: dict[str, Any]) -> None:
    wrong = msgspec.structs.replace(stored_record(), **changes)
    with pytest.raises(PeerError, match="malformed"):
        wrong.verify()
    with pytest.raises(PeerError, match="malformed"):
        StoredRecord.parse(wrong.to_bytes())


def test_changed_bytes_raise_only_peer_error() -> None:
    data = stored_record().to_bytes()
    for position in range(RECORD_SIZE):
        changed = data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :]
        with pytest.raises(PeerError):
            StoredRecord.parse(changed).verify()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 2**32 - 1))
def test_garbage_raises_only_peer_error(data: bytes, padded: bool, length: int) -> None:
    slot = (length.to_bytes(4) * padded + data).ljust(RECORD_SIZE, b"\0")
    with pytest.raises(PeerError):
        StoredRecord.parse(slot)
    for size, reason in ((RECORD_SIZE - 1, "truncated"), (0, "truncated"), (RECORD_SIZE + 1, "oversized")):
        with pytest.raises(PeerError, match=reason):
            StoredRecord.parse(slot.ljust(RECORD_SIZE + 1)[:size])


@settings(max_examples=200)
@given(st.data())
def test_a_record_that_is_torn_and_patched_raises_only_peer_error(data: Any) -> None:
    slot = bytearray(_SLOT)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, RECORD_SIZE - 1))
        patch = data.draw(st.binary(min_size=1, max_size=16))
        slot[start : start + len(patch)] = patch
    torn = bytes(slot[:RECORD_SIZE])
    if torn == _SLOT:
        return
    with pytest.raises(PeerError):
        StoredRecord.parse(torn).verify()


_SLOT = stored_record().to_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"prekey": bytes(PREKEY_SIZE - 1)},
        {"prekey": b""},
        {"reachable_at": ()},
        {"reachable_at": (HERE,) * 5},
        {"reachable_at": (ReachableAt(bytes(34), bytes(32)),)},
        {"reachable_at": (ReachableAt(bytes(35), bytes(33)),)},
        {"status": RecordStatus.USED},
        {"status": RecordStatus.USED, "reachable_at": (), "prekey": b""},
        {"capabilities": ("x" * 17,)},
        {"capabilities": ("Voice",)},
        {"capabilities": ("x",) * 9},
        {"languages": ("klingonese",)},
        {"languages": ("de",) * 7},
        {"missed": tuple(range(9))},
        {"missed": (2, 1)},
        {"missed": (1, 1)},
        {"missed": (-1,)},
        {"missed": (2**32,)},
        {"taken_by": bytes(16)},
        {**EXPIRED, "taken_by": bytes(16)},
        {**EXPIRED, "status": RecordStatus.USED, "taken_by": bytes(15)},
    ],
)
def test_an_unsound_record_is_neither_made_nor_read(changes: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        stored_record(**changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.ContactRecord, "is_sound", lambda _: True)
        stored = stored_record(**changes)
    with pytest.raises(PeerError, match="malformed"):
        opened(stored)


def test_inside_and_outside_say_the_same() -> None:
    stored = stored_record()
    blinded = OWNER.blinded(SECRET, PERIOD_NOW)
    higher = msgspec.structs.replace(stored, revision=stored.revision + 1)
    signed = msgspec.structs.replace(higher, signature=blinded.sign(higher._signed()))
    signed.verify()
    with pytest.raises(PeerError, match="malformed"):
        opened(signed)


def test_what_the_owner_did_not_seal_does_not_open() -> None:
    stored = stored_record()
    junk = msgspec.structs.replace(stored, sealed=bytes(SEALED_RECORD_SIZE))
    signed = msgspec.structs.replace(junk, signature=OWNER.blinded(SECRET, PERIOD_NOW).sign(junk._signed()))
    signed.verify()
    with pytest.raises(PeerError, match="forged"):
        opened(signed)


@pytest.mark.parametrize("changes", [{"revision": 7}, {"expires": latest_expiry(PERIOD_NOW) - 1}])
def test_numbers_outside_the_period_are_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        stored_record(**changes)


def test_an_invitation_that_takes_nobody_tells_why() -> None:
    for status in (RecordStatus.USED, RecordStatus.EXPIRED, RecordStatus.WITHDRAWN):
        stored = stored_record(use=RecordUse.INVITATION, status=status, reachable_at=(), prekey=b"")
        assert opened(stored).status is status
        assert len(stored.to_bytes()) == RECORD_SIZE


def test_an_older_revision_is_refused_across_periods_too() -> None:
    yesterdays = coarse_revision(NOW - PERIOD, step=4096)
    todays = coarse_revision(NOW)
    assert opened(stored_record(), newest_revision=yesterdays).revision == todays
    with pytest.raises(PeerError, match="older"):
        opened(stored_record(now=NOW - PERIOD), newest_revision=todays)
    newer = stored_record(step=2)
    assert newest_first([stored_record(), newer])[0] == newer


def test_two_owners_who_publish_in_the_same_hour_show_the_same_numbers() -> None:
    hour = NOW // 3600 * 3600
    shown = {
        (stored.period, stored.revision, stored.expires)
        for stored in (stored_record(now=now) for now in (hour, hour + 1234.5, hour + 3599.9))
    }
    assert len(shown) == 1


def test_a_record_has_its_time() -> None:
    stored = stored_record()
    end = latest_expiry(current_period(NOW))
    stored.check_time(NOW)
    stored.check_time(end + 1700)  # clocks may differ by half an hour
    with pytest.raises(PeerError, match="expired"):
        opened(stored, now=end + 1800)
    stored.check_time(PERIOD_NOW * PERIOD - 1800)
    with pytest.raises(PeerError, match="future-dated"):
        opened(stored, now=PERIOD_NOW * PERIOD - 1801)
    stored.check_time(PERIOD_NOW * PERIOD - 3600, ahead=3600)


@given(st.binary(min_size=35, max_size=35), st.binary(min_size=32, max_size=32))
def test_places_have_names(onion: bytes, token: bytes) -> None:
    at = ReachableAt(onion, token)
    assert (len(at.onion_name), len(at.token_name)) == (56, 52)
    assert ReachableAt.named(at.onion_name, at.token_name) == at


@pytest.mark.parametrize(
    "onion",
    [
        "",
        "a" * 55,
        "a" * 57,
        "A" * 56,
        "a" * 55 + "1",
        "a" * 56 + "\n",
        "\u0131" * 56,
        "x\r\nRoute".ljust(56, "a"),
    ],
)
def test_what_is_no_onion_name_is_refused(onion: str) -> None:
    with pytest.raises(PeerError):
        ReachableAt.named(onion, HERE.token_name)
    with pytest.raises(PeerError):
        ReachableAt.named(HERE.onion_name, "x" + HERE.token_name)
