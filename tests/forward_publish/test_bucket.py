"""What a client makes of a bucket, and whether it may ask for half of it."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import (
    CLOCK_SKEW,
    FEW_PAGES,
    LEAST_IN_BUCKET,
    Bucket,
    EntryKind,
    Fetch,
    Look,
    StoredRecord,
    page_size,
    prefix_of,
    upper_half_page,
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
    depth: int = 0,
) -> Bucket:
    asked = Fetch(KIND, bits, prefix, page)
    slots = [record.body for record in records]
    return Bucket.parse(slots_answer(asked, slots, pages=pages, depth=depth), asked)


def whole_of(records: Sequence[StoredRecord], bits: int = 0, prefix: int = 0) -> Bucket:
    """All pages of a bucket."""
    parts = [records[at : at + 128] for at in range(0, len(records), 128)]
    pages = [bucket_of(part, bits, prefix, page=at, pages=len(parts)) for at, part in enumerate(parts)]
    return Bucket.join(pages)


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
        bucket.depth,
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
    pages = [bucket_of(RECORDS[at : at + 128], page=at // 128, pages=3, depth=2) for at in (0, 128, 256)]
    whole = Bucket.join(pages)
    assert whole.entries == tuple(RECORDS)
    assert (whole.depth, whole.pages) == (2, 3)
    again = [pages[0], bucket_of(RECORDS[127:255], page=1, pages=3), pages[2]]
    assert len(Bucket.join(again).entries) == 299, "what moved from page to page counts once"
    for wrong in ([], [pages[0], bucket_of([], 1, 0)]):
        with pytest.raises(MisuseError):
            Bucket.join(wrong)


def test_both_halves_are_good_or_none() -> None:
    whole = whole_of(RECORDS)
    assert whole.halves_good_until(NOW) == RECORDS[0].expires + CLOCK_SKEW
    assert whole_of(under(1, 1), 1, 1).halves_good_until(NOW) > NOW
    low, high = under(1, 0), under(1, 1)
    assert bucket_of([*low[:64], *high[:64]]).halves_good_until(NOW) > NOW
    assert whole_of([*low[:63], *high]).halves_good_until(NOW) == 0.0
    assert whole_of([*low, *high[:63]]).halves_good_until(NOW) == 0.0
    assert bucket_of([]).halves_good_until(NOW) == 0.0
    assert Bucket(KIND, 14, 0, whole.entries, 0, 1, 14).halves_good_until(NOW) == 0.0, (
        "nobody asks with more bits"
    )


def test_what_is_unsigned_or_expired_or_there_twice_makes_no_half() -> None:
    low, high = under(1, 0)[:64], under(1, 1)[:64]
    assert bucket_of([*low, *high[:63], forged(high[63])]).halves_good_until(NOW) == 0.0
    assert bucket_of([*low, *high[:63], high[62]]).halves_good_until(NOW) == 0.0
    assert bucket_of([*low, *high]).halves_good_until(low[0].expires + CLOCK_SKEW + 1.0) == 0.0
    spread = Bucket.join([bucket_of(low, pages=9), bucket_of(low, page=6, pages=9)])
    assert spread.halves_good_until(NOW) == 0.0, "the same page again"


def test_halves_are_good_as_long_as_what_was_checked_of_them() -> None:
    """The entries that expire last are checked."""
    old = [stored_record(b"%032d" % number, now=NOW - PERIOD) for number in range(200)]
    for half in (0, 1):
        young, aged = under(1, half), [one for one in old if prefix_of(one.key, 1) == half]
        other = under(1, 1 - half)
        few = sorted([*young[:40], *aged, *other], key=lambda record: record.key)
        assert whole_of(few).halves_good_until(NOW) == aged[0].expires + CLOCK_SKEW
        many = sorted([*young[:64], *aged, *other], key=lambda record: record.key)
        assert whole_of(many).halves_good_until(NOW) == young[0].expires + CLOCK_SKEW


def test_a_hit_costs_no_other_time_than_a_miss_where_halves_are_judged() -> None:
    """So many signatures as there are to check, whatever is wanted: it is not told what is."""
    bucket = counting(whole_of(RECORDS))
    CHECKS.clear()
    bucket.halves_good_until(NOW)
    assert len(CHECKS) == 2 * LEAST_IN_BUCKET


@given(st.integers(FEW_PAGES + 1, 2**16), st.floats(-5.0, 5.0), st.floats(0.0, 1.0))
def test_the_first_page_and_another_lie_in_different_halves(pages: int, sigmas: float, last: float) -> None:
    """However keys that are spread by chance fall, within five standard deviations."""
    size = page_size(KIND)
    entries = size * (pages - 1) + max(1, round(last * size))
    low = entries / 2 + sigmas * entries**0.5 / 2
    page = upper_half_page(pages)
    assert low >= size
    assert low <= page * size
    assert (page + 1) * size <= entries, "a whole page"
