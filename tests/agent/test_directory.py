"""The agent's end of the record port, against a contact point in memory: honest, empty, lying, talking nonsense."""

import asyncio
from collections.abc import Callable

import pytest

from relay.agent import directory as subject
from relay.agent.directory import Directory
from relay.core import ManualClock, PeerError, SystemEntropy, TransportUnavailable
from relay.forward_publish import MOST_WORK, PERIOD, EntryKind, Fetch, StoredRecord
from relay.forward_publish.answers import PutAnswer, PutResult, slots_answer
from relay.forward_publish.requests import parse_request
from relay.forward_publish.work import BASE_BITS, grind, work_bits
from relay.wire import OnionDialer
from tests.agent.record_points import ONION, WALL, NoDialer, Point, Vast, told
from tests.forward_publish.shelves import some_records
from tests.node.descriptors import any_descriptor

WELL_FILLED = 1100
"""Records: at least 64 under every prefix of 3 bits, not of 4."""


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


def clock() -> ManualClock:
    made = ManualClock()
    made.advance(WALL - made.wall())
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
    assert [(asked.bits, asked.prefix, asked.page) for asked in point.asked] == [(0, 0, 0)] * 2
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
    point = Point(crowd, depth=3)
    directory = serve(point)
    wanted = crowd[200:204]
    steps = []
    for one in wanted:
        before = len(point.asked)
        assert await directory.fetch(ONION, [one.key]) == [one]
        steps.append([(asked.bits, asked.page) for asked in point.asked[before:]])
    assert steps[0][:3] == [(0, 0), (0, 6), (1, 0)], "a page of either half, then the half"
    asked_bits = [bits for step in steps for bits, _ in step]
    assert asked_bits == sorted(asked_bits)
    assert steps[-1] == [(3, page) for page in range(len(steps[-1]))], "always all pages"
    assert len(steps[-1]) <= 2
    assert point.unborne == []
    assert len(set(point.circuits)) == len(wanted), "each lookup by a circuit of its own"


async def test_of_a_million_records_the_first_look_takes_26_answers_and_later_ones_two(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/adr/0007-records.md says of the price."""
    monkeypatch.setattr(StoredRecord, "verify", lambda record: None)
    point = Vast(crowd[0], 1_000_000)
    directory = serve(point)
    answers = []
    for _ in range(4):
        before = len(point.asked)
        assert len(await directory.fetch(ONION, [point.key(123_456)])) == 1
        answers.append(len(point.asked) - before)
    assert (point.depth, told(point)) == (13, 13)
    assert answers[0] == 26
    assert max(answers[1:]) <= 2
    before = len(point.asked)
    assert len(await directory.fetch(ONION, [point.key(123_456 + 400)])) == 1
    assert len(point.asked) - before < 10, "of what lies near it is known what to ask with"


async def test_an_agent_that_begins_anew_says_no_more_than_one_that_ran(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    """What was shown is in memory alone: whoever forgets it asks anew, from the whole store on."""
    point = Point(crowd, depth=3)
    for one in crowd[:3]:
        before = len(point.asked)
        assert await serve(point).fetch(ONION, [one.key]) == [one]
        assert [asked.bits for asked in point.asked[before:]][:3] == [0, 0, 1]
    assert point.unborne == []


async def test_what_was_shown_counts_no_longer_than_it_is_in_time(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    point, time = Point(crowd, depth=3), clock()
    monkeypatch.setattr(subject, "exchange", point.exchange)
    directory = Directory(NoDialer(), time, SystemEntropy())
    for one in crowd[:4]:
        await directory.fetch(ONION, [one.key])
    assert told(point) == 3
    time.advance(3 * PERIOD)
    point.asked.clear()
    assert await directory.fetch(ONION, [crowd[0].key]) == []
    assert {asked.bits for asked in point.asked} == {0}


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
