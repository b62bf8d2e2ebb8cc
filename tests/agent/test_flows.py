"""Tokens in small groups at every contact point: bound as they are wanted, each flow by itself."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.agent.flow import FlowClient
from relay.agent.flows import GROUPS_FILE, Flows
from relay.agent.regrouping import MOST_TOKENS
from relay.core import ConfigurationError, Counters, PeerError, SystemEntropy, TransportUnavailable
from relay.forward_publish import SEALED_SIZE, ContactPoint, ContactPointLimits, TokenKey, current_period
from relay.forward_publish.contact_point import COUNTS
from relay.node.sip_edge import SipEdge
from tests.agent.full_disk import FullDisk
from tests.agent.virtual_time import START, LoopClock, in_virtual_time

HERE, THERE = "a" * 56, "b" * 56
BODY = bytes(SEALED_SIZE)


def keys(count: int) -> dict[str, TokenKey]:
    made = [TokenKey.generate(SystemEntropy()) for _ in range(count)]
    return {key.token: key for key in made}


class _Pipe(asyncio.Transport):
    """The agent's end of a connection to a contact point in this process."""

    def __init__(self, tor: "Points", onion: str, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self.tor = tor
        self.onion = onion
        self.reader = reader
        self.point = tor.points[onion]
        flow = self.point.open_flow(tor.now)
        assert flow is not None
        self.flow = flow
        self.edge = SipEdge(self.point, flow, onion, SystemEntropy())
        self.at = tor.now
        self.up = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.up:
            answers = self.edge.receive(bytes(data), self.tor.now)
            asyncio.get_running_loop().call_later(0.05, self.feed, answers)
            for ready in self.point.take_ready():
                self.tor.pipes[self.onion, ready].deliver()

    def deliver(self) -> None:
        while (message := self.edge.next_delivery()) is not None:
            self.feed(message)

    def feed(self, data: bytes) -> None:
        if self.up and data:
            self.reader.feed_data(data)

    def close(self) -> None:
        if self.up:
            self.up = False
            self.point.close_flow(self.flow)
            self.reader.feed_eof()

    def is_closing(self) -> bool:
        return not self.up


class Points:
    """Contact points in this process, as an `OnionDialer`; can be cut off."""

    def __init__(self) -> None:
        counters = Counters(COUNTS)
        self.points = {
            onion: ContactPoint(onion, ContactPointLimits(), SystemEntropy(), counters)
            for onion in (HERE, THERE)
        }
        self.pipes: dict[tuple[str, int], _Pipe] = {}
        self.isolations: list[str] = []
        self.cut = False
        self.asked = 0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked += 1
        if self.cut:
            raise TransportUnavailable("Tor is not running")
        self.isolations.append(isolation)
        reader = asyncio.StreamReader()
        pipe = _Pipe(self, onion, reader)
        self.pipes[onion, pipe.flow] = pipe
        protocol = asyncio.StreamReaderProtocol(reader)
        return reader, asyncio.StreamWriter(pipe, protocol, reader, asyncio.get_running_loop())

    def lose_everything(self) -> None:
        for pipe in self.pipes.values():
            pipe.close()

    @property
    def opened(self) -> list[float]:
        """Seconds after the beginning at which connections were opened that are up."""
        return sorted(pipe.at - START for pipe in self.pipes.values() if pipe.up)


class Bench:
    def __init__(self, directory: Path | None = None) -> None:
        self.tor = Points()
        self.heard: list[tuple[str, str, bytes]] = []
        self.state = FullDisk(directory) if directory is not None else None
        self.flows = self.anew()

    def anew(self) -> Flows:
        self.flows = Flows(
            self.tor, LoopClock(), SystemEntropy(), lambda *said: self.heard.append(said), state=self.state
        )
        return self.flows

    def clients(self, onion: str) -> list[FlowClient]:
        place = self.flows._places.get(onion)
        return [ride.flow for ride in place.rides] if place is not None else []

    def groups(self, onion: str) -> set[frozenset[str]]:
        return {flow.tokens for flow in self.clients(onion)}

    def all_bound(self, wanted: Mapping[str, Mapping[str, TokenKey]]) -> bool:
        return all(self.flows.bound(onion, token) for onion in wanted for token in wanted[onion])


@in_virtual_time
async def test_all_tokens_are_bound_within_a_minute_and_no_two_flows_come_up_together() -> None:
    bench = Bench()
    wanted = {HERE: keys(80), THERE: keys(3)}
    await bench.flows.follow(wanted)
    await asyncio.sleep(2.2)
    assert {onion for (onion, _), pipe in bench.tor.pipes.items() if pipe.up} == {HERE, THERE}
    assert len(bench.tor.opened) < 9, "one to each, the rest later"
    await asyncio.sleep(60.0)
    assert bench.all_bound(wanted)
    assert all(0 < len(flow.tokens) <= MOST_TOKENS for flow in bench.clients(HERE) + bench.clients(THERE))
    assert len(bench.tor.opened) == len(bench.clients(HERE)) + len(bench.clients(THERE))
    assert max(bench.tor.opened) - min(bench.tor.opened) > 20.0
    assert len(set(bench.tor.isolations)) == len(bench.tor.isolations)
    flows = bench.clients(HERE)
    closing = asyncio.create_task(bench.flows.close(20.0))
    await asyncio.sleep(10.0)
    assert 0 < sum(flow.connected for flow in flows) < len(flows), "they go one by one too"
    await closing
    assert bench.tor.opened == []


@in_virtual_time
async def test_tokens_come_and_go_and_never_change_their_group() -> None:
    bench = Bench()
    entropy = SystemEntropy()
    wanted = keys(12)
    mates: dict[str, set[str]] = {}
    for _ in range(20):
        await bench.flows.follow({HERE: wanted})
        await asyncio.sleep(70.0)
        assert bench.all_bound({HERE: wanted})
        assert bench.flows._places[HERE].rides
        assert sorted(token for group in bench.groups(HERE) for token in group) == sorted(wanted)
        assert bench.tor.points[HERE].tokens == len(wanted)
        for group in bench.groups(HERE):
            for token in group:
                mates.setdefault(token, set()).update(group)
        wanted = {token: key for token, key in wanted.items() if entropy.below(4)} | keys(2)
    assert all(len(known) <= MOST_TOKENS for known in mates.values())
    await bench.flows.follow({})
    await asyncio.sleep(70.0)
    assert bench.tor.opened == [], "an empty flow is let go"
    await bench.flows.follow({})
    assert bench.flows._places == {}
    await bench.flows.close()


@in_virtual_time
async def test_a_single_new_contact_is_reachable_soon_and_one_that_goes_is_unheard_at_once() -> None:
    bench = Bench()
    wanted = keys(10)
    await bench.flows.follow({HERE: wanted})
    await asyncio.sleep(70.0)
    (new,) = keys(1).values()
    wanted[new.token] = new
    await bench.flows.follow({HERE: wanted})
    await asyncio.sleep(2.3)
    assert bench.flows.bound_anywhere([new.token])
    await bench.flows.send(HERE, new.token, BODY)
    assert bench.heard == [(HERE, new.token, BODY)]
    del wanted[new.token]
    await bench.flows.follow({HERE: wanted})
    assert not bench.flows.bound_anywhere([new.token])
    await bench.flows.send(HERE, new.token, BODY)
    assert len(bench.heard) == 1
    await bench.flows.close()


@in_virtual_time
async def test_a_contact_s_token_of_this_period_does_not_wait_for_that_of_the_next() -> None:
    """In the hours before a period ends both are new at once; nobody rings the next one's yet."""
    present = current_period(LoopClock().wall())
    for _ in range(12):
        bench = Bench()
        now, later = keys(1), keys(1)
        periods = {**dict.fromkeys(now, present), **dict.fromkeys(later, present + 1)}
        await bench.flows.follow({HERE: now | later}, periods=periods)
        await asyncio.sleep(2.3)
        assert bench.flows.bound_anywhere(now.keys())
        await bench.flows.close()


@in_virtual_time
async def test_who_takes_another_s_place_does_not_wait_until_that_one_is_gone() -> None:
    """As when a contact's new address is accepted: of both periods, one token goes and one comes."""
    present = current_period(LoopClock().wall())
    for _ in range(12):
        bench = Bench()
        old, new = (keys(1), keys(1)), (keys(1), keys(1))
        for now, later in (old, new):
            periods = {**dict.fromkeys(now, present), **dict.fromkeys(later, present + 1)}
            await bench.flows.follow({HERE: now | later}, periods=periods)
            await asyncio.sleep(2.3)
            assert bench.flows.bound_anywhere(now.keys())
            await asyncio.sleep(70.0)
        await bench.flows.close()


@in_virtual_time
async def test_a_token_that_comes_back_before_its_flow_was_let_go_is_bound_again() -> None:
    bench = Bench()
    wanted = keys(1)
    for _ in range(3):
        await bench.flows.follow({HERE: wanted})
        await asyncio.sleep(63.0)
        assert bench.all_bound({HERE: wanted})
        await bench.flows.follow({HERE: {}})
    await bench.flows.follow({HERE: wanted})
    await asyncio.sleep(65.0)
    assert bench.all_bound({HERE: wanted})
    await bench.flows.close()


@in_virtual_time
async def test_a_token_that_strangers_know_shares_its_flow_with_none() -> None:
    bench = Bench()
    wanted = keys(30)
    public = next(iter(wanted))
    await bench.flows.follow({HERE: wanted}, alone={public})
    await bench.flows.follow({HERE: wanted | keys(10)}, alone={public})
    assert frozenset({public}) in bench.groups(HERE)
    await bench.flows.close()


def test_groups_are_the_same_after_a_restart(tmp_path: Path) -> None:
    @in_virtual_time
    async def check() -> None:
        bench = Bench(tmp_path)
        wanted = {HERE: keys(20), THERE: keys(5)}
        await bench.flows.follow(wanted)
        before = bench.groups(HERE), bench.groups(THERE)
        await bench.flows.close()
        bench.anew()
        await bench.flows.follow(wanted)
        assert (bench.groups(HERE), bench.groups(THERE)) == before
        await bench.flows.close()
        assert bench.state is not None
        bench.state.write(GROUPS_FILE, b"{")
        with pytest.raises(ConfigurationError, match=GROUPS_FILE):
            bench.anew()

    check()


def test_groups_that_cannot_be_kept_are_bound_all_the_same_and_kept_later(tmp_path: Path) -> None:
    @in_virtual_time
    async def check() -> None:
        bench = Bench(tmp_path)
        assert bench.state is not None
        bench.state.full = True
        wanted = {HERE: keys(20)}
        await bench.flows.follow(wanted)
        await asyncio.sleep(70.0)
        assert bench.all_bound(wanted)
        bench.state.full = False
        await bench.flows.follow(wanted)
        before = bench.groups(HERE)
        await bench.flows.close()
        bench.anew()
        await bench.flows.follow(wanted)
        assert bench.groups(HERE) == before
        await bench.flows.close()

    check()


@in_virtual_time
async def test_who_waits_for_a_token_has_it_soon() -> None:
    bench = Bench()
    wanted = keys(60)
    await bench.flows.follow({HERE: wanted})
    waited = 0
    for token in wanted:
        if not bench.flows.bound(HERE, token):
            began = bench.tor.now
            await bench.flows.wait_bound([(THERE, "x" * 52), (HERE, token)], 5.0)
            assert bench.tor.now - began < 1.0
            waited += 1
    assert waited
    fresh = keys(3)
    await bench.flows.follow({HERE: wanted | fresh})
    for token in fresh:
        await bench.flows.wait_bound([(HERE, token)], 1.0)
    await bench.flows.close()


@in_virtual_time
async def test_without_tor_nothing_is_bound_and_sending_fails_loudly() -> None:
    bench = Bench()
    bench.tor.cut = True
    wanted = keys(2)
    await bench.flows.follow({HERE: wanted})
    for token in wanted:
        assert not bench.flows.bound(HERE, token)
        with pytest.raises(TransportUnavailable):
            await bench.flows.wait_bound([(HERE, token)], 5.0)
        with pytest.raises(TransportUnavailable):
            await bench.flows.send(HERE, token, BODY)
    with pytest.raises(TransportUnavailable, match="no contact point is reached"):
        await bench.flows.wait_bound([(HERE, "b" * 52)], 5.0)
    await bench.flows.close()


@in_virtual_time
async def test_when_tor_is_back_flows_return_soon_but_not_together() -> None:
    bench = Bench()
    wanted = {HERE: keys(40)}
    await bench.flows.follow(wanted)
    await asyncio.sleep(70.0)
    bench.tor.cut = True
    bench.tor.lose_everything()
    await asyncio.sleep(600.0)
    assert not bench.flows.bound_anywhere(list(wanted[HERE]))
    before = bench.tor.now - START
    bench.tor.cut = False
    bench.flows.hurry()
    await asyncio.sleep(2.2)
    assert bench.tor.opened
    await asyncio.sleep(60.0)
    assert bench.all_bound(wanted)
    assert max(bench.tor.opened) - before > 15.0
    await bench.flows.close()


@in_virtual_time
async def test_warm_streams_are_kept_where_told() -> None:
    bench = Bench()
    bench.flows.keep_warm([THERE, HERE])
    await asyncio.sleep(30.0)
    assert len(bench.tor.opened) == 2
    asked = bench.tor.asked
    await bench.flows.send(HERE, next(iter(keys(1))), BODY)
    assert bench.tor.asked == asked, "the stream was open already"
    await bench.flows.close()
    assert bench.tor.opened == []


@in_virtual_time
async def test_a_failing_handler_is_not_the_flows_failure() -> None:
    bench = Bench()

    def fail(onion: str, token: str, body: bytes) -> None:
        raise PeerError("malformed")

    bench.flows._on_message = fail
    wanted = keys(1)
    await bench.flows.follow({HERE: wanted})
    await asyncio.sleep(3.0)
    await bench.flows.send(HERE, next(iter(wanted)), BODY)
    assert bench.all_bound({HERE: wanted})
    await bench.flows.close()
