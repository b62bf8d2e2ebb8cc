"""What a client makes of a bucket, and whether it may ask for half of it."""

from collections.abc import Sequence

import msgspec
import pytest

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import (
    CLOCK_SKEW,
    LEAST_IN_BUCKET,
    SWEEP_EVERY,
    Bucket,
    EntryKind,
    Fetch,
    Look,
    Middle,
    StoredRecord,
    prefix_of,
)
from relay.forward_publish.answers import slots_answer
from relay.forward_publish.bucket import CHECKED
from relay.forward_publish.periods import PERIOD
from tests.forward_publish.shelves import NOW, some_records, stored_listing, stored_record

ENTROPY = SeededEntropy("bucket")
RECORDS = some_records(300)
KIND = EntryKind.RECORD


def bucket_of(
    records: Sequence[StoredRecord],
    bits: int = 0,
    prefix: int = 0,
    *,
    page: int = 0,
    pages: int = 1,
    wide: int = 0,
) -> Bucket:
    asked = Fetch(KIND, bits, prefix, page)
    slots = [record.body for record in records]
    return Bucket.parse(slots_answer(asked, slots, pages=pages, wide=wide), asked)


def forged(record: StoredRecord) -> StoredRecord:
    return msgspec.structs.replace(record, signature=bytes(64))


def under(bits: int, prefix: int) -> list[StoredRecord]:
    return [record for record in RECORDS if prefix_of(record.key, bits) == prefix]


class Counted(StoredRecord, frozen=True):
    """Counts how often its signature is checked."""

    def verify(self) -> None:
        CHECKS.append(self.key)
        super().verify()


CHECKS: list[bytes] = []


def counting(bucket: Bucket) -> Bucket:
    entries = tuple(
        Counted(**msgspec.structs.asdict(entry))
        for entry in bucket.entries
        if isinstance(entry, StoredRecord)
    )
    return Bucket(
        bucket.kind,
        bucket.bits,
        bucket.prefix,
        entries,
        bucket.refused,
        bucket.pages,
        bucket.wide,
    )


def test_the_wanted_record_is_found_and_others_vouch_for_the_bucket() -> None:
    bucket = bucket_of(RECORDS[:128])
    wanted = RECORDS[77]
    look = bucket.look([wanted.key], NOW, ENTROPY)
    assert look == Look((wanted,), True)
    assert bucket.look([RECORDS[200].key], NOW, ENTROPY) == Look((), True)
    both = bucket.look([RECORDS[5].key, wanted.key], NOW, ENTROPY)
    assert both.found == (RECORDS[5], wanted)
    assert bucket.good(NOW) == tuple(RECORDS[:128])


def test_a_hit_costs_no_other_time_than_a_miss() -> None:
    bucket = counting(bucket_of(RECORDS[:128]))
    for wanted in ([], [RECORDS[3].key], [RECORDS[3].key, RECORDS[4].key], [RECORDS[299].key]):
        CHECKS.clear()
        bucket.look(wanted, NOW, ENTROPY)
        assert len(CHECKS) == CHECKED


def test_fewer_than_64_confirm_nothing() -> None:
    assert not bucket_of(RECORDS[:63]).look([], NOW, ENTROPY).confirmed
    assert bucket_of(RECORDS[:64]).look([], NOW, ENTROPY).confirmed
    expired = bucket_of(RECORDS[:128]).look([RECORDS[0].key], NOW + 3 * PERIOD, ENTROPY)
    assert expired == Look((), False)


def test_forged_records_are_left_out_and_confirm_nothing() -> None:
    wanted = forged(RECORDS[0])
    assert bucket_of([wanted, *RECORDS[1:128]]).look([wanted.key], NOW, ENTROPY) == Look((), False)
    half = [forged(record) if number % 2 else record for number, record in enumerate(RECORDS[:128])]
    look = bucket_of(half).look([RECORDS[0].key], NOW, ENTROPY)
    assert look == Look((RECORDS[0],), False), "what is authentic is, whoever hands it on"
    assert len(bucket_of(half).good(NOW)) == 64


def test_slots_that_do_not_belong_there_are_counted() -> None:
    low, high = under(1, 0)[:70], under(1, 1)[:3]
    assert bucket_of([*low, *high], 1, 0).refused == 3
    assert bucket_of([*low, *high], 1, 0).entries == tuple(low)
    assert bucket_of([low[1], low[0], low[2]], 1, 0).refused == 1, "in the order of keys"
    assert bucket_of([*low, low[-1]], 1, 0).refused == 1, "each once"
    asked = Fetch(KIND)
    junk = [record.body for record in RECORDS[:100]]
    junk[50] = b"\x07" * KIND.slot_size
    bucket = Bucket.parse(slots_answer(asked, junk, pages=1), asked)
    assert (bucket.refused, len(bucket.entries)) == (1, 99)
    assert not bucket.look([], NOW, ENTROPY).confirmed


def test_a_kind_that_cannot_be_read_is_our_callers_mistake_or_the_peers() -> None:
    asked = Fetch(EntryKind.DESCRIPTOR)
    with pytest.raises(PeerError, match="wrong kind"):
        Bucket.parse(slots_answer(asked, [bytes(4080)], pages=1), asked)
    listings = Fetch(EntryKind.LISTING)
    answer = slots_answer(listings, [stored_listing().body], pages=1)
    assert Bucket.parse(answer, listings).good(NOW) == (stored_listing(),)


