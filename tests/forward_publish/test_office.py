"""The record port's decisions: what is taken, what is given out, and that a refusal changes nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.contact_cache import Outcome as StoreOutcome
from relay.contact_cache import SqlEntryStore
from relay.core import Counters, PeerError, TransportUnavailable
from relay.forward_publish import (
    ANSWER_SIZE,
    PUT_ANSWER_SIZE,
    REQUEST_SIZE,
    Bucket,
    ContactPointLimits,
    Digests,
    Entry,
    EntryKind,
    Fetch,
    Middle,
    Peers,
    Put,
    PutAnswer,
    PutResult,
    RecordOffice,
    RecordVisit,
    Store,
    StoredRecord,
    Summary,
    Want,
    do_work,
    parse_digests,
    parse_peers,
    parse_slots,
    parse_summary,
    prefix_of,
    work_bits,
)
from relay.forward_publish.contact_point import COUNTS
from relay.forward_publish.office import Outcome
from relay.forward_publish.periods import PERIOD
from tests.forward_publish.shelves import (
    NOW,
    PERIOD_NOW,
    MemoryStore,
    some_records,
    stored_listing,
    stored_record,
)

BITS = 4
RECORDS = some_records(300)


class Bench:
    """An office, with what is needed to look at it."""

    def __init__(self, entries: Sequence[Entry] = (), **limits: Any) -> None:
        self.store = MemoryStore(entries)
        self.counters = Counters(COUNTS)
        limits = {"work_bits": BITS, **limits}
        self.office = RecordOffice(
            self.store,
            ContactPointLimits(**limits),
            self.counters,
            peers=lambda onion, now: [onion, "b" * 56],
        )

    async def put(self, entry: Entry, bits: int = BITS, now: float = NOW, **changes: Any) -> PutAnswer:
        request = Put.of(entry, do_work(entry, bits))
        answer = await self.office.answer(request.to_bytes(), now, **changes)
        assert len(answer) == PUT_ANSWER_SIZE
        return PutAnswer.parse(answer)

    async def middle(self, bits: int, prefix: int) -> Bucket:
        asked = Middle(bits, prefix)
        answer = await self.office.answer(asked.to_bytes(), NOW)
        assert len(answer) == ANSWER_SIZE
        return Bucket.parse(answer, asked)

    async def bucket(self, kind: EntryKind = EntryKind.RECORD, *asked: int) -> Bucket:
        fetch = Fetch(kind, *asked)
        answer = await self.office.answer(fetch.to_bytes(), NOW)
        assert len(answer) == ANSWER_SIZE
        return Bucket.parse(answer, fetch)

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.snapshot().items() if count}


def worked(body: bytes, kind: EntryKind = EntryKind.RECORD) -> Put:
    """A put of any slot as an entry of `kind`, with work where it can be done."""
    try:
        work = do_work(StoredRecord.parse(body), BITS)
    except PeerError:
        work = bytes(8)
    return Put(kind, body, work)


def test_a_store_speaks_of_outcomes_as_the_office_does() -> None:
    assert {one.name: one.value for one in Outcome} == {one.name: one.value for one in StoreOutcome}


class FailingStore(MemoryStore):
    """Gives out what it has, and keeps nothing."""

    async def put(self, entry: Entry) -> int:
        raise TransportUnavailable("the disk is full")


async def test_a_store_that_fails_is_told_to_who_publishes_and_lookups_go_on() -> None:
    bench = Bench()
    store = FailingStore(RECORDS[1:3])
    bench.office = RecordOffice(store, ContactPointLimits(work_bits=BITS), bench.counters)
    assert await bench.put(RECORDS[0]) == PutAnswer(PutResult.FULL)
    assert len((await bench.bucket()).entries) == 2
    assert bench.counted() == {"store failures": 1, "buckets answered": 1}


async def test_an_sql_store_will_do(tmp_path: Path) -> None:
    store = await SqlEntryStore.open(f"sqlite:///{tmp_path / 'entries.db'}")
    try:
        bench = Bench()
        the_store: Store = store
        bench.office = RecordOffice(the_store, ContactPointLimits(work_bits=BITS), bench.counters)
        for record in RECORDS[:150]:
            assert (await bench.put(record)).result is PutResult.ACCEPTED
        assert (await bench.put(RECORDS[0])).result is PutResult.ACCEPTED
        pages = [await bench.bucket(EntryKind.RECORD, 0, 0, page) for page in range(2)]
        assert list(Bucket.join(pages).entries) == RECORDS[:150]
        want = Want(EntryKind.RECORD, (RECORDS[3].key[:16],))
        assert parse_slots(await bench.office.answer(want.to_bytes(), NOW), want)[1] == [RECORDS[3].body]
        summary = Summary(EntryKind.RECORD)
        rows = parse_summary(await bench.office.answer(summary.to_bytes(), NOW), summary)
        digests = Digests(EntryKind.RECORD)
        children = parse_digests(await bench.office.answer(digests.to_bytes(), NOW), digests)
        assert len(rows) == sum(count for _, count in children) == 150
    finally:
        await store.close()


async def test_put_and_fetch_and_a_miss_looks_like_a_hit() -> None:
    bench = Bench()
    fetch = Fetch(EntryKind.RECORD)
    miss = await bench.office.answer(fetch.to_bytes(), NOW)
    record, listing = stored_record(), stored_listing()
    assert (await bench.put(record)).result is PutResult.ACCEPTED
    assert (await bench.put(listing)).result is PutResult.ACCEPTED
    hit = await bench.office.answer(fetch.to_bytes(), NOW)
    assert len(fetch.to_bytes()) == REQUEST_SIZE
    assert len(miss) == len(hit) == ANSWER_SIZE == 262144
    assert Bucket.parse(miss, fetch).entries == ()
    assert Bucket.parse(hit, fetch).entries == (record,)
    assert (await bench.bucket(EntryKind.LISTING)).entries == (listing,)
    assert (await bench.bucket(EntryKind.DESCRIPTOR)).entries == ()
    assert bench.counted() == {"entries stored": 2, "buckets answered": 4}


async def test_revisions_only_go_up() -> None:
    bench = Bench()
    newer = stored_record(step=2)
    assert (await bench.put(newer)).result is PutResult.ACCEPTED
    assert (await bench.put(newer)).result is PutResult.ACCEPTED, "an answer may get lost"
    assert (await bench.put(stored_record(step=1))).result is PutResult.OLDER
    assert list(bench.store.rows.values()) == [newer]
    assert bench.counted() == {"entries stored": 1, "entries replayed": 1, "entries older": 1}


def _forged() -> bytes:
    return msgspec.structs.replace(stored_record(), signature=bytes(64)).body


BAD: list[tuple[str, Put, float]] = [
    ("entries forged", worked(_forged()), NOW),
    ("entries expired", worked(stored_record().body), NOW + 2 * PERIOD + 1800),
    ("entries future-dated", worked(stored_record().body), NOW - PERIOD),
    ("entries malformed", worked(msgspec.structs.replace(stored_record(), revision=2**53).body), NOW),
    ("entries malformed", worked(msgspec.structs.replace(stored_record(), expires=2**40).body), NOW),
    ("entries oversized", worked(stored_record().body + b"\0"), NOW),
    ("entries oversized", worked(bytes(4080)), NOW),
    ("entries truncated", worked(stored_record().body[:-1]), NOW),
    ("entries truncated", worked(b""), NOW),
    ("entries non-canonical", worked(stored_record().body[:-1] + b"\1"), NOW),
    ("entries malformed", worked(bytes(2040)), NOW),
    ("entries of a wrong kind", worked(bytes(4080), EntryKind.DESCRIPTOR), NOW),
    ("entries oversized", worked(stored_record().body, EntryKind.LISTING), NOW),
]


@pytest.mark.parametrize(("count", "put", "now"), BAD)
async def test_bad_entries_are_counted_by_reason_and_the_store_is_as_it_was(
    count: str, put: Put, now: float
) -> None:
    kept = stored_record(bytes(32))
    bench = Bench([kept])
    with pytest.raises(PeerError):
        await bench.office.answer(put.to_bytes(), now)
    assert bench.counted() == {count: 1}
    assert list(bench.store.rows.values()) == [kept]


async def test_non_canonical_numbers_are_counted_as_such() -> None:
    bench = Bench()
    record = stored_record()
    wide = record.body.replace(
        b"\xce" + record.revision.to_bytes(4), b"\xcf" + record.revision.to_bytes(8), 1
    )
    length = int.from_bytes(wide[:4]) + 4
    slot = length.to_bytes(4) + wide[4:2040]
    with pytest.raises(PeerError, match="non-canonical"):
        await bench.office.answer(Put(EntryKind.RECORD, slot, bytes(8)).to_bytes(), NOW)
    assert bench.counted() == {"entries non-canonical": 1}


async def test_a_request_that_is_none_is_counted_and_its_connection_ends() -> None:
    bench = Bench()
    good = Put.of(stored_record(), bytes(8)).to_bytes()
    for bad in (b"", bytes(REQUEST_SIZE), good[:-1], good + b"\0", b"\xff" * REQUEST_SIZE):
        with pytest.raises(PeerError):
            await bench.office.answer(bad, NOW)
    assert bench.counted() == {"requests malformed": 5}


async def test_work_is_asked_for_before_anything_costly_is_done() -> None:
    bench = Bench(work_bits=12)
    lazy = Put.of(stored_record(), (2**64 - 1).to_bytes(8))
    for put in (lazy, Put(EntryKind.RECORD, _forged(), bytes(8))):
        answer = PutAnswer.parse(await bench.office.answer(put.to_bytes(), NOW))
        assert answer == PutAnswer(PutResult.MORE_WORK, 12)
    assert bench.counted() == {"entries without work": 2}
    assert not bench.store.rows


async def test_a_fuller_store_asks_for_more_work_of_new_keys_only() -> None:
    bench = Bench(RECORDS[:8], records=10)
    new, known = RECORDS[9], RECORDS[0]
    wanted = BITS + 6
    easy = next(
        nonce.to_bytes(8) for nonce in range(10**6) if BITS <= work_bits(new, nonce.to_bytes(8)) < wanted
    )
    answer = PutAnswer.parse(await bench.office.answer(Put.of(new, easy).to_bytes(), NOW))
    assert answer == PutAnswer(PutResult.MORE_WORK, wanted)
    assert (await bench.put(new, wanted)).result is PutResult.ACCEPTED
    assert (await bench.put(known)).result is PutResult.ACCEPTED
    assert len(bench.store.rows) == 9


async def test_a_full_store_still_takes_what_replaces_an_entry_and_expiry_makes_room() -> None:
    record = stored_record()
    bench = Bench([record], records=1)
    newer, other = stored_record(step=1), stored_record(bytes(32))
    assert (await bench.put(newer)).result is PutResult.ACCEPTED
    assert (await bench.put(other, 16)).result is PutResult.FULL
    assert list(bench.store.rows.values()) == [newer]
    assert bench.counted() == {"entries stored": 1, "entries over capacity": 1}
    assert (await bench.put(stored_listing())).result is PutResult.ACCEPTED, "each kind has room of its own"
    end = (PERIOD_NOW + 2) * PERIOD
    assert await bench.office.expire(end + 1800) == 0
    assert await bench.office.expire(end + 1801) == 2
    assert not bench.store.rows


async def test_one_connection_puts_and_asks_only_a_little() -> None:
    bench = Bench(puts_per_connection=2, fetches_per_connection=3)
    visit = RecordVisit()
    for record in RECORDS[:2]:
        await bench.put(record, visit=visit)
    with pytest.raises(PeerError, match="too many entries"):
        await bench.put(RECORDS[2], visit=visit)
    for _ in range(3):
        await bench.office.answer(Fetch(EntryKind.RECORD).to_bytes(), NOW, visit)
    with pytest.raises(PeerError, match="too many requests"):
        await bench.office.answer(Peers().to_bytes(), NOW, visit)
    counted = bench.counted()
    assert (counted["entries over the connection"], counted["requests over the connection"]) == (1, 1)
    assert len(bench.store.rows) == 2
    await bench.put(RECORDS[2], visit=RecordVisit())


async def test_a_bucket_comes_in_pages_and_says_whether_its_halves_may_be_asked_for() -> None:
    bench = Bench(RECORDS)
    pages = [await bench.bucket(EntryKind.RECORD, 0, 0, page) for page in range(4)]
    assert [len(page.entries) for page in pages] == [128, 128, 44, 0]
    assert {(page.pages, page.wide) for page in pages} == {(3, 1)}
    assert list(Bucket.join(pages[:3]).entries) == RECORDS
    for prefix in range(4):
        bucket = await bench.bucket(EntryKind.RECORD, 2, prefix)
        assert (bucket.pages, bucket.wide) == (1, 0)
        assert list(bucket.entries) == [record for record in RECORDS if prefix_of(record.key, 2) == prefix]
    beyond = await bench.bucket(EntryKind.RECORD, 14, 4711)
    assert beyond.pages == 1, "more bits are answered as well, if somebody wants to tell them"


async def test_the_middle_of_a_bucket_is_what_lies_around_the_key_that_splits_it() -> None:
    bench = Bench(RECORDS)
    low, high = ([one for one in RECORDS if prefix_of(one.key, 1) == half] for half in (0, 1))
    middle = await bench.middle(0, 0)
    assert list(middle.entries) == low[-64:] + high[:64]
    assert middle.wide == 3
    quarters = [[one for one in RECORDS if prefix_of(one.key, 2) == quarter] for quarter in range(4)]
    middle = await bench.middle(1, 1)
    assert list(middle.entries) == quarters[2][-64:] + quarters[3][:64]
    assert middle.wide == 0
    few = await bench.middle(13, 4711)
    assert [prefix_of(one.key, 13) for one in few.entries] == [4711] * len(few.entries), "that bucket alone"
    assert bench.counted() == {"buckets answered": 3}


async def test_the_middle_is_found_however_many_lie_on_one_side() -> None:
    low, high = ([one for one in RECORDS if prefix_of(one.key, 1) == half] for half in (0, 1))
    bench = Bench([*low[:3], *high])
    middle = await bench.middle(0, 0)
    assert list(middle.entries) == low[:3] + high[:64]
    assert middle.wide == 2


async def test_a_late_page_costs_no_more_than_the_first() -> None:
    bench = Bench(RECORDS)
    await bench.bucket(EntryKind.RECORD, 0, 0, 2)
    assert bench.store.read <= 44 + 8


async def test_what_a_peer_pulls() -> None:
    bench = Bench(RECORDS)
    digests = Digests(EntryKind.RECORD)
    answer = await bench.office.answer(digests.to_bytes(), NOW)
    assert sum(count for _, count in parse_digests(answer, digests)) == len(RECORDS)
    summary = Summary(EntryKind.RECORD, 1, 1)
    rows = parse_summary(await bench.office.answer(summary.to_bytes(), NOW), summary)
    assert [row[0] for row in rows] == [record.key[:16] for record in RECORDS if record.key >= b"\x80"]
    beyond = Summary(EntryKind.RECORD, 1, 1, 1)
    assert parse_summary(await bench.office.answer(beyond.to_bytes(), NOW), beyond) == []
    want = Want(EntryKind.RECORD, (RECORDS[5].key[:16], bytes(16), RECORDS[7].key[:16]))
    answer = await bench.office.answer(want.to_bytes(), NOW)
    assert len(answer) == ANSWER_SIZE
    assert parse_slots(answer, want)[1] == [RECORDS[5].body, RECORDS[7].body]
    peers = Peers("a" * 56)
    assert parse_peers(await bench.office.answer(peers.to_bytes(), NOW), peers) == ["a" * 56, "b" * 56]
    counted = bench.counted()
    assert counted == {
        "digests answered": 1, "summaries answered": 2, "wishes answered": 1, "peers answered": 1,
    }  # fmt: skip


async def test_without_a_host_cache_nobody_is_named() -> None:
    office = RecordOffice(MemoryStore(), ContactPointLimits(), Counters(COUNTS))
    peers = Peers()
    assert parse_peers(await office.answer(peers.to_bytes(), NOW), peers) == []


def test_each_kind_has_a_limit() -> None:
    limits = ContactPointLimits()
    assert [limits.entries(kind) for kind in EntryKind] == [
        limits.records,
        limits.listings,
        limits.descriptors,
    ]
