"""The agent's end of the record port, against a contact point in memory: honest, empty, lying, talking nonsense."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext, suppress

import msgspec
import numpy as np
import pytest

from relay.agent import directory as subject
from relay.agent.directory import Directory
from relay.core import ManualClock, PeerError, SystemEntropy, TransportUnavailable
from relay.forward_publish import (
    CLOCK_SKEW,
    LEAST_IN_BUCKET,
    MOST_WORK,
    PERIOD,
    SWEEP_EVERY,
    EntryKind,
    Fetch,
    Middle,
    StoredRecord,
    current_period,
    latest_expiry,
    prefix_of,
)
from relay.forward_publish.answers import PutAnswer, PutResult, slots_answer
from relay.forward_publish.requests import parse_request
from relay.forward_publish.work import BASE_BITS, grind, work_bits
from relay.wire import OnionDialer
from tests.agent.record_points import ONION, WALL, Costly, NoDialer, Point, Vast, some_beginnings, told
from tests.forward_publish.shelves import some_records, stored_record
from tests.node.descriptors import any_descriptor

WELL_FILLED = 1100
"""Records: at least 64 under every prefix of 3 bits, and under some of 4."""


Serve = Callable[[Point], Directory]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """A new agent's directory, which that contact point answers."""

    def serving(point: Point) -> Directory:
        monkeypatch.setattr(subject, "exchange", point.exchange)
        return Directory(NoDialer(), clock(), SystemEntropy())

    return serving


@pytest.fixture
def point() -> Point:
    return Point()


@pytest.fixture
def directory(point: Point, serve: Serve) -> Directory:
    return serve(point)


def clock(wall: float = WALL) -> ManualClock:
    made = ManualClock()
    made.advance(wall - made.wall())
    return made


@pytest.fixture(scope="module")
def crowd() -> list[StoredRecord]:
    return some_records(WELL_FILLED)


# -- fetching ----------------------------------------------------------------------------------------------------


