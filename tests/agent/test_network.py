"""Tor kept up: a first start that fails is the end, a later loss is told and mended, and nothing goes around it."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from relay.agent.events import Value
from relay.agent.network import Network
from relay.core import SeededEntropy, TransportUnavailable
from relay.tor import TorClient, TorSettings
from tests.agent.virtual_time import LoopClock, in_virtual_time


class FakeTor:
    def __init__(self) -> None:
        self.alive = True
        self.pid = 4711
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.opened: list[tuple[str, int, str]] = []

    async def open(self, onion: str, port: int, *, isolation: str) -> Any:
        self.opened.append((onion, port, isolation))
        return "reader", "writer"

    async def open_host(self, host: str, port: int, *, isolation: str) -> Any:
        self.opened.append((host, port, isolation))
        return "reader", "writer"

    async def wait_lost(self) -> str:
        return await self.lost

    async def close(self) -> None:
        await asyncio.sleep(1.0)
        self.closed = True

    def die(self) -> None:
        self.alive = False
        self.lost.set_result("the tor process ended")


class Bench:
    """A network whose Tor clients come from a list; an error in it is a start that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *starts: type[FakeTor] | Exception) -> None:
        self.starts = list(starts)
        self.tors: list[FakeTor] = []
        self.told: list[str] = []
        self.network = Network(
            TorSettings(),
            Path("unused"),
            clock=LoopClock(),
            entropy=SeededEntropy("network"),
            report=self.report,
            lost=lambda reason: self.told.append(f"lost: {reason}, closed: {self.tors[-1].closed}"),
            back=lambda: self.told.append("back"),
        )

        async def launch(settings: TorSettings, directory: Path, clock: object) -> TorClient:
            await asyncio.sleep(0.5)
            start = self.starts.pop(0)
            if isinstance(start, Exception):
                raise start
            self.tors.append(start())
            return cast(TorClient, self.tors[-1])

        monkeypatch.setattr(TorClient, "launch", launch)

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append(event)


GONE = TransportUnavailable("tor cannot be started; install it")


def test_a_first_start_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def scenario() -> None:
        bench = Bench(monkeypatch, GONE)
        with pytest.raises(TransportUnavailable, match="install it"):
            await bench.network.run()
        assert not bench.network.up

    scenario()


def test_a_loss_is_told_at_once_and_mended_with_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def scenario() -> None:
        bench = Bench(monkeypatch, FakeTor, GONE, GONE, FakeTor)
        task = asyncio.create_task(bench.network.run())
        await bench.network.wait_up()
        assert bench.network.pid == 4711
        assert await bench.network.open("a" * 56, 80, isolation="x")
        bench.tors[0].die()
        with pytest.raises(TransportUnavailable, match="rather than go around it"):
            await bench.network.open("a" * 56, 80, isolation="x")
        with pytest.raises(TransportUnavailable, match="the lookup fails rather than go around it"):
            await bench.network.open_host("example.org", 443, isolation="x")
        await asyncio.sleep(0.1)
        assert bench.told == ["tor-lost", "lost: the tor process ended, closed: False"], (
            "before anything slow"
        )
        assert not bench.network.up
        assert bench.network.pid is None
        await bench.network.wait_up()
        assert bench.told[2:] == ["tor-back", "back"]
        assert bench.tors[0].closed
        assert len(bench.tors[0].opened) == 1
        assert await bench.network.open_host("example.org", 443, isolation="y")
        assert bench.tors[1].opened == [("example.org", 443, "y")]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert bench.tors[1].closed

    scenario()
