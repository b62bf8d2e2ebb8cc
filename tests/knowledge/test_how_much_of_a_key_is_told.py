"""How much of a key a contact point is told: no bit more than 64 signed entries bear out, whatever it says and shows.

Agents look contacts up at contact points that lie, again and again, with what they remember and without it.  Each
contact point notes what it had shown before it was asked (`tests.agent.record_points`).  An agent that believes more
than this must be caught.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from relay.agent import directory as subject
from relay.agent.directory import Directory
from relay.core import ManualClock, SystemEntropy, TransportUnavailable
from relay.forward_publish import (
    LEAST_IN_BUCKET,
    PERIOD,
    Bucket,
    Fetch,
    KnownBuckets,
    Middle,
    StoredRecord,
    prefix_of,
)
from tests.agent.record_points import ONION, WALL, Clustered, Marking, NoDialer, OneSide, Point, Twice, told
from tests.forward_publish.shelves import some_records, stored_record

Serve = Callable[[Point], Directory]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """A new agent's directory, which that contact point answers."""

    def serving(point: Point) -> Directory:
        clock = ManualClock()
        clock.advance(WALL - clock.wall())
        monkeypatch.setattr(subject, "exchange", point.exchange)
        return Directory(NoDialer(), clock, SystemEntropy())

    return serving


@pytest.fixture(scope="module")
def crowd() -> list[StoredRecord]:
    """At least 64 under every prefix of 3 bits, and under some of 4."""
    return some_records(1100)


def liars(crowd: list[StoredRecord]) -> dict[str, Point]:
    """Contact points that say that a key may be named with 14 bits, and what they show for it."""
    low = [one for one in crowd if not prefix_of(one.key, 1)]
    spoiled = Point(crowd, boasts=True)
    spoiled.forged = {one.key for number, one in enumerate(crowd) if number % 3}
    one_bad = Point(crowd, boasts=True)
    one_bad.forged = {max(low, key=lambda one: one.key).key} if low else set()
    past = [stored_record(bytes([number]) * 32, now=WALL - 3 * PERIOD) for number in range(256)]
    return {
        "nothing": Point(boasts=True),
        "a few hundred, which are good": Point(crowd[::2], boasts=True),
        "unsigned ones side by side": Clustered(crowd[0]),
        "signed ones, all of one half": Point(low, boasts=True),
        "signed ones of one half for both": OneSide(low, boasts=True),
        "half as many, each twice": Twice(crowd, boasts=True),
        "two of three unsigned": spoiled,
        "one unsigned in the middle": one_bad,
        "63 in one half": Point(low + [one for one in crowd if one not in low][:63], boasts=True),
        "what expired": Point(past, boasts=True),
    }


LIES = list(liars(some_records(2)))


@pytest.mark.parametrize("lie", LIES)
async def test_a_contact_point_that_lies_is_told_no_bit_that_it_has_not_borne_out(
    lie: str, serve: Serve, crowd: list[StoredRecord]
) -> None:
    """Nor one that sees agents without memory again and again."""
    point = liars(crowd)[lie]
    directory = serve(point)
    for one in crowd[::250]:
        for asking in (directory, serve(point)):
            with suppress(TransportUnavailable):
                await asking.fetch(ONION, [one.key])
    assert point.unborne == []
    assert told(point) in ((2, 3) if "good" in lie else (0,))
    assert len(point.asked) <= 8 * 31


@pytest.mark.parametrize("half", [0, 1])
async def test_by_staying_nobody_says_in_which_half_its_key_lies(
    half: int, serve: Serve, crowd: list[StoredRecord]
) -> None:
    filled = [one for one in crowd if prefix_of(one.key, 1) == half]
    seen = []
    for wanted in (filled[3], next(one for one in crowd if one not in filled)):
        point = Point(filled, boasts=True)
        directory = serve(point)
        for _ in range(3):
            await directory.fetch(ONION, [wanted.key])
        seen.append(point.asked)
    assert seen[0] == seen[1]


