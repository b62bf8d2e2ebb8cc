"""Twenty contact points on virtual time: cut in two, healed, away for days, and with liars among them."""

from collections.abc import Sequence
from functools import partial
from typing import Self

import pytest

from relay.contact_cache.asks import AskPeers
from relay.contact_cache.entry import Entry, Outcome, Row
from relay.contact_cache.host_cache import ROUND, PullOutcome
from relay.contact_cache.pull_budget import PullBudget
from relay.core import SeededEntropy
from tests.contact_cache.points import SKEW, MemoryStore, Network, Point, make_entry, names
from tests.contact_cache.test_synchronisation import LIARS, Liar

START = 1_800_000_000.0
DAY = 86400
POINTS = 20


class Oracle:
    """What all points must come to hold: the highest version of everything that was ever published and still lives."""

    def __init__(self) -> None:
        self.best: dict[bytes, Row] = {}

    def publish(self, at: Point, row: Row) -> None:
        at.store.put(row)
        known = self.best.get(row.key)
        if known is None or (row.revision, row.body) > (known.revision, known.body):
            self.best[row.key] = row

    def bodies(self, now: float) -> set[bytes]:
        return {row.body for row in self.best.values() if row.expires >= now - SKEW}


class WatchedStore(MemoryStore):
    """Fails as soon as anything comes back that had gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[bytes] = set()
        """Bodies that were superseded."""
        self.expired: set[bytes] = set()
        """Keys whose entries expired; nobody publishes anything under these any more."""

    def put(self, entry: Entry) -> Outcome:
        old = self.rows.get(entry.key)
        outcome = super().put(entry)
        if outcome is Outcome.STORED:
            assert entry.body not in self.gone, "resurrected"
            assert entry.key not in self.expired, "resurrected"
            if old is not None:
                assert (old.revision, old.body) < (entry.revision, entry.body)
                self.gone.add(old.body)
        return outcome

    def copy(self) -> Self:
        other = super().copy()
        other.gone, other.expired = set(self.gone), set(self.expired)
        return other

    def expire(self, before: float) -> None:
        held = set(self.rows)
        super().expire(before)
        if len(held) != len(self.rows):
            self.expired |= held - set(self.rows)


def build(count: int, entropy: SeededEntropy, seeds: int = 3) -> list[Point]:
    onions = names(count)
    points = [Point(onion, onions[:seeds], PullBudget(), SeededEntropy(onion)) for onion in onions]
    for point in points:
        point.store = WatchedStore()
    return points


def share(points: Sequence[Point], rows: Sequence[Row]) -> None:
    """Give all points the same entries, as if they had been synchronised long ago."""
    filled = WatchedStore()
    for row in rows:
        filled.put(row)
    for point in points:
        point.store = filled.copy()


def check(points: Sequence[Point], oracle: Oracle, now: float) -> None:
    expected = oracle.bodies(now)
    for point in points:
        point.sweep(now)
        held = {row.body for row in point.store.rows.values()}
        assert held - expected == set(), "something came back, or was made up"
        assert expected - held == set(), "something was lost"
    assert len({point.store.fingerprint() for point in points}) == 1
    assert len({tuple(point.store.digests()) for point in points}) == 1


def test_two_halves_cut_off_for_an_hour_are_identical_two_rounds_after() -> None:
    entropy, oracle = SeededEntropy("partition"), Oracle()
    points = build(POINTS, entropy)
    lasting, ending = int(START) + 2 * DAY, int(START) + int(4 * ROUND) - 600
    common = [make_entry(entropy.token(32), 10, lasting) for _ in range(5400)]
    common += [make_entry(entropy.token(32), 10, ending + entropy.below(1200)) for _ in range(600)]
    share(points, common)
    oracle.best = {row.key: row for row in common}
    network = Network(points, START, entropy)
    # The first four rounds: names are learned from three seeds alone.
    network.pass_time(START + 4 * ROUND)
    assert all(len(point.hosts) == POINTS - 1 for point in points)

    cut = network.now
    network.side = {point.onion: number % 2 for number, point in enumerate(points)}

    def publish(at: Point, row: Row) -> None:
        network.at(entropy.uniform(cut, cut + 3600), partial(oracle.publish, at, row))

    for _ in range(4000):
        publish(entropy.choice(points), make_entry(entropy.token(32), 10, lasting))
    # Replaced on one side, on both with different revisions, on both with one revision and other bytes.
    for number, row in enumerate(common[:900]):
        note = entropy.token(8)
        publish(points[number % 2], make_entry(row.key, 11, lasting, note))
        if number % 3:
            publish(points[1 - number % 2], make_entry(row.key, 10 + number % 3, lasting, entropy.token(8)))
    # Published and expired before the cut is healed, or shortly after.
    for number in range(400):
        expires = int(cut) - SKEW + 600 + number * 12
        publish(entropy.choice(points), make_entry(entropy.token(32), 1, expires))
    network.pass_time(cut + 3600)
    assert len({point.store.fingerprint() for point in points}) > 1

    network.side = {}
    network.pass_time(cut + 3600 + 2 * ROUND)
    assert len(oracle.bodies(network.now)) > 9000
    assert len(oracle.best) > 10_000
    check(points, oracle, network.now)
    for point in points:
        assert point.counters["pulls lied"] == 0
        assert point.counters["entries forged"] == 0


def test_who_was_away_for_days_catches_up_and_brings_nothing_back() -> None:
    entropy, oracle = SeededEntropy("away"), Oracle()
    points = build(6, entropy)
    common = [make_entry(entropy.token(32), 10, int(START) + DAY + number * 300) for number in range(600)]
    share(points, common)
    oracle.best = {row.key: row for row in common}
    network = Network(points, START, entropy)
    network.pass_time(START + 2 * ROUND)
    away = points[4]
    network.side = {away.onion: -1}
    # It goes on pulling in vain, and holds what it had; the others go on without it for five days.
    for number, row in enumerate(common[::3]):
        newer = make_entry(row.key, 11, row.expires + (number % 2) * DAY)
        network.at(network.now + number * 60, partial(oracle.publish, points[0], newer))
    for number in range(300):
        row = make_entry(entropy.token(32), 1, int(START) + 7 * DAY)
        network.at(network.now + number * 1000, partial(oracle.publish, points[number % 4], row))
    away_sweep, away.store.expire = away.store.expire, lambda before: None  # type: ignore[method-assign]
    network.pass_time(START + 5 * DAY)
    assert len(away.store.rows) == 600  # the whole past, and a machine that forgot nothing of it
    network.side = {}
    away.store.expire = away_sweep  # type: ignore[method-assign]
    others = [point for point in points if point is not away]
    network.pass_time(network.now + 2 * ROUND)
    check(others, oracle, network.now)
    # It answered nobody for five days, so that it is asked again late, but it asks at once.
    check(points, oracle, network.now)
    network.pass_time(network.now + DAY)
    check(points, oracle, network.now)


@pytest.mark.parametrize("liar", LIARS)
def test_a_liar_among_them_is_asked_less_and_less_and_changes_nothing(liar: type[Liar]) -> None:
    entropy, oracle = SeededEntropy("liar"), Oracle()
    points = build(3, entropy, seeds=3)
    bad = liar(
        points[2].onion, [point.onion for point in points], PullBudget(page=100, wanted=16), SeededEntropy(2)
    )
    honest, everybody = points[:2], [*points[:2], bad]
    rows = [make_entry(entropy.token(32), 10, int(START) + 30 * DAY) for _ in range(300)]
    for point in everybody:
        for row in rows:
            point.store.put(row)
        point.budget = PullBudget(page=100, wanted=16)
    oracle.best = {row.key: row for row in rows}
    # What it has and they have not, so that there is always something to lie about.
    withheld = [make_entry(entropy.token(32), 10, int(START) + 30 * DAY) for _ in range(200)]
    for row in withheld:
        bad.store.put(row)
    network = Network(everybody, START, entropy)
    for hour in range(2 * 24):
        row = make_entry(entropy.token(32), 1, int(START) + 30 * DAY)
        network.at(START + hour * 3600.0, partial(oracle.publish, honest[hour % 2], row))
    wasted = 0
    for puller, peer, pull in network.run(START + 3 * DAY):
        if peer == bad.onion and puller is not bad:
            wasted += pull.answers
    expected = oracle.bodies(network.now)
    for point in honest:
        held = {row.body for row in point.store.rows.values()}
        assert expected <= held <= expected | {row.body for row in withheld}
    assert len({point.store.fingerprint() for point in honest}) == 1
    for point in honest:
        asked = point.asked[bad.onion]
        first = sum(at < START + DAY for at in asked)
        last = sum(at > START + 2 * DAY for at in asked)
        assert first <= 10
        assert last <= 1
        steady = point.asked[honest[0].onion if point is not honest[0] else honest[1].onion]
        assert len(steady) >= 3 * 23  # the others are asked as ever
    assert wasted <= 2 * 12 * PullBudget(page=100, wanted=16).in_vain((420,))


def test_many_points_that_answer_cannot_fill_the_store_or_the_rounds() -> None:
    """A flood: forty points of one attacker that tell of one another, each full of entries that it signed itself."""
    entropy = SeededEntropy("flood")
    honest = build(3, entropy)
    seeds = [point.onion for point in honest]
    flooders = [Point(onion, seeds, PullBudget(), SeededEntropy(onion)) for onion in names(40, "flood")]
    for flooder in flooders:
        for _ in range(100):
            flooder.store.put(make_entry(entropy.token(32), 1, int(START) + 30 * DAY))
    for point in honest:
        point.room = 2000
    row = make_entry(entropy.token(32), 1, int(START) + 30 * DAY)
    honest[0].store.put(row)

    def announce(point: Point, onion: str, at: float) -> None:
        point.answer(AskPeers(), onion, at)

    # The flooders pull from nobody; they announce themselves and answer.
    network = Network(honest, START, entropy)
    network.points.update({flooder.onion: flooder for flooder in flooders})
    for flooder in flooders:
        for other in flooders:
            flooder.hosts.learn([other.onion], other.onion, START)
            flooder.hosts.note(other.onion, PullOutcome.IDLE, START + 9 * ROUND, flooder.entropy)
    for hour in range(10):
        at = START + hour * ROUND
        for flooder in flooders:
            for point in honest:
                network.at(at, partial(announce, point, flooder.onion, at))
    network.pass_time(START + 10 * ROUND)
    for point in honest:
        assert row.key in point.store.rows
        direct = point.brought.total()
        assert 0 < direct <= 2000 // 2
        for seed in seeds:
            if seed != point.onion:
                assert len(point.asked[seed]) >= 9
