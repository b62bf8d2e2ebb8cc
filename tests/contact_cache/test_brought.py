"""What learned peers bring: nobody takes a place twice, and nobody is charged twice for what is here once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from relay.contact_cache import Row, SqlEntryStore, brought
from relay.contact_cache.brought import Charges
from relay.core import SeededEntropy, TransportUnavailable

DAY = 86400
NOW = 20_000 * DAY
ROOM = 400
BEFORE = NOW - 1800.0
PEERS = [letter * 56 for letter in "bcde"]


def renewed(rows: Sequence[Row], revision: int, longer: int = 0) -> list[Row]:
    return [Row(1, row.key, revision, row.expires + longer, row.body) for row in rows]


class Bench:
    """A store, and entries for it that nobody made twice."""

    def __init__(self, store: SqlEntryStore, seed: str = "brought") -> None:
        self.store = store
        self.entropy = SeededEntropy(seed)

    def rows(self, count: int, expires: int = NOW + 2 * DAY) -> list[Row]:
        return [Row(1, self.entropy.token(32), 1, expires, bytes(2040)) for _ in range(count)]

    async def bring(self, peer: str, rows: Sequence[Row], *, room: int = ROOM, before: float = BEFORE) -> int:
        """As a pull does; how many had a place."""
        outcomes = await self.store.bring(rows, room, peer, before)
        return len(outcomes) - outcomes.count(None)

    async def left(self, peer: str, before: float = BEFORE) -> int:
        return await self.store.places(1, ROOM, peer, before)


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    store = await SqlEntryStore.open(database_url)
    yield Bench(store)
    await store.close()


async def test_a_quarter_each_half_together_and_seeds_all_there_is(bench: Bench) -> None:
    assert await bench.left(PEERS[0]) == 100
    assert await bench.bring(PEERS[0], bench.rows(64)) == 64
    assert (await bench.left(PEERS[0]), await bench.left(PEERS[1])) == (36, 100)
    assert [await bench.bring(peer, bench.rows(150)) for peer in PEERS] == [36, 100, 0, 0]
    assert await bench.left(PEERS[3]) == 0
    assert await bench.left("") == 200
    assert await bench.bring("", bench.rows(300)) == 200
    assert await bench.store.count(1) == ROOM


async def test_a_place_is_free_when_what_took_it_is_gone_and_not_when_a_day_begins(bench: Bench) -> None:
    assert await bench.bring(PEERS[0], bench.rows(100)) == 100
    for hours in (24, 47, 49):
        before = BEFORE + hours * 3600
        await bench.store.expire(before)
        gone = await bench.store.count(1) == 0
        assert (await bench.left(PEERS[0], before)) == (100 if gone else 0)
    assert gone
    assert await bench.bring(PEERS[0], bench.rows(101, NOW + 9 * DAY), before=before) == 100


async def test_what_is_there_may_be_replaced_and_stays_charged_as_long_as_it_is_there(bench: Bench) -> None:
    rows = bench.rows(100)
    assert await bench.bring(PEERS[0], rows) == 100
    assert await bench.bring(PEERS[0], [*renewed(rows, 2), *bench.rows(1)]) == 100
    assert await bench.left(PEERS[1]) == 100
    assert await bench.bring(PEERS[0], renewed(rows, 3, DAY)) == 100
    before = BEFORE + 2 * DAY + 1801
    await bench.store.expire(before)
    assert await bench.store.count(1) == 100
    assert await bench.left(PEERS[0], before) == 0
    # Nor by somebody else's making it last longer does it get out of the count.
    assert await bench.bring(PEERS[1], renewed(rows, 4, 2 * DAY), before=before) == 100
    assert [await bench.left(peer, before + DAY) for peer in PEERS[:3]] == [100, 0, 100]


async def test_whoever_renews_what_it_brought_takes_no_place_from_others(bench: Bench) -> None:
    rows = bench.rows(100)
    assert await bench.bring(PEERS[0], rows) == 100
    for days in (1, 2, 3):
        assert await bench.bring(PEERS[0], renewed(rows, 1 + days, days * DAY)) == 100
        assert [await bench.left(peer) for peer in PEERS[:2]] == [0, 100]


async def test_whoever_renews_what_seeds_brought_takes_no_place(bench: Bench) -> None:
    rows = bench.rows(200)
    assert await bench.bring("", rows) == 200
    assert await bench.bring(PEERS[0], renewed(rows, 2, DAY)) == 200
    assert [await bench.left(peer) for peer in PEERS[:2]] == [100, 100]


async def test_what_expired_and_was_not_swept_is_new(bench: Bench) -> None:
    rows = bench.rows(100)
    assert await bench.bring("", rows) == 100
    later = BEFORE + 3 * DAY
    assert await bench.bring(PEERS[0], renewed(rows, 2, 5 * DAY), before=later) == 100
    assert await bench.left(PEERS[0], later) == 0


async def test_what_is_not_kept_takes_no_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench.rows(50)
    await bench.store.put_many(renewed(rows, 2))
    assert await bench.bring(PEERS[0], renewed(rows, 1, DAY)) == 50
    assert await bench.left(PEERS[0]) == 100

    def fails(*_: object) -> None:
        raise TransportUnavailable("no")

    for step in ("store", "_write"):
        with monkeypatch.context() as patch:
            patch.setattr(brought, step, fails)
            for _ in range(4):
                with pytest.raises(TransportUnavailable):
                    await bench.bring(PEERS[0], bench.rows(64))
    assert await bench.left(PEERS[0]) == 100
    assert await bench.store.count(1) == 50
    assert await bench.store.revision(1, rows[0].key) == 2
    assert await bench.bring(PEERS[0], bench.rows(120)) == 100
    assert await bench.store.count(1) == 150


async def test_what_was_counted_survives_a_restart_and_names_no_peer(database_url: str) -> None:
    store = await SqlEntryStore.open(database_url)
    bench = Bench(store)
    assert await bench.bring(PEERS[0], bench.rows(150)) == 100
    await store.close()
    again = await SqlEntryStore.open(database_url)
    try:
        assert await again.places(1, ROOM, PEERS[0], BEFORE) == 0
        assert await again.places(1, ROOM, PEERS[1], BEFORE) == 100
        assert await again.places(2, ROOM, PEERS[0], BEFORE) == 100
    finally:
        await again.close()


async def test_programs_of_one_cluster_share_the_places(postgres_url: str) -> None:
    stores = [await SqlEntryStore.open(postgres_url) for _ in range(6)]
    try:
        benches = [Bench(store, f"program {number}") for number, store in enumerate(stores)]
        for peer in (PEERS[0], PEERS[1], PEERS[2]):
            had = await asyncio.gather(
                *(bench.bring(peer, bench.rows(7)) for bench in benches for _ in range(4))
            )
            assert sum(had) == (0 if peer == PEERS[2] else 100)
        await stores[0].recount()
        assert await stores[0].count(1) == 200
    finally:
        await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize("seed", range(20))
def test_as_many_charges_last_as_entries_that_only_learned_peers_brought(seed: int) -> None:
    entropy = SeededEntropy(f"charges {seed}")
    rows: dict[tuple[bytes, int], int] = {}
    until: dict[int, int] = {}
    learned: set[int] = set()
    for number in range(300):
        peer = b"abc"[entropy.below(3) :][:1]
        charges = Charges(peer, [(*at, count) for at, count in rows.items()])
        lasts = DAY * (1 + entropy.below(8)) - entropy.below(DAY)
        old = entropy.below(number + 1)
        match entropy.below(3):
            case 0:
                charges.add(lasts)
                until[number] = lasts
                learned.add(number)
            case 1:
                until[number] = lasts
            case _ if old in until and lasts > until[old]:
                charges.prolong(until[old], lasts)
                until[old] = lasts
        rows |= {(peer, day): count for peer, day, count in charges.changed()}
        assert min(rows.values(), default=0) >= 0
        assert sum(rows.values()) == len(learned)
        for day in range(1, 9):
            last = sum(count for (_, end), count in rows.items() if end >= day)
            assert last >= sum(until[entry] > (day - 1) * DAY for entry in learned)
