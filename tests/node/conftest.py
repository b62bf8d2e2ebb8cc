"""A contact point in this process and a dialer that leads to it without Tor; reflectors with a stand-in for Tor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from relay.core import Clock, ManualClock, SystemEntropy
from relay.forward_publish import ContactPointLimits
from relay.node import drain, reflector_onion
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.service_manager import ServiceManager
from relay.tor import TorSettings
from tests.node.fake_tor import FakeTor
from tests.node.loopback_tor import ONION, LoopbackTor
from tests.node.running import Manager, Run, Start, settings_for
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

StartNode = Callable[..., Awaitable[tuple[ContactPointNode, LoopbackTor]]]


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[StartNode]:
    nodes = []

    async def start(
        *,
        limits: ContactPointLimits | None = None,
        taps: list[tuple[str, bytes]] | None = None,
        mode: str = "own",
        state: str = "state",
        clock: Clock | None = None,
        database: str = "",
        peers: tuple[str, ...] = (),
        onion: str = ONION,
        network: dict[str, LoopbackTor] | None = None,
    ) -> tuple[ContactPointNode, LoopbackTor]:
        settings = ContactPointSettings(
            str(tmp_path / state),
            database,
            peers,
            tor=TorSettings(mode="running" if mode == "running" else "own"),
            limits=limits or ContactPointLimits(),
        )
        tor = LoopbackTor(onion, network)
        tap = None if taps is None else lambda stream, data: taps.append((stream, data))
        node = ContactPointNode(settings, tor, clock or ManualClock(), SystemEntropy(), tap)
        await node.start()
        nodes.append(node)
        return node, tor

    yield start
    for node in nodes:
        await node.close()


@pytest.fixture
def tor(monkeypatch: pytest.MonkeyPatch) -> FakeTor:
    fake = FakeTor()
    monkeypatch.setattr(reflector_onion, "TorClient", fake)
    monkeypatch.setattr(reflector_onion, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(drain, "END_SOONEST", 0.01)
    monkeypatch.setattr(drain, "END_LATEST", 0.02)
    monkeypatch.setattr(drain, "_TELL_EVERY", 0.05)
    return fake


@pytest.fixture
async def start(tmp_path: Path, tor: FakeTor) -> AsyncIterator[Start]:
    """Nodes that are ready, on the same state directory unless told otherwise."""
    runs: list[Run] = []

    async def start_one(service: ServiceManager | None = None, **changes: object) -> Run:
        runs.append(Run(settings_for(tmp_path / "state", **changes), service))
        await runs[-1].wait_ready()
        return runs[-1]

    yield start_one
    for running in runs:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    playing = Manager(tmp_path / "notify")
    yield playing
    playing.close()
