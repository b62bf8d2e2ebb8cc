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
    KnownBuckets,
    StoredRecord,
    prefix_of,
)
from tests.agent.record_points import ONION, WALL, Clustered, NoDialer, OnePage, Point, told
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
    """At least 64 under every prefix of 3 bits, not of 4."""
    return some_records(1100)


def liars(crowd: list[StoredRecord]) -> dict[str, Point]:
    """Contact points that say that a key may be named with 14 bits, and what they show for it."""
    low = [one for one in crowd if not prefix_of(one.key, 1)]
    spoiled = Point(crowd, depth=14)
    spoiled.forged = {one.key for number, one in enumerate(crowd) if number % 3}
    past = [stored_record(bytes([number]) * 32, now=WALL - 3 * PERIOD) for number in range(256)]
    return {
        "nothing": Point(depth=14),
        "a few hundred, which are good": Point(crowd[::2], depth=14),
        "unsigned ones side by side": Clustered(crowd[:2]),
        "signed ones, all of one half": Point(low, depth=14),
        "a signed page again and again": OnePage(low, depth=14),
        "two of three unsigned": spoiled,
        "what expired": Point(past, depth=14),
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


@pytest.mark.parametrize("half", [0, 1])
async def test_by_staying_nobody_says_in_which_half_its_key_lies(
    half: int, serve: Serve, crowd: list[StoredRecord]
) -> None:
    filled = [one for one in crowd if prefix_of(one.key, 1) == half]
    seen = []
    for wanted in (filled[3], next(one for one in crowd if one not in filled)):
        point = Point(filled, depth=14)
        directory = serve(point)
        for _ in range(3):
            await directory.fetch(ONION, [wanted.key])
        seen.append(point.asked)
    assert seen[0] == seen[1]


async def test_who_shows_a_crowd_and_then_another_bucket_gains_nothing(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    point = Point(crowd, depth=14)
    directory = serve(point)
    for _ in range(4):
        await directory.fetch(ONION, [crowd[7].key])
    deepest = told(point)
    assert deepest >= 3
    point.stock([one for one in crowd if prefix_of(one.key, 3) != prefix_of(crowd[7].key, 3)] + crowd[7:9])
    point.asked.clear()
    assert await directory.fetch(ONION, [crowd[7].key]) == [crowd[7]]
    bits = [asked.bits for asked in point.asked]
    assert bits == sorted(bits, reverse=True), "it goes back, and in this lookup stays there"
    assert bits[-1] < 3
    assert point.unborne == []


async def test_who_makes_a_crowd_up_and_signs_it_learns_what_lies_beside_it(
    serve: Serve, crowd: list[StoredRecord]
) -> None:
    """The limit that docs/threat-model.md states: two records that are not its own, among a thousand that are."""
    real = crowd[100], crowd[1000]
    point = Point(crowd, depth=14)
    directory = serve(point)
    for _ in range(5):
        assert await directory.fetch(ONION, [real[0].key]) == [real[0]]
    last = point.asked[-1]
    beside = [one for one in point.under(last.bits, last.prefix) if one in real]
    assert beside == [real[0]]
    assert len(point.under(last.bits, last.prefix)) >= LEAST_IN_BUCKET, "so many it has to make for each bit"
    assert point.unborne == []


def _anywhere(known: KnownBuckets, key: bytes, now: float) -> int:
    """As deep as any bucket was borne out."""
    return 1 + max((bits for bits, _ in known._halved), default=-1)


def _unsigned(bucket: Bucket, now: float) -> float:
    """By how much came, whatever it was."""
    return now + PERIOD if len(bucket.entries) >= LEAST_IN_BUCKET else 0.0


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
                "a signed page again and again",
                "two of three unsigned",
                "what expired",
            },
            id="entries not looked at",
        ),
    ],
)
async def test_an_agent_that_believes_more_is_caught(
    owner: type,
    name: str,
    leaky: Callable[..., float],
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