async def test_what_is_asked_for_follows_from_the_store_and_the_last_prefix(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    """Of all keys under a prefix that is told at last, present or not, the same is asked for, in the same order."""
    point = Point(crowd)
    seen: dict[tuple[int, int], list[Fetch | Middle]] = {}
    for key in [one.key for one in crowd[::40]] + [
        bytes([number]) + bytes(31) for number in range(0, 256, 9)
    ]:
        point.asked.clear()
        await serve(point).fetch(ONION, [key])
        last = point.asked[-1]
        assert seen.setdefault((last.bits, last.prefix), point.asked[:]) == point.asked
    assert len(seen) < 20


async def test_who_shows_a_crowd_and_then_another_bucket_gains_nothing(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    point = Point(crowd, boasts=True)
    directory = serve(point)
    await directory.fetch(ONION, [crowd[7].key])
    deepest = told(point)
    assert deepest >= 3
    point.stock([one for one in crowd if prefix_of(one.key, 3) != prefix_of(crowd[7].key, 3)] + crowd[7:9])
    point.asked.clear()
    assert await directory.fetch(ONION, [crowd[7].key]) == [crowd[7]]
    assert told(point) == deepest, "what it was told before"
    point.asked.clear()
    await directory.fetch(ONION, [crowd[7].key])
    assert point.asked[0].bits == 0, "what it had shown is forgotten"
    assert told(point) < 3
    assert point.unborne == []


async def _bits_after_a_mark(serve: Serve, crowd: list[StoredRecord]) -> list[int]:
    """With how many bits the lookups of ten keys begin after one of another key was shown a crowd, as no other is."""
    point = Marking(crowd)
    directory = serve(point)
    await directory.fetch(ONION, [crowd[0].key])
    assert told(point) >= 3, "it was shown"
    begun = []
    for one in crowd[1::109]:
        point.asked.clear()
        await directory.fetch(ONION, [one.key])
        begun.append(point.asked[0].bits)
        assert {asked.bits for asked in point.asked} == {begun[-1]}
    assert len(set(point.circuits)) == 1 + len(begun)
    return begun


async def test_a_mark_that_is_set_on_one_circuit_is_not_seen_on_another(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    """Whose lookups they are cannot be told: they begin as those of an agent that was never there."""
    assert await _bits_after_a_mark(serve, crowd) == [0] * 11


async def test_an_agent_that_remembers_it_for_all_keys_is_known_again(
    serve: Serve, crowd: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(KnownBuckets, "bits", _shared)
    assert sum(map(bool, await _bits_after_a_mark(serve, crowd))) > 5


@pytest.mark.parametrize("filled", [0, 1])
async def test_strangers_who_fill_one_half_keep_nobody_from_looking(
    filled: int, serve: Serve, crowd: list[StoredRecord]
) -> None:
    """A thousand records, and about 1,400 that somebody signed under keys that begin alike."""
    strangers = [stored_record(b"%032d" % number) for number in range(2800)]
    point = Point([*crowd, *(one for one in strangers if prefix_of(one.key, 1) == filled)])
    for one in crowd[::50]:
        assert await serve(point).fetch(ONION, [one.key]) == [one]
    assert point.unborne == []


async def test_who_makes_a_crowd_up_and_signs_it_learns_what_lies_beside_it(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    """The limit that docs/threat-model.md states: two records that are not its own, among a thousand that are."""
    real = crowd[100], crowd[1000]
    point = Point(crowd, boasts=True)
    directory = serve(point)
    for _ in range(5):
        assert await directory.fetch(ONION, [real[0].key]) == [real[0]]
    last = point.asked[-1]
    beside = [one for one in point.under(last.bits, last.prefix) if one in real]
    assert beside == [real[0]]
    assert len(point.under(last.bits, last.prefix)) >= LEAST_IN_BUCKET, "so many it has to make for each bit"
    assert point.unborne == []


def _shared(known: KnownBuckets, onion: str, key: bytes, now: float) -> int:
    """As deep as all buckets on the way to this key were borne out, for whatever key."""
    borne_out = {
        (bits, prefix_of(other, bits))
        for (_, other), ends in known._until.items()
        for bits in range(len(ends))
    }
    bits = 0
    while (bits, prefix_of(key, bits)) in borne_out:
        bits += 1
    return bits


def _anywhere(known: KnownBuckets, onion: str, key: bytes, now: float) -> int:
    """As deep as any bucket was borne out."""
    return max(map(len, known._until.values()), default=0)


def _unsigned(bucket: Bucket, now: float) -> float | None:
    """By how much came, whatever it was."""
    return now + PERIOD if len(bucket.entries) >= LEAST_IN_BUCKET else None


def _one_half(bucket: Bucket, now: float) -> float | None:
    """By how much came that is signed, wherever it lies."""
    return now + PERIOD if len(bucket.good(now)) >= LEAST_IN_BUCKET else None


@pytest.mark.parametrize(
    ("owner", "name", "leaky", "expected"),
    [
        pytest.param(
            KnownBuckets, "bits", _anywhere, {"a few hundred, which are good"}, id="one bucket for all"
        ),
        pytest.param(
            Bucket,
            "halves_good_until",
            _unsigned,
            {
                "unsigned ones side by side",
                "signed ones, all of one half",
                "signed ones of one half for both",
                "half as many, each twice",
                "two of three unsigned",
                "one unsigned in the middle",
                "63 in one half",
                "what expired",
            },
            id="entries not looked at",
        ),
        pytest.param(
            Bucket,
            "halves_good_until",
            _one_half,
            {"signed ones, all of one half", "signed ones of one half for both", "63 in one half"},
            id="halves not told apart",
        ),
    ],
)
async def test_an_agent_that_believes_more_is_caught(
    owner: type,
    name: str,
    leaky: Callable[..., float | None],
    expected: set[str],
    serve: Serve,
    crowd: list[StoredRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The controls: leaky agents tell the same liars bits that nothing bears out."""
    monkeypatch.setattr(owner, name, leaky)
    caught = set()
    for lie, point in liars(crowd).items():
        directory = serve(point)
        for number in (200, 600, 1000, 200):
            with suppress(TransportUnavailable):
                await directory.fetch(ONION, [crowd[number].key])
        if point.unborne:
            caught.add(lie)
    assert caught >= expected
