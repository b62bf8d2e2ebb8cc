"""The contact point's decisions: bindings, routing, bounds, records."""

from collections.abc import Sequence
from typing import Any

import pytest

from relay.core import Counters, PeerError, SeededEntropy
from relay.forward_publish import (
    ANSWER_SIZE,
    PERIOD,
    SEALED_SIZE,
    Bucket,
    ContactPoint,
    ContactPointLimits,
    ContactRecord,
    ReachableAt,
    RecordOffice,
    RecordRequest,
    RecordVisit,
    RequestKind,
    Role,
    StoredRecord,
    TokenKey,
    current_period,
    seal_record,
)
from relay.forward_publish.buckets import MOST_RECORDS, REQUEST_SIZE, parse_put_answer, prefix_of
from relay.forward_publish.contact_point import COUNTS

Pair = Any  # of conftest.py, which cannot be imported by name
ONION = "a" * 56
BODY = bytes(SEALED_SIZE)


class Bench:
    """A contact point with what is needed to look at it."""

    def __init__(self, **limits: Any) -> None:
        self.entropy = SeededEntropy("contact point")
        self.counters = Counters(COUNTS)
        self.point = ContactPoint(ONION, ContactPointLimits(**limits), self.entropy, self.counters)

    def flow(self, now: float = 0.0) -> int:
        flow = self.point.open_flow(now)
        assert flow is not None
        return flow

    def bind(self, flow: int, key: TokenKey | None = None) -> TokenKey:
        key = key or TokenKey.generate(self.entropy)
        self.point.bind(flow, key.answer(self.point.challenge(flow), ONION))
        return key


def test_a_message_goes_down_the_flow_that_bound_its_token() -> None:
    bench = Bench()
    first, second = bench.flow(), bench.flow()
    key, other = bench.bind(first), bench.bind(second)
    bench.point.route(key.token, BODY)
    assert bench.point.take_ready() == [first]
    assert bench.point.take_message(first) == (key.token, BODY)
    assert bench.point.take_message(first) is None
    assert bench.point.take_message(second) is None
    assert bench.point.is_flow(first)
    assert other.token != key.token


def test_an_unknown_token_is_taken_all_the_same() -> None:
    bench = Bench()
    flow = bench.flow()
    for token in ("", "nobody", "é" * 1000, TokenKey.generate(bench.entropy).token):
        bench.point.route(token, BODY)
    assert bench.point.take_ready() == []
    assert bench.counters["messages accepted"] == bench.counters["messages without a flow"] == 4
    assert not bench.point.is_flow(flow)


def test_a_new_binding_replaces_the_older_flow_and_its_end_takes_nothing_from_the_new_one() -> None:
    bench = Bench()
    older, newer = bench.flow(), bench.flow()
    key = bench.bind(older)
    bench.bind(newer, key)
    bench.point.route(key.token, BODY)
    assert bench.point.take_ready() == [newer]
    bench.point.close_flow(older)
    bench.point.route(key.token, BODY)
    assert bench.point.take_ready() == [newer]
    bench.point.close_flow(newer)
    assert (bench.point.tokens, bench.point.flows) == (0, 0)


def test_a_nonce_is_good_once_and_on_its_own_flow() -> None:
    bench = Bench()
    flow, other = bench.flow(), bench.flow()
    key = TokenKey.generate(bench.entropy)
    answer = key.answer(bench.point.challenge(flow), ONION)
    with pytest.raises(PeerError, match="stale"):
        bench.point.bind(other, answer)
    bench.point.bind(flow, answer)
    with pytest.raises(PeerError, match="stale"):
        bench.point.bind(flow, answer)
    bench.point.unbind(flow, key.answer(bench.point.challenge(flow), ONION))
    assert bench.point.tokens == 0


def test_a_token_of_somebody_else_is_not_bound() -> None:
    bench = Bench()
    owner, thief = bench.flow(), bench.flow()
    key = bench.bind(owner)
    forged = TokenKey(TokenKey.generate(bench.entropy).seed, key.token)
    with pytest.raises(PeerError, match="another key"):
        bench.point.bind(thief, forged.answer(bench.point.challenge(thief), ONION))
    bench.point.route(key.token, BODY)
    assert bench.point.take_ready() == [owner]
    assert bench.counters["bindings refused"] == 1


