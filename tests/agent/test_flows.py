"""Tokens in groups of at most eight, bound as contacts come and unbound as they go."""

import asyncio
from pathlib import Path

import pytest

from relay.agent.contacts import ContactBook
from relay.agent.flow import MOST_TOKENS
from relay.agent.flows import Flows
from relay.agent.state import StateDirectory
from relay.core import SystemEntropy, TransportUnavailable
from tests.agent.virtual_time import in_virtual_time

ONION = "a" * 56


class NoTor:
    """Opens nothing; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked += 1
        raise TransportUnavailable("Tor is not running")


class Bench:
    def __init__(self, directory: Path) -> None:
        state = StateDirectory(directory)
        state.prepare()
        self.book = ContactBook(state)
        self.tor = NoTor()
        self.flows = Flows(self.tor, ONION, SystemEntropy(), lambda token, body: None)

    def add(self, count: int) -> None:
        for _ in range(count):
            name = f"c{len(list(self.book))}"
            self.book.invite(name, (ONION,), bytes(32), SystemEntropy())

    @property
    def carried(self) -> list[str]:
        return [token for flow in self.flows._flows for token in flow.tokens]


@in_virtual_time
async def test_flows_carry_the_tokens_of_all_contacts_and_no_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for count in (0, 1, 7, 1, 9):
        bench.add(count)
        await bench.flows.follow(bench.book)
        assert sorted(bench.carried) == sorted(contact.token.token for contact in bench.book)
        assert all(0 < len(flow.tokens) <= MOST_TOKENS for flow in bench.flows._flows)
    for name in [contact.name for contact in bench.book][:17]:
        bench.book.remove(name)
    await bench.flows.follow(bench.book)
    assert sorted(bench.carried) == sorted(contact.token.token for contact in bench.book)
    bench.book.remove(next(iter(bench.book)).name)
    await bench.flows.follow(bench.book)
    assert bench.flows._flows == [], "an empty flow is let go"
    await bench.flows.close()


@in_virtual_time
async def test_without_tor_nothing_is_bound_and_sending_fails_loudly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.add(2)
    await bench.flows.follow(bench.book)
    token = bench.carried[0]
    assert not bench.flows.bound(token)
    with pytest.raises(TransportUnavailable):
        await bench.flows.wait_bound(token, 5.0)
    with pytest.raises(TransportUnavailable):
        await bench.flows.wait_bound("b" * 52, 5.0)
    with pytest.raises(TransportUnavailable):
        await bench.flows.send(ONION, token, bytes(4096))
    await bench.flows.close()


@in_virtual_time
async def test_when_tor_is_back_flows_do_not_wait_for_their_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.add(1)
    await bench.flows.follow(bench.book)
    await asyncio.sleep(600.0)
    before = bench.tor.asked
    assert before < 40
    bench.flows.hurry()
    await asyncio.sleep(0.1)
    assert bench.tor.asked == before + 1
    await bench.flows.close()
