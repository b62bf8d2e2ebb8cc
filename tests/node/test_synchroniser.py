"""Contact points in this process that pull from one another over sockets."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.contact_cache import HostCache
from relay.core import ManualClock, SystemEntropy
from relay.forward_publish import (
    ANSWER_SIZE,
    CLOCK_SKEW,
    PERIOD,
    ContactPointLimits,
    EntryKind,
    ReadEntry,
)
from relay.node import peer_stream, synchroniser
from relay.wire import frame, read_frame
from tests.node.descriptors import any_descriptor
from tests.node.fake_tor import until
from tests.node.test_contact_point import any_record

Node = Any  # the fixtures of conftest.py, which cannot be imported by name
ALICE, BOB, CAROL = (letter * 56 for letter in "bcd")


@pytest.fixture(autouse=True)
def _no_round_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchroniser, "FIRST_ROUND", 3600.0)


class Points:
    """Nodes by their onion names, on one clock, each with the others as seeds unless told otherwise."""

    def __init__(self, start_node: Node) -> None:
        self.start_node = start_node
        self.clock = ManualClock()
        self.network: dict[str, Any] = {}
        self.nodes: dict[str, Any] = {}

    async def start(self, onion: str, *peers: str, limits: ContactPointLimits | None = None) -> Any:
        node, _ = await self.start_node(
            onion=onion, peers=peers, network=self.network, clock=self.clock, state=onion[:1], limits=limits
        )
        self.nodes[onion] = node
        return node

    async def bodies(self, onion: str) -> set[bytes]:
        store = self.nodes[onion]._store
        rows = [
            row for kind in EntryKind for row in await store.select(kind, bytes(32), b"\xff" * 32, limit=1000)
        ]
        return {row.body for row in rows}


@pytest.fixture
def points(start_node: Node) -> Points:
    return Points(start_node)


async def fill(node: Any, entries: list[ReadEntry]) -> set[bytes]:
    await node._store.put_many(entries)
    return {entry.body for entry in entries}


async def test_records_and_descriptors_travel(points: Points) -> None:
    alice, bob = await points.start(ALICE, BOB), await points.start(BOB, ALICE)
    now = points.clock.wall()
    theirs = await fill(bob, [*(any_record(now) for _ in range(70)), any_descriptor(now)])
    ours = await fill(alice, [any_record(now) for _ in range(5)])
    await alice._synchroniser.pull(BOB)
    assert await points.bodies(ALICE) == ours | theirs
    assert alice.counters["entries pulled"] == 71
    await bob._synchroniser.pull(ALICE)
    assert await points.bodies(BOB) == ours | theirs
    # The next pull finds nothing and says so in one answer for each kind and one of names.
    asked = bob.counters["digests answered"], bob.counters["summaries answered"]
    await alice._synchroniser.pull(BOB)
    assert (bob.counters["digests answered"], bob.counters["summaries answered"]) == (asked[0] + 3, asked[1])
    assert (alice.counters["pulls good"], alice.counters["pulls idle"]) == (1, 1)


async def test_every_peer_has_a_circuit_of_its_own(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_stream, "REQUESTS_PER_STREAM", 2)
    alice = await points.start(ALICE, BOB, CAROL)
    for onion in (BOB, CAROL):
        await points.start(onion)
        await alice._synchroniser.pull(onion)
    isolations = points.network[ALICE].isolations
    assert len(isolations) == 4  # four requests to each, two on each stream
    assert isolations[0] == isolations[1] != isolations[2] == isolations[3]


async def test_rounds_go_by_themselves_and_names_are_learned_and_remembered(
    points: Points, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchroniser, "FIRST_ROUND", 0.1)
    monkeypatch.setattr(synchroniser, "ROUND", 3600.0)
    bob = await points.start(BOB)
    carol = await points.start(CAROL, BOB)
    record = await fill(carol, [any_record(points.clock.wall())])
    # Bob knows nobody: Carol names herself to him.
    await until(lambda: CAROL in bob._synchroniser._hosts)
    await bob._synchroniser.pull(CAROL)
    alice = await points.start(ALICE, BOB)
    await until(lambda: CAROL in alice._synchroniser._hosts)
    assert await points.bodies(ALICE) == record
    known = tmp_path / "b" / "peers.known"
    await until(known.exists)
    assert stat.S_IMODE(known.stat().st_mode) == 0o600
    await alice.close()
    again = HostCache.from_bytes(known.read_bytes(), [BOB], own=ALICE)
    assert CAROL in again
    assert again.is_seed(BOB)


async def test_who_was_away_comes_back_without_what_expired(points: Points) -> None:
    alice, bob = await points.start(ALICE, BOB), await points.start(BOB, ALICE)
    old = await fill(bob, [any_record(points.clock.wall()) for _ in range(10)])
    await alice._synchroniser.pull(BOB)
    assert await points.bodies(ALICE) == old
    points.clock.advance(2 * PERIOD + CLOCK_SKEW + 1)
    new = await fill(alice, [any_record(points.clock.wall()) for _ in range(3)])
    await alice._synchroniser.pull(BOB)
    assert await points.bodies(ALICE) == new
    assert await points.bodies(BOB) == old  # it has not looked at its clock yet
    assert alice.counters["entries out of date"] == 10
    await bob._synchroniser.pull(ALICE)
    assert await points.bodies(BOB) == new


async def test_a_full_store_takes_what_replaces_and_nothing_else(points: Points) -> None:
    alice = await points.start(ALICE, BOB, limits=ContactPointLimits(records=10))
    bob = await points.start(BOB)
    now = points.clock.wall()
    await fill(alice, [any_record(now) for _ in range(8)])
    await fill(bob, [any_record(now) for _ in range(40)])
    await alice._synchroniser.pull(BOB)
    assert await alice._store.count(EntryKind.RECORD) == 10
    assert alice.counters["entries not kept"] == 0, "what there is no room for is not even fetched"
    assert alice.counters["pulls good"] == 1


async def test_peers_that_are_pulled_from_at_once_share_their_places(points: Points) -> None:
    alice = await points.start(ALICE, limits=ContactPointLimits(records=400))
    strangers = [letter * 56 for letter in "efgh"]
    for onion in strangers:
        await fill(await points.start(onion), [any_record(points.clock.wall()) for _ in range(150)])
    await asyncio.gather(*(alice._synchroniser.pull(onion) for onion in strangers))
    assert await alice._store.count(EntryKind.RECORD) == 200
    # Nobody is to blame for that; and our own users find room.
    assert alice.counters["pulls poor"] == alice.counters["pulls lied"] == 0
    assert await alice._store.places(EntryKind.RECORD, 400, "", points.clock.wall()) == 200


async def test_what_learned_peers_brought_takes_its_places_until_it_is_gone(points: Points) -> None:
    alice = await points.start(ALICE, limits=ContactPointLimits(records=40))
    strangers = {letter * 56: await points.start(letter * 56) for letter in "efgh"}
    held = []
    for _ in range(5):
        for onion, node in strangers.items():
            await fill(node, [any_record(points.clock.wall()) for _ in range(10)])
            await alice._synchroniser.pull(onion)
        held.append(await alice._store.count(EntryKind.RECORD))
        points.clock.advance(PERIOD)
    # What came in one period is of use in the next one, too.
    assert held[:2] == [20, 20]
    assert 0 < max(held) <= 20


async def test_what_learned_peers_bring_is_bounded(points: Points) -> None:
    alice = await points.start(ALICE, limits=ContactPointLimits(records=40))
    bob = await points.start(BOB, ALICE)
    await fill(bob, [any_record(points.clock.wall()) for _ in range(40)])
    await bob._synchroniser.pull(ALICE)
    for _ in range(3):
        await alice._synchroniser.pull(BOB)
    assert await alice._store.count(EntryKind.RECORD) == 10


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff" * 100)


async def _zeros(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_frame(reader, 10_000)
        writer.write(frame(bytes(ANSWER_SIZE)))


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_frame(reader, 10_000)
        writer.write(frame(b"\x01" * ANSWER_SIZE))


@pytest.mark.parametrize(
    ("serve", "count"),
    [
        (_hang_up, "pulls silent"),
        (_silence, "pulls silent"),
        (_garbage, "pulls lied"),
        (_zeros, "pulls lied"),
        (_repeat, "pulls lied"),
    ],
)
async def test_hostile_peers_end_their_own_pull(
    points: Points, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Any], count: str, capfd: Any
) -> None:
    monkeypatch.setattr(peer_stream, "ANSWER_SECONDS", 0.2)
    alice = await points.start(ALICE, BOB, CAROL)
    await points.start(BOB)
    serving: set[asyncio.Task[Any]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except Exception:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        points.network[BOB].ports = {7221: server.sockets[0].getsockname()[:2]}
        await alice._synchroniser.pull(BOB)
        assert alice.counters[count] == 1
        await alice._synchroniser.pull(CAROL)  # nobody there at all
        assert alice.counters["pulls silent"] == 1 + (count == "pulls silent")
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    await alice.close()
    printed = "".join(capfd.readouterr())
    assert "stopped" in printed
    assert not any(onion in printed for onion in (ALICE, BOB, CAROL))


async def test_a_damaged_file_of_names_costs_names_alone(points: Points, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "peers.known").write_bytes(SystemEntropy().token(200))
    alice = await points.start(ALICE, BOB)
    assert BOB in alice._synchroniser._hosts