def test_pages_are_joined() -> None:
    pages = [bucket_of(RECORDS[at : at + 128], page=at // 128, pages=3, wide=1) for at in (0, 128, 256)]
    whole = Bucket.join(pages)
    assert whole.entries == tuple(RECORDS)
    assert (whole.wide, whole.pages) == (1, 3)
    again = [pages[0], bucket_of(RECORDS[127:255], page=1, pages=3), pages[2]]
    assert len(Bucket.join(again).entries) == 299, "what moved from page to page counts once"
    for wrong in ([], [pages[0], bucket_of([], 1, 0)]):
        with pytest.raises(MisuseError):
            Bucket.join(wrong)


def around(
    low: Sequence[StoredRecord],
    high: Sequence[StoredRecord],
    bits: int = 0,
    prefix: int = 0,
    *,
    wide: int = 0,
) -> Bucket:
    """What a contact point says lies around the middle of a bucket."""
    asked = Middle(bits, prefix)
    return Bucket.parse(slots_answer(asked, [one.body for one in (*low, *high)], wide=wide), asked)


def test_both_halves_are_good_or_none() -> None:
    low, high = under(1, 0), under(1, 1)
    assert around(low[-64:], high[:64]).halves_good_until(NOW) == RECORDS[0].expires
    assert around(under(2, 2)[-64:], under(2, 3)[:64], 1, 1).halves_good_until(NOW) == RECORDS[0].expires
    assert around(low[-63:], high[:64]).halves_good_until(NOW) is None
    assert around(low[-64:], high[:63]).halves_good_until(NOW) is None
    assert around(low[-63:], high[:65]).halves_good_until(NOW) is None
    assert around(low[-128:], ()).halves_good_until(NOW) is None
    assert around((), ()).halves_good_until(NOW) is None
    assert around(low[-64:], high[:64], 1, 0).halves_good_until(NOW) is None, "not of that bucket"


def test_what_is_unsigned_or_there_twice_or_behind_the_wrong_one_makes_no_half() -> None:
    low, high = under(1, 0)[-64:], under(1, 1)[:64]
    assert around(low, [*high[:63], forged(high[63])]).halves_good_until(NOW) is None
    assert around([forged(low[0]), *low[1:]], high).halves_good_until(NOW) is None
    assert around(low, [*high[:63], high[62]]).halves_good_until(NOW) is None
    assert around(low, [high[1], high[0], *high[2:]]).halves_good_until(NOW) is None
    assert around(high, low).halves_good_until(NOW) is None


def test_halves_are_good_until_the_first_of_what_was_shown_expires() -> None:
    old = sorted(
        (stored_record(b"%032d" % number, now=NOW - PERIOD) for number in range(9)), key=lambda one: one.key
    )
    few = [one for one in old if not prefix_of(one.key, 1)]
    low = sorted([*few, *under(1, 0)[: 64 - len(few)]], key=lambda one: one.key)
    assert around(low, under(1, 1)[:64]).halves_good_until(NOW) == few[0].expires < RECORDS[0].expires


def test_a_middle_says_of_each_half_whether_it_is_wide() -> None:
    low, high = RECORDS[0].key, RECORDS[-1].key
    for wide in range(4):
        bucket = around((), (), wide=wide)
        assert (bucket.half_is_wide(low), bucket.half_is_wide(high)) == (bool(wide & 1), bool(wide & 2))
    assert not around((), (), 13, 2**13 - 1, wide=1).half_is_wide(b"\xff" * 32)


def test_a_hit_costs_no_other_time_than_a_miss_where_halves_are_judged() -> None:
    """So many signatures as there are to check, whatever is wanted: it is not told what is."""
    bucket = counting(around(under(1, 0)[-64:], under(1, 1)[:64]))
    CHECKS.clear()
    bucket.halves_good_until(NOW)
    assert len(CHECKS) == 2 * LEAST_IN_BUCKET


def test_a_crowd_is_whatever_an_honest_contact_point_may_have() -> None:
    """By its clock, half an hour behind ours, it is not gone before half an hour and a sweep are over."""
    middle = around(under(1, 0)[-64:], under(1, 1)[:64])
    whole, wanted = bucket_of(RECORDS[:128]), RECORDS[3]
    end = wanted.expires
    gone = end + 2 * CLOCK_SKEW + SWEEP_EVERY
    for now in (end - 1, end + CLOCK_SKEW, gone - 1):
        assert middle.halves_good_until(now) == end
        found = (wanted,) if now < end + CLOCK_SKEW else ()
        assert whole.look([wanted.key], now, ENTROPY) == Look(found, True), "expired itself, it is not found"
    assert middle.halves_good_until(gone) is None
    assert not whole.look([], gone, ENTROPY).confirmed
    begins = wanted.period * PERIOD
    assert middle.halves_good_until(begins - 3 * CLOCK_SKEW) == end, (
        "owners' clocks and peers' are ahead, ours behind"
    )
    assert middle.halves_good_until(begins - 3 * CLOCK_SKEW - 1) is None
