"""Contact points on this machine's own sockets, without Tor."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from relay.core import TransportUnavailable
from relay.tor import OnionKey, OnionService

ONION = "b" * 56


class LoopbackTor:
    """Publishes and opens, as Tor would, on this machine's own sockets; `network` holds those that reach each other."""

    def __init__(self, onion: str = ONION, network: dict[str, "LoopbackTor"] | None = None) -> None:
        self.onion = onion
        self.network = {} if network is None else network
        self.network[onion] = self
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
        return OnionService(self.onion, OnionKey("ED25519-V3:kept"), self._remove)

    async def _remove(self) -> None:
        self.ports = {}

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.isolations.append(isolation)
        there = self.network.get(onion)
        target = there.ports.get(port) if there is not None else None
        try:
            match target:
                case Path():
                    return await asyncio.open_unix_connection(target)
                case (host, number):
                    return await asyncio.open_connection(host, number)
        except OSError:
            pass
        raise TransportUnavailable("nobody there")