async def test_a_small_store_is_fetched_whole_and_a_miss_looks_like_a_hit(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    point.stock(crowd[:10])
    assert await directory.fetch(ONION, [crowd[3].key]) == [crowd[3]]
    assert await directory.fetch(ONION, [crowd[30].key, crowd[31].key]) == []
    assert point.asked == [Fetch(EntryKind.RECORD)] * 2
    assert len(set(point.circuits)) == 2, "each lookup by a circuit of its own"


async def test_the_first_key_that_has_a_record_counts(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    point.stock(crowd[:10])
    assert await directory.fetch(ONION, [crowd[30].key, crowd[4].key, crowd[3].key]) == [crowd[4]]
    assert len(point.asked) == 1, "they lie in the same bucket"


async def test_a_large_store_is_asked_with_as_many_bits_as_leave_a_crowd(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    point = Point(crowd)
    directory = serve(point)
    for one in crowd[200:204]:
        point.asked.clear()
        assert await directory.fetch(ONION, [one.key]) == [one]
        deepest = told(point)
        assert deepest in (3, 4)
        bits = range(deepest)
        pages = len(point.asked) - 1 - deepest
        assert point.asked == [
            Fetch(EntryKind.RECORD),
            *(Middle(at, prefix_of(one.key, at)) for at in bits),
            *(Fetch(EntryKind.RECORD, deepest, prefix_of(one.key, deepest), page) for page in range(pages)),
        ], "each bit by one answer, then all pages"
        assert pages in (1, 2)
        point.asked.clear()
        assert await directory.fetch(ONION, [one.key]) == [one]
        assert [asked.bits for asked in point.asked] == [deepest] * pages, "what was shown for it is known"
    assert point.unborne == []
    assert len(set(point.circuits)) == 8, "each lookup by a circuit of its own"


@pytest.mark.parametrize(
    ("entries", "first", "bits"), [(10_000, (9, 9), (6, 7)), (1_000_000, (15, 16), (13, 14))]
)
async def test_the_first_look_takes_a_bit_for_an_answer_and_later_ones_two(
    entries: int,
    first: tuple[int, int],
    bits: tuple[int, int],
    serve: Serve,
    crowd: list[StoredRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What docs/adr/0007-records.md says of the price."""
    monkeypatch.setattr(StoredRecord, "verify", lambda record: None)
    point = Vast.of(crowd[0], entries)
    directory = serve(point)
    for number in range(0, entries, entries // 20):
        for least, most in (first, (1, 2), (1, 2)):
            point.asked.clear()
            assert len(await directory.fetch(ONION, [point.key(number)])) == 1
            assert least <= len(point.asked) <= most
            assert bits[0] <= told(point) <= bits[1]


async def test_no_lookup_begins_with_what_was_shown_for_another_key(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    point = Point(crowd)
    directory, sequences = serve(point), []
    for asking in (directory, serve(point)):
        for one in crowd[:3]:
            await asking.fetch(ONION, [one.key])
        point.asked.clear()
        await asking.fetch(ONION, [crowd[3].key])
        sequences.append(point.asked[:])
    point.asked.clear()
    await serve(point).fetch(ONION, [crowd[3].key])
    assert sequences == [point.asked] * 2
    assert point.unborne == []


async def test_what_was_shown_counts_no_longer_than_it_is_in_time(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    point, time = Point(crowd), clock()
    monkeypatch.setattr(subject, "exchange", point.exchange)
    directory = Directory(NoDialer(), time, SystemEntropy())
    await directory.fetch(ONION, [crowd[0].key])
    assert told(point) >= 3
    time.advance(3 * PERIOD)
    point.asked.clear()
    assert await directory.fetch(ONION, [crowd[0].key]) == []
    assert {asked.bits for asked in point.asked} == {0}


@pytest.mark.parametrize("ahead", [-CLOCK_SKEW, 0, CLOCK_SKEW])
async def test_at_the_change_of_periods_a_crowd_counts_as_long_as_it_is_there(
    ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a store expires at once, and goes half an hour and a sweep later by the clock of the contact point; the
    agent's is as far off as a clock may be."""
    end = latest_expiry(current_period(WALL))
    old, new = (
        [stored_record(b"%016d%016d" % (made, number), now=end - made) for number in range(600)]
        for made in (PERIOD + 3600, 3600)
    )
    point = Point([*old, *new])
    told_at = []
    for past in (-CLOCK_SKEW, 0, CLOCK_SKEW + SWEEP_EVERY - 1):
        monkeypatch.setattr(subject, "exchange", point.exchange)
        directory = Directory(NoDialer(), clock(end + past + ahead), SystemEntropy())
        for one in new[:3]:
            point.asked.clear()
            assert await directory.fetch(ONION, [one.key]) == [one]
            told_at.append(told(point))
    assert min(told_at) >= 3
    point.stock(new)
    assert await directory.fetch(ONION, [new[0].key]) == [new[0]]
    found = await directory.fetch(ONION, [old[0].key])
    assert found == [], "what expired itself is not found for that"


async def test_whoever_fills_one_half_of_a_store_keeps_nobody_from_anything(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand entries and 200,000 that strangers put into the lower half: what lies there is narrowed further."""
    monkeypatch.setattr(StoredRecord, "verify", lambda record: None)
    honest, strangers = some_beginnings(1000), some_beginnings(200_000, seed=2) >> np.uint64(1)
    point = Vast(crowd[0], np.concatenate([honest, strangers]))
    bits = set()
    for beginning in honest[:40]:
        point.asked.clear()
        assert await serve(point).fetch(ONION, [int(beginning).to_bytes(8) + bytes(24)])
        assert len(point.asked) <= 16
        bits.add(told(point))
    assert (min(bits), max(bits)) == (3, 12)


async def test_a_bucket_that_cannot_be_halved_and_is_too_large_is_not_fetched(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/adr/0007-records.md says of it: 2,048 entries of strangers beside fewer than 64."""
    monkeypatch.setattr(StoredRecord, "verify", lambda record: None)
    honest = some_beginnings(63)
    for strangers, found in ((1900, True), (2049, False)):
        beside = (some_beginnings(strangers, seed=2) >> np.uint64(1)) | np.uint64(1 << 63)
        point = Vast(crowd[0], np.concatenate([honest >> np.uint64(1), beside]))
        with suppress(TransportUnavailable) if not found else nullcontext():
            assert len(await serve(point).fetch(ONION, [point.key(0)])) == 1
        assert len(point.asked) == (16 if found else 1)


async def test_a_key_costs_31_answers_at_most(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A liar that bears every bit out and has as many pages as anybody fetches."""
    monkeypatch.setattr(StoredRecord, "verify", lambda record: None)
    key = crowd[500].key
    near = [msgspec.structs.replace(crowd[0], key=one) for one in _on_the_way_to(key)]
    point = Costly(near, boasts=True)
    directory = serve(point)
    await directory.fetch(ONION, [key])
    assert (told(point), len(point.asked)) == (14, 31)
    for _ in range(4):
        point.asked.clear()
        await directory.fetch(ONION, [key])
        assert len(point.asked) <= 31


def _on_the_way_to(key: bytes) -> list[bytes]:
    """64 keys in each half of all buckets on the way to `key`."""
    keys = []
    for bits in range(14):
        for half in (0, 1):
            beginning = 2 * prefix_of(key, bits) + half
            keys += [((beginning << 255 - bits) + number).to_bytes(32) for number in range(LEAST_IN_BUCKET)]
    return keys


async def test_more_pages_than_are_reasonable_are_not_fetched(
    point: Point, directory: Directory, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_PAGES", 2)
    point.stock(crowd[:300])
    with pytest.raises(TransportUnavailable, match="more under that prefix"):
        await directory.fetch(ONION, [crowd[0].key])


async def test_nonsense_is_a_transport_that_is_unavailable(
    point: Point, directory: Directory, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    for spoil in (lambda answer: answer[:-1], lambda answer: bytes(len(answer)), lambda answer: b""):
        point.spoil = spoil
        with pytest.raises(TransportUnavailable, match="no usable answer"):
            await directory.fetch(ONION, [crowd[0].key])
        with pytest.raises(TransportUnavailable, match="no usable answer"):
            await directory.put(ONION, crowd[0])

    async def broken(*arguments: object, **named: object) -> bytes:
        raise PeerError("oversized")

    monkeypatch.setattr(subject, "exchange", broken)
    with pytest.raises(TransportUnavailable, match="no usable answer"):
        await directory.fetch(ONION, [crowd[0].key])


async def test_a_page_of_listings(point: Point, directory: Directory) -> None:
    page = await directory.page(ONION, 0, isolation="listings-1")
    assert (page.pages, list(page.entries)) == (1, [])
    assert point.circuits == ["listings-1"]
    assert point.asked[0].kind is EntryKind.LISTING


# -- putting -----------------------------------------------------------------------------------------------------


async def test_an_entry_is_put_with_the_work_that_is_wanted(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    point.results = [PutAnswer(PutResult.MORE_WORK, BASE_BITS + 2)]
    assert await directory.put(ONION, crowd[0])
    assert [
        work_bits(crowd[0], put.work) >= bits
        for put, bits in zip(point.put, (BASE_BITS, BASE_BITS + 2), strict=True)
    ] == [True, True]
    assert all(put.body == crowd[0].body for put in point.put)
    assert len(set(point.circuits)) == 2


async def test_what_is_older_than_what_is_there_is_said(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    point.results = [PutAnswer(PutResult.OLDER)]
    assert not await directory.put(ONION, crowd[0])


@pytest.mark.parametrize(
    "results",
    [
        [PutAnswer(PutResult.FULL)],
        [PutAnswer(PutResult.MORE_WORK, MOST_WORK + 1)],
        [PutAnswer(PutResult.MORE_WORK, BASE_BITS)] * 3,
        [PutAnswer(PutResult.MORE_WORK, BASE_BITS + n) for n in (1, 2, 3)],
    ],
)
async def test_no_room_and_unreasonable_work_are_failures(
    point: Point, directory: Directory, crowd: list[StoredRecord], results: list[PutAnswer]
) -> None:
    point.results = list(results)
    with pytest.raises(TransportUnavailable):
        await directory.put(ONION, crowd[0])


async def test_work_leaves_time_for_others(crowd: list[StoredRecord]) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    hard = next(one for one in crowd if len(list(grind(one, BASE_BITS + 2))) > 4)
    task = asyncio.create_task(others())
    work = await subject.find_work(hard, BASE_BITS + 2)
    task.cancel()
    assert work_bits(hard, work) >= BASE_BITS + 2
    assert turns > 1


async def test_descriptors_are_asked_for_without_a_prefix_and_read_for_their_form_alone(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = sorted((any_descriptor(WALL) for _ in range(3)), key=lambda entry: entry.key)
    bodies = [entry.body for entry in entries]
    asked: list[Fetch] = []

    async def exchange(dialer: OnionDialer, onion: str, port: int, request: bytes, **named: object) -> bytes:
        read = parse_request(request)
        assert isinstance(read, Fetch)
        asked.append(read)
        assert named["isolation"] == "x"
        return slots_answer(read, [bodies[0], bytes(len(bodies[1])), bodies[2]], pages=2)

    monkeypatch.setattr(subject, "exchange", exchange)
    page = await directory.descriptors(ONION, 1, isolation="x")
    assert asked == [Fetch(EntryKind.DESCRIPTOR, 0, 0, 1)]
    assert page.pages == 2
    assert [entry.key for entry in page.entries] == [entries[0].key, entries[2].key]
