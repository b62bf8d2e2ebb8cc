"""The contact point's decisions about SIP: bindings, routing, bounds."""

from typing import Any

import pytest

from relay.core import Counters, PeerError, SeededEntropy
from relay.forward_publish import SEALED_SIZE, ContactPoint, ContactPointLimits, TokenKey
from relay.forward_publish.contact_point import COUNTS

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
