"""The agent's end of the record port, against a contact point in memory: honest, empty, lying, talking nonsense."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from relay.agent import directory as subject
from relay.agent.directory import Directory
from relay.core import Clock, ManualClock, PeerError, SeededEntropy, SystemEntropy, TransportUnavailable
from relay.forward_publish import (
    ContactRecord,
    RecordStatus,
    RecordUse,
    StoredRecord,
    coarse_revision,
    current_period,
    latest_expiry,
    seal_record,
)
from relay.forward_publish.answers import PutAnswer, PutResult, page_size, slots_answer
from relay.forward_publish.entries import LEAST_IN_BUCKET, EntryKind, key_range
from relay.forward_publish.putting import MOST_WORK
from relay.forward_publish.requests import Fetch, Put, parse_request
from relay.forward_publish.work import BASE_BITS, work_bits
from relay.identity import Identity
from relay.wire import OnionDialer
from tests.node.descriptors import any_descriptor

ONION = "a" * 56
WALL = 1_800_000_000.0


class Point:
    """What a contact point answers; `lie` changes the depth that it says."""

    def __init__(self) -> None:
        self.records: dict[bytes, StoredRecord] = {}
        self.asked: list[Fetch] = []
        self.circuits: list[str] = []
        self.put: list[Put] = []
        self.results: list[PutAnswer] = []
        self.depth = 0
        self.forged: set[bytes] = set()
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer

    async def exchange(
        self, dialer: OnionDialer, onion: str, port: int, request: bytes, **named: object
    ) -> bytes:
        assert (onion, port) == (ONION, subject.RECORD_PORT)
        await asyncio.sleep(0)
        self.circuits.append(str(named["isolation"]))
        asked = parse_request(request)
        if isinstance(asked, Put):
            self.put.append(asked)
            answer = self.results.pop(0) if self.results else PutAnswer(PutResult.ACCEPTED)
            return self.spoil(answer.to_bytes())
        assert isinstance(asked, Fetch)
        self.asked.append(asked)
        first, last = key_range(asked.bits, asked.prefix)
        here = [record for key, record in sorted(self.records.items()) if first <= key <= last]
        most = page_size(asked.kind)
        slots = [self._slot(record) for record in here[asked.page * most :][:most]]
        pages = max(1, -(-len(here) // most))
        return self.spoil(slots_answer(asked, slots, pages=pages, depth=self.depth))

    def _slot(self, record: StoredRecord) -> bytes:
        if record.key in self.forged:
            return msgspec.structs.replace(record, signature=bytes(64)).to_bytes()
        return record.to_bytes()


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Point:
    made = Point()
    monkeypatch.setattr(subject, "exchange", made.exchange)
    return made


def clock() -> Clock:
    made = ManualClock()
    made.advance(WALL - made.wall())
    return made


@pytest.fixture
def directory() -> Directory:
    class NoDialer:
        async def open(
            self, onion: str, port: int, *, isolation: str
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            raise AssertionError

    return Directory(NoDialer(), clock(), SystemEntropy())


def record(seed: int) -> StoredRecord:
    """An invitation's record that takes nobody: the smallest that there is."""
    entropy = SeededEntropy(seed)
    period = current_period(WALL)
    content = ContactRecord(
        RecordUse.INVITATION, RecordStatus.USED, (), b"", coarse_revision(WALL), latest_expiry(period)
    )
    return seal_record(content, Identity.generate(entropy), entropy.token(32), period, entropy)


@pytest.fixture(scope="module")
def crowd() -> list[StoredRecord]:
    return [record(seed) for seed in range(300)]


def stock(point: Point, records: list[StoredRecord]) -> None:
    point.records = {one.key: one for one in records}


# -- fetching ----------------------------------------------------------------------------------------------------


async def test_a_small_store_is_fetched_whole_and_a_miss_looks_like_a_hit(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    stock(point, crowd[:10])
    assert await directory.fetch(ONION, [crowd[3].key]) == [crowd[3]]
    assert await directory.fetch(ONION, [crowd[30].key, crowd[31].key]) == []
    assert [(asked.bits, asked.prefix, asked.page) for asked in point.asked] == [(0, 0, 0)] * 2
    assert len(set(point.circuits)) == 2, "each lookup by a circuit of its own"


async def test_the_first_key_that_has_a_record_counts(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    stock(point, crowd[:10])
    assert await directory.fetch(ONION, [crowd[30].key, crowd[4].key, crowd[3].key]) == [crowd[4]]
    assert len(point.asked) == 1, "they lie in the same bucket"


async def test_a_large_store_is_asked_with_as_many_bits_as_leave_a_crowd(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    stock(point, crowd)
    point.depth = 1
    assert await directory.fetch(ONION, [crowd[200].key]) == [crowd[200]]
    assert {asked.bits for asked in point.asked} == {0, 1}
    assert point.asked[0].page == 0
    assert sum(asked.bits == 0 for asked in point.asked) == 1, "only to learn how deep"
    before = len(point.asked)
    assert await directory.fetch(ONION, [crowd[201].key]) == [crowd[201]]
    later = point.asked[before:]
    assert {asked.bits for asked in later} == {1}
    assert [asked.page for asked in later] == list(range(len(later))), "always all pages"
    assert len(later) == 2


async def test_a_contact_point_that_says_too_much_learns_no_more_than_a_crowd(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    stock(point, crowd)
    point.depth = 5
    assert await directory.fetch(ONION, [crowd[7].key]) == [crowd[7]]
    before = len(point.asked)
    used = point.asked[-1].bits
    first, last = key_range(used, point.asked[-1].prefix)
    assert sum(first <= one.key <= last for one in crowd) >= LEAST_IN_BUCKET
    assert used < 5
    for one in crowd[8:12]:
        assert await directory.fetch(ONION, [one.key]) == [one]
    assert all(asked.bits <= used for asked in point.asked[before:]), "it is remembered"


async def test_forged_entries_are_no_crowd(
    point: Point, directory: Directory, crowd: list[StoredRecord]
) -> None:
    stock(point, crowd[:140])
    point.forged = {one.key for one in crowd[5:140]}
    point.depth = 1
    assert await directory.fetch(ONION, [crowd[2].key]) == [crowd[2]]
    assert point.asked[-1].bits == 0
    assert await directory.fetch(ONION, [crowd[6].key]) == []


async def test_more_pages_than_are_reasonable_are_not_fetched(
    point: Point, directory: Directory, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_PAGES", 2)
    stock(point, crowd)
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

    task = asyncio.create_task(others())
    work = await subject.find_work(crowd[0], BASE_BITS + 2)
    task.cancel()
    assert work_bits(crowd[0], work) >= BASE_BITS + 2
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
