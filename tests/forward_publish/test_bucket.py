"""What a client makes of a bucket, and how far it believes a contact point."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.forward_publish import (
    Bucket,
    EntryKind,
    Fetch,
    KnownDepth,
    Look,
    StoredRecord,
    key_range,
    prefix_of,
)
from relay.forward_publish.answers import slots_answer
from relay.forward_publish.bucket import CHECKED
from relay.forward_publish.periods import PERIOD
from tests.forward_publish.shelves import NOW, some_records, stored_listing

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
        bucket.page,
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
    assert whole.complete
    assert whole.depth == 2
    assert not Bucket.join(pages[:2]).complete
    assert not pages[0].complete
    again = [pages[0], bucket_of(RECORDS[127:255], page=1, pages=3), pages[2]]
    assert len(Bucket.join(again).entries) == 299, "what moved from page to page counts once"
    for wrong in ([], [pages[0], bucket_of([], 1, 0)]):
        with pytest.raises(MisuseError):
            Bucket.join(wrong)


def test_depth_is_believed_as_far_as_a_page_makes_it_likely() -> None:
    known = KnownDepth()
    assert known.bits == 0
    known.probe(bucket_of(RECORDS[:128], pages=3, depth=2))
    assert known.bits == 2
    known.probe(bucket_of(RECORDS[:128], pages=3, depth=14))
    assert known.bits <= 4, "300 entries are not a million"
    known.probe(bucket_of(RECORDS[:40], depth=14))
    assert known.bits == 0
    known.probe(bucket_of([], depth=14))
    assert known.bits == 0


@settings(max_examples=50)
@given(st.integers(0, 12), st.integers(64, 256), st.data())
def test_the_depth_of_an_honest_contact_point_is_believed(bits: int, each: int, data: st.DataObject) -> None:
    """With `each` entries under every prefix of `bits` bits, the whole bucket of one of them makes `bits` likely."""
    prefix = data.draw(st.integers(0, 2**bits - 1))
    first, last = (int.from_bytes(key) for key in key_range(bits, prefix))
    step = (last - first) // each
    keys = [(first + number * step).to_bytes(32) for number in range(each)]
    entries = tuple(msgspec.structs.replace(RECORDS[0], key=key) for key in keys)
    bucket = Bucket(KIND, bits, prefix, entries, 0, 0, 1, bits)
    assert bits <= bucket.plausible_depth <= bits + 3


def test_a_bucket_that_holds_too_little_makes_it_go_back_one_bit_and_remember() -> None:
    known = KnownDepth()
    known.probe(bucket_of(RECORDS[:128], pages=3, depth=3))
    assert known.bits == 3
    thin = bucket_of(under(3, 5), 3, 5, depth=3)
    known.heard(thin, thin.look([], NOW, ENTROPY), NOW)
    assert known.bits == 2
    known.probe(bucket_of(RECORDS[:128], pages=3, depth=3))
    assert known.bits == 2, "whatever it says"
    good = bucket_of(under(2, 1), 2, 1, depth=3)
    known.heard(good, good.look([], NOW, ENTROPY), NOW)
    assert known.bits == 2


def test_it_goes_on_where_both_halves_of_a_bucket_are_full() -> None:
    known = KnownDepth()
    known.probe(bucket_of(RECORDS[:128], pages=3, depth=2))
    thin = bucket_of(under(2, 0)[:50], 2, 0, depth=2)
    known.heard(thin, thin.look([], NOW, ENTROPY), NOW)
    assert known.bits == 1
    pages = [bucket_of(under(1, 1)[at : at + 128], 1, 1, page=at // 128, pages=2, depth=2) for at in (0, 128)]
    whole = Bucket.join(pages)
    known.heard(whole, whole.look([], NOW, ENTROPY), NOW)
    assert known.bits == 2
    assert not Bucket(KIND, 14, 0, whole.entries, 0, 0, 1, 14).halves_are_full(NOW)
