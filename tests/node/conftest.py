"""A contact point in this process, and a dialer that leads to it without Tor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from relay.core import Clock, ManualClock, SystemEntropy, TransportUnavailable
from relay.forward_publish import ContactPointLimits
from relay.node.contact_point import ContactPointNode, ContactPointSettings
from relay.tor import OnionKey, OnionService, TorSettings

ONION = "b" * 56


class LoopbackTor:
    """Publishes and opens, as Tor would, on this machine's own sockets."""

    def __init__(self) -> None:
        self.ports: dict[int, tuple[str, int] | Path] = {}
        self.isolations: list[str] = []
        self.keys: list[OnionKey | None] = []
        self.proof_of_work = False

    async def publish(
        self,
        key: OnionKey | None,
        ports: Mapping[int, tuple[str, int] | Path],
        *,
        proof_of_work: bool = False,
    ) -> OnionService:
        self.keys.append(key)
        self.proof_of_work = proof_of_work
        self.ports = dict(ports)
        return OnionService(ONION, OnionKey("ED25519-V3:kept"), self._remove)

    async def _remove(self) -> None:
        self.ports = {}

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.isolations.append(isolation)
        target = self.ports.get(port)
        try:
            match target:
                case Path():
                    return await asyncio.open_unix_connection(target)
                case (host, number):
                    return await asyncio.open_connection(host, number)
        except OSError:
            pass
        raise TransportUnavailable("nobody there")


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
    ) -> tuple[ContactPointNode, LoopbackTor]:
        settings = ContactPointSettings(
            str(tmp_path / state),
            tor=TorSettings(mode="running" if mode == "running" else "own"),
            limits=limits or ContactPointLimits(),
        )
        tor = LoopbackTor()
        tap = None if taps is None else lambda stream, data: taps.append((stream, data))
        node = ContactPointNode(settings, tor, clock or ManualClock(), SystemEntropy(), tap)
        await node.start()
        nodes.append(node)
        return node, tor

    yield start
    for node in nodes:
        await node.close()
