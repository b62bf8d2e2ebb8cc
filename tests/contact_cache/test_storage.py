"""Entries in SQLite and PostgreSQL: which one wins, ranges, expiry, counts, and what a file gives away."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from relay.contact_cache import Outcome, Row, SqlEntryStore, Summary
from relay.contact_cache.digests import EMPTY_DIGEST, SetDigests, entry_digest
from relay.contact_cache.entry import short_hash
from relay.core import MisuseError, SeededEntropy, TransportUnavailable

FIRST, LAST = bytes(32), b"\xff" * 32


def entry(key: bytes, revision: int = 1, expires: int = 100, body: bytes = b"body", kind: int = 1) -> Row:
    return Row(kind, key, revision, expires, body * 500)


def keys_of(seed: str, count: int) -> list[bytes]:
    entropy = SeededEntropy(seed)
    return [entropy.token(32) for _ in range(count)]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlEntryStore]:
    opened = await SqlEntryStore.open(database_url)
    yield opened
    await opened.close()


async def everything(store: SqlEntryStore, kind: int = 1) -> list[Row]:
    return await store.select(kind, FIRST, LAST, limit=10_000)


async def assert_tallies_are_right(store: SqlEntryStore, kind: int = 1) -> None:
    rows = await everything(store, kind)
    assert await store.count(kind) == len(rows)
    counted = Counter(int.from_bytes(row.key[:2]) >> 2 for row in rows)
    assert {place: int(n) for place, n in enumerate(store.counts(kind)) if n} == counted
    digests = SetDigests()
    for row in rows:
        digests.add(int.from_bytes(row.key[:2]) >> 4, entry_digest(row.key, row.revision, row.body))
    found = store.digests(kind)
    assert [digest for digest, _ in found] == list(digests.digests())
    assert sum(count for _, count in found) == len(rows)


async def test_the_highest_revision_wins(store: SqlEntryStore) -> None:
    key = b"k" * 32
    assert await store.put(entry(key, 2)) is Outcome.STORED
    assert await store.put(entry(key, 2)) is Outcome.SAME
    assert await store.put(entry(key, 1)) is Outcome.OLDER
    assert await everything(store) == [entry(key, 2)]
    assert await store.put(entry(key, 2**63 - 1, expires=2**53)) is Outcome.STORED
    assert await everything(store) == [entry(key, 2**63 - 1, expires=2**53)]
    assert await store.revision(1, key) == 2**63 - 1
    assert await store.revision(2, key) is None
    await assert_tallies_are_right(store)


async def test_of_one_revision_the_bytes_that_sort_higher_win(store: SqlEntryStore) -> None:
    key = b"k" * 32
    assert await store.put(entry(key, body=b"\x80")) is Outcome.STORED
    assert await store.put(entry(key, body=b"\x7f")) is Outcome.OLDER
    assert await store.put(entry(key, body=b"\xff")) is Outcome.STORED
    assert await everything(store) == [entry(key, body=b"\xff")]
    await assert_tallies_are_right(store)


async def test_points_that_learn_in_different_orders_end_with_the_same_set(store: SqlEntryStore) -> None:
    arrivals = [entry(b"k" * 32, revision, body=bytes([body])) for revision in (1, 2) for body in (1, 9, 200)]
    for kind, order in enumerate((arrivals, arrivals[::-1], arrivals[3:] + arrivals[:3]), start=1):
        await store.put_many([Row(kind, row.key, row.revision, row.expires, row.body) for row in order])
        assert [row.body for row in await everything(store, kind)] == [arrivals[-1].body]
        await assert_tallies_are_right(store, kind)
    assert store.digests(1) == store.digests(2) == store.digests(3)


async def test_one_call_may_bring_one_key_several_times(store: SqlEntryStore) -> None:
    key = b"k" * 32
    outcomes = await store.put_many([entry(key, 2), entry(key, 1), entry(key, 2), entry(key, 3)])
    assert outcomes == [Outcome.STORED, Outcome.OLDER, Outcome.SAME, Outcome.STORED]
    assert await everything(store) == [entry(key, 3)]
    await assert_tallies_are_right(store)


async def test_many_writers_of_one_key_leave_the_highest(store: SqlEntryStore) -> None:
    key = b"k" * 32
    outcomes = await asyncio.gather(*(store.put(entry(key, revision)) for revision in range(60)))
    assert outcomes[-1] is Outcome.STORED
    assert await everything(store) == [entry(key, 59)]
    await assert_tallies_are_right(store)


async def test_kinds_do_not_mix(store: SqlEntryStore) -> None:
    key = b"k" * 32
    await store.put_many([entry(key, kind=kind, revision=kind) for kind in (1, 2, 3)])
    for kind in (1, 2, 3):
        assert await everything(store, kind) == [entry(key, kind=kind, revision=kind)]
        assert await store.count(kind) == 1
    assert await store.count(4) == 0


async def test_ranges_include_both_ends_and_come_in_pages(store: SqlEntryStore) -> None:
    keys = sorted([*keys_of("ranges", 300), FIRST, LAST])
    assert set(await store.put_many([entry(key) for key in keys])) == {Outcome.STORED}
    found = await store.select(1, keys[10], keys[200], limit=1000)
    assert [row.key for row in found] == keys[10:201]
    assert await store.select(1, keys[10], keys[200], offset=64, limit=64) == found[64:128]
    assert await store.select(1, keys[10], keys[200], after=keys[73], limit=64) == found[64:128]
    assert [row.key for row in await everything(store)] == keys
    await assert_tallies_are_right(store)


async def test_what_lies_around_a_middle_comes_from_both_sides_in_the_order_of_keys(
    store: SqlEntryStore,
) -> None:
    keys = sorted(keys_of("around", 300))
    await store.put_many([entry(key) for key in keys])
    await store.put(entry(keys[150], kind=2))
    lower, upper = (keys[10], keys[149]), (keys[150], keys[290])
    found = await store.around(1, lower, upper, limit=64)
    assert [row.key for row in found] == keys[86:214]
    assert {row.kind for row in found} == {1}
    found = await store.around(1, (keys[145], keys[149]), (keys[150], keys[151]), limit=64)
    assert [row.key for row in found] == keys[145:152], "fewer where there are no more"
    assert await store.around(3, lower, upper, limit=64) == []


async def test_summaries_tell_what_is_there(store: SqlEntryStore) -> None:
    keys = sorted(keys_of("summaries", 40))
    await store.put_many([entry(key, place, body=bytes([place])) for place, key in enumerate(keys)])
    expected = [
        Summary(key, place, short_hash(entry(key, body=bytes([place])).body))
        for place, key in enumerate(keys)
    ]
    assert await store.summaries(1, FIRST, LAST, limit=100) == expected
    assert await store.summaries(1, FIRST, LAST, after=keys[9], limit=5) == expected[10:15]
    assert await store.summaries(1, FIRST, LAST, offset=30, limit=100) == expected[30:]


async def test_entries_are_found_by_the_beginnings_of_their_keys(store: SqlEntryStore) -> None:
    keys = sorted(keys_of("short", 200))
    await store.put_many([entry(key) for key in keys])
    wanted = keys[::4]
    unknown = keys_of("unknown", 14)
    found = await store.select_keys(1, [key[:16] for key in wanted + unknown])
    assert [row.key for row in found] == wanted
    assert await store.select_keys(1, []) == []
    assert await store.select_keys(2, [keys[0][:16]]) == []


async def test_what_has_expired_goes_in_steps_between_which_others_write(store: SqlEntryStore) -> None:
    stale, fresh = keys_of("stale", 600), keys_of("fresh", 50)
    await store.put_many([entry(key, expires=99) for key in stale])
    await store.put_many([entry(key, expires=100) for key in fresh])
    expiry = asyncio.create_task(store.expire(100.9))
    during = keys_of("during", 20)
    for key in during:
        assert await store.put(entry(key, expires=101)) is Outcome.STORED
    assert await expiry == 600
    assert {row.key for row in await everything(store)} == {*fresh, *during}
    await assert_tallies_are_right(store)
    assert await store.expire(100.9) == 0


async def test_counts_and_digests_come_back_when_it_is_opened_again(database_url: str) -> None:
    store = await SqlEntryStore.open(database_url)
    for kind in (1, 2):
        await store.put_many([entry(key, kind=kind) for key in keys_of(f"again {kind}", 500)])
    kept = [store.digests(kind) for kind in (1, 2, 3)]
    assert {digest for digest, _ in kept[2]} == {EMPTY_DIGEST}
    await store.close()
    store = await SqlEntryStore.open(database_url)
    try:
        assert [store.digests(kind) for kind in (1, 2, 3)] == kept
        for kind in (1, 2):
            assert await store.count(kind) == 500
            await assert_tallies_are_right(store, kind)
    finally:
        await store.close()


async def test_a_second_program_of_a_cluster_is_heard_of_after_a_recount(postgres_url: str) -> None:
    one = await SqlEntryStore.open(postgres_url)
    other = await SqlEntryStore.open(postgres_url)
    try:
        await asyncio.gather(*(one.put(entry(key)) for key in keys_of("one", 50)))
        assert await other.count(1) == 0
        # Replaces what it never counted.
        await other.put_many([entry(key, 2) for key in keys_of("one", 30)])
        await asyncio.gather(one.recount(), other.recount(), one.put(entry(b"k" * 32)))
        await other.recount()
        assert one.digests(1) == other.digests(1)
        await assert_tallies_are_right(one)
        await assert_tallies_are_right(other)
    finally:
        await one.close()
        await other.close()


async def test_an_impossible_entry_fails_its_caller_alone(store: SqlEntryStore) -> None:
    outcomes = await asyncio.gather(
        store.put(entry(b"short")),
        store.put(entry(b"k" * 32, 2**63)),
        store.put(entry(b"k" * 32)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [MisuseError, MisuseError, Outcome]


async def test_a_failing_database_is_unavailable(tmp_path: Path) -> None:
    store = await SqlEntryStore.open(f"sqlite:///{tmp_path / 'r.db'}")
    try:
        await store.put(entry(b"a" * 32))
        with closing(sqlite3.connect(tmp_path / "r.db")) as other:
            other.execute("DROP TABLE entries")
        with pytest.raises(TransportUnavailable):
            await everything(store)
        with pytest.raises(TransportUnavailable):
            await store.put(entry(b"b" * 32))
        with pytest.raises(TransportUnavailable):
            await store.expire(1000)
        assert await store.count(1) == 1
    finally:
        await store.close()


async def test_the_file_does_not_say_in_which_order_entries_came(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = await SqlEntryStore.open(f"sqlite:///{path}")
    keys = keys_of("order", 20)
    for key in keys:
        await store.put(entry(key))
    await store.close()
    with closing(sqlite3.connect(path)) as other:
        found = [row[0] for row in other.execute("SELECT key FROM entries NOT INDEXED")]
        with pytest.raises(sqlite3.OperationalError, match="rowid"):
            other.execute("SELECT rowid FROM entries")
    assert found == sorted(keys)
    assert found != keys


async def test_what_went_is_not_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = await SqlEntryStore.open(f"sqlite:///{path}")
    await store.put_many([entry(key, body=b"old!") for key in keys_of("gone", 100)])
    await store.put_many([entry(key, 2, body=b"new!", expires=200) for key in keys_of("gone", 50)])
    await store.expire(101)
    await store.close()
    content = path.read_bytes()
    assert b"new!" in content
    assert b"old!" not in content


async def test_no_question_makes_sqlite_walk_through_everything(tmp_path: Path) -> None:
    plans: list[str] = []
    store = await SqlEntryStore.open(f"sqlite:///{tmp_path / 'r.db'}")
    await store.put_many([entry(key) for key in keys_of("plans", 500)])

    def explain(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "DELETE", "INSERT")):
            raw = connection.connection.cursor()
            row = parameters[0] if isinstance(parameters, list) else parameters
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", row)
            plans.extend(str(step[3]) for step in raw.fetchall())

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        key = keys_of("plans", 1)[0]
        await everything(store)
        await store.select_keys(1, [key[:16], bytes(16)])
        await store.summaries(1, key, LAST, limit=10)
        await store.revision(1, key)
        await store.put_many([entry(key, 2), entry(b"k" * 32)])
        await store.put(entry(key, 2, body=b"tie"))
        assert await store.expire(1000) == 501
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
        await store.close()
    assert len(plans) >= 10
    # Every step goes to a key, a range of keys, or the beginning of what expires.
    for plan in plans:
        assert plan.startswith("SEARCH"), plan
        assert "key" in plan.partition("(")[2] or "expires<?" in plan, plan