def test_at_most_eight_tokens_a_flow() -> None:
    bench = Bench()
    flow = bench.flow()
    keys = [bench.bind(flow) for _ in range(8)]
    with pytest.raises(PeerError, match="too many tokens"):
        bench.bind(flow)
    bench.bind(flow, keys[0])  # again is not more
    assert bench.point.tokens == 8


def test_everything_is_bounded() -> None:
    bench = Bench(connections=2, queue=3, burst=5, messages_per_second=1.0)
    flow, _ = bench.flow(), bench.flow()
    assert bench.point.open_flow(0.0) is None
    key = bench.bind(flow)
    for _ in range(10):
        bench.point.route(key.token, BODY)
    assert bench.counters["messages over a queue"] == 7
    assert [bench.point.take_message(flow) is not None for _ in range(4)] == [True] * 3 + [False]
    assert [bench.point.allow(flow, 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bench.point.allow(flow, 2.0)
    for _ in range(1000):
        stale = bench.point.challenge(flow)
    assert len(bench.point._flows[flow].nonces) == 16
    assert stale in bench.point._flows[flow].nonces
    for size in (0, SEALED_SIZE - 1, SEALED_SIZE + 1, 65536):
        with pytest.raises(PeerError, match="wrong size"):
            bench.point.route(key.token, bytes(size))


class MemoryStore:
    """A `RecordStore` for tests."""

    def __init__(self) -> None:
        self.records: dict[bytes, StoredRecord] = {}

    async def put(self, record: StoredRecord) -> bool:
        known = self.records.get(record.key)
        if known is not None and known.revision >= record.revision:
            return known == record
        self.records[record.key] = record
        return True

    async def select(self, first: bytes, last: bytes, limit: int) -> Sequence[StoredRecord]:
        return [self.records[key] for key in sorted(self.records) if first <= key <= last][:limit]

    async def count(self) -> int:
        return len(self.records)

    async def expire(self, before: float) -> int:
        old = [key for key, record in self.records.items() if record.expires < before]
        for key in old:
            del self.records[key]
        return len(old)


def record_of(
    pair: Pair, *, revision: int = 1, secret: bytes | None = None, expires_in: int = PERIOD
) -> StoredRecord:
    now = int(pair.clock.wall())
    record = ContactRecord(
        pair.alice.public_key,
        (ReachableAt(ONION, TokenKey.generate(pair.entropy).token),),
        pair.prekey.public,
        revision,
        now + expires_in,
    )
    peer = pair.to_bob if secret is None else type(pair.to_bob)(pair.bob.public_key, secret)
    return seal_record(record, pair.alice, peer, Role.INVITER, current_period(now), pair.entropy)


def office_of(**limits: Any) -> tuple[RecordOffice, MemoryStore, Counters]:
    counters, store = Counters(COUNTS), MemoryStore()
    return RecordOffice(store, ContactPointLimits(**limits), counters), store, counters


def put(record: StoredRecord) -> bytes:
    return RecordRequest(RequestKind.PUT, record=record).to_bytes()


async def test_put_and_fetch_and_a_miss_looks_like_a_hit(pair: Pair) -> None:
    office, _, _ = office_of()
    now = pair.clock.wall()
    fetch = RecordRequest(RequestKind.FETCH).to_bytes()
    miss = await office.answer(fetch, now)
    stored = record_of(pair)
    assert len(put(stored)) == len(fetch) == REQUEST_SIZE
    assert parse_put_answer(await office.answer(put(stored), now))
    hit = await office.answer(fetch, now)
    assert len(miss) == len(hit) == ANSWER_SIZE == 262144
    assert Bucket.parse(miss) == Bucket((), 0, True)
    assert Bucket.parse(hit) == Bucket((stored,), 0, True)


async def test_revisions_only_go_up(pair: Pair) -> None:
    office, store, counters = office_of()
    now = pair.clock.wall()
    newer = record_of(pair, revision=2)
    assert parse_put_answer(await office.answer(put(newer), now))
    assert parse_put_answer(await office.answer(put(newer), now))  # an answer may get lost
    assert not parse_put_answer(await office.answer(put(record_of(pair, revision=1)), now))
    assert list(store.records.values()) == [newer]
    assert counters["records older"] == 1


async def test_bad_requests_are_the_peers_fault_and_counted(pair: Pair) -> None:
    office, store, counters = office_of()
    now = pair.clock.wall()
    good = put(record_of(pair))
    signature_at = good.rindex(b"\xc4\x40") + 2
    forged = good[:signature_at] + bytes([good[signature_at] ^ 1]) + good[signature_at + 1 :]
    with pytest.raises(PeerError, match="forged"):
        await office.answer(forged, now)
    with pytest.raises(PeerError, match="expired"):
        await office.answer(good, now + 2 * PERIOD)
    assert counters["records refused"] == 2
    for bad in (b"", bytes(REQUEST_SIZE), good[:-1], bytes([0, 0, 255, 255]) + bytes(REQUEST_SIZE - 4)):
        with pytest.raises(PeerError):
            await office.answer(bad, now)
    for wrong in (RecordRequest(RequestKind.FETCH, 3, 8), RecordRequest(RequestKind.FETCH, 15, 0)):
        with pytest.raises(PeerError, match="bad prefix"):
            await office.answer(wrong.to_bytes(), now)
    assert counters["requests malformed"] == 6
    assert not store.records


async def test_a_full_store_takes_no_more_and_expiry_makes_room(pair: Pair) -> None:
    office, store, counters = office_of(records=1)
    now = pair.clock.wall()
    assert parse_put_answer(await office.answer(put(record_of(pair)), now))
    assert not parse_put_answer(await office.answer(put(record_of(pair, secret=bytes(32))), now))
    assert counters["records over capacity"] == 1
    assert await office.expire(now + PERIOD + 1801) == 1
    assert not store.records


async def test_a_full_store_still_takes_what_replaces_a_record(pair: Pair) -> None:
    office, store, counters = office_of(records=1)
    now = pair.clock.wall()
    assert parse_put_answer(await office.answer(put(record_of(pair)), now))
    newer = record_of(pair, revision=2)
    assert parse_put_answer(await office.answer(put(newer), now))
    assert not parse_put_answer(await office.answer(put(record_of(pair, secret=bytes(32))), now))
    assert list(store.records.values()) == [newer]
    assert counters["records over capacity"] == 1


async def test_one_connection_puts_only_a_little(pair: Pair) -> None:
    office, store, counters = office_of(puts_per_connection=2)
    now, visit = pair.clock.wall(), RecordVisit()
    records = [record_of(pair, secret=pair.entropy.token(32)) for _ in range(3)]
    fetch = RecordRequest(RequestKind.FETCH).to_bytes()
    for record in records[:2]:
        assert parse_put_answer(await office.answer(put(record), now, visit))
        assert len(await office.answer(fetch, now, visit)) == ANSWER_SIZE
    with pytest.raises(PeerError, match="too many records"):
        await office.answer(put(records[2]), now, visit)
    assert (len(store.records), counters["records over the connection"]) == (2, 1)
    assert parse_put_answer(await office.answer(put(records[2]), now, RecordVisit()))


async def test_a_crowded_bucket_asks_for_more_bits(pair: Pair) -> None:
    office, _, _ = office_of()
    now = pair.clock.wall()
    records = [record_of(pair, secret=pair.entropy.token(32)) for _ in range(MOST_RECORDS + 6)]
    for record in records:
        await office.answer(put(record), now)
    crowded = Bucket.parse(await office.answer(RecordRequest(RequestKind.FETCH).to_bytes(), now))
    assert (len(crowded.records), crowded.prefix_bits, crowded.complete) == (MOST_RECORDS, 1, False)
    wanted = records[0].key
    request = RecordRequest(RequestKind.FETCH, 1, prefix_of(wanted, 1))
    narrow = Bucket.parse(await office.answer(request.to_bytes(), now))
    assert narrow.complete
    assert records[0] in narrow.records
    assert all(prefix_of(record.key, 1) == prefix_of(wanted, 1) for record in narrow.records)


def test_a_contact_point_cannot_ask_for_more_bits_out_of_curiosity(pair: Pair) -> None:
    with pytest.raises(PeerError, match="malformed"):
        Bucket.parse(Bucket((record_of(pair),), 1, False).to_bytes())


def test_a_forged_record_in_an_answer_is_left_out(pair: Pair) -> None:
    answer = Bucket((record_of(pair), record_of(pair, secret=bytes(32))), 0, True).to_bytes()
    assert len(Bucket.parse(answer).records) == 2
    changed = bytearray(answer)
    changed[1024 + 2000] ^= 1
    assert len(Bucket.parse(bytes(changed)).records) == 1
    for wrong in (b"", answer[:-1], bytes(ANSWER_SIZE)):
        with pytest.raises(PeerError):
            Bucket.parse(wrong)
