"""What a reflector asks of a `TorClient`, without Tor: its onion services are sockets of this machine."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.core import TransportUnavailable
from relay.tor import OnionKey

ONION = "b" * 56
"""The first that is published; then come c, d ..."""

Target = tuple[str, int] | Path


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is watched tells nobody that it changed
            await asyncio.sleep(0.01)


@dataclass
class FakeService:
    onion: str
    key: OnionKey


@dataclass
class FakeTor:
    """Stands in for the class `TorClient` and for a client."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    keys: list[OnionKey | None] = field(default_factory=list)
    onions: dict[OnionKey, str] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    isolations: list[str] = field(default_factory=list)
    launches: int = 0
    closed: int = 0
    broken: bool = False
    refuses: Exception | None = None
    """What launching raises, as long as it is set."""

    async def launch(self, *_: object) -> "FakeTor":
        self.launches += 1
        if self.refuses is not None:
            raise self.refuses
        if self.broken:
            raise TransportUnavailable("Tor does not connect")
        return self

    async def publish(
        self, key: OnionKey | None, ports: Mapping[int, Target], *, proof_of_work: bool, streams: int
    ) -> FakeService:
        # One proof of work must not buy all the streams that are served at a time.
        assert proof_of_work
        assert streams == 1
        self.keys.append(key)
        key = key or OnionKey(f"ED25519-V3:secret of {chr(ord(ONION[0]) + len(self.onions))}")
        onion = self.onions.setdefault(key, key.to_bytes().decode()[-1] * 56)
        self.targets[onion] = ports[7220]
        return FakeService(onion, key)

    async def wait_lost(self) -> str:
        await self.lost.wait()
        self.lost.clear()
        return "gone"

    async def close(self) -> None:
        self.closed += 1

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.isolations.append(isolation)
        try:
            match self.targets.get(onion):
                case (host, number):
                    return await asyncio.open_connection(host, number)
                case Path() as path:
                    return await asyncio.open_unix_connection(path)
                case _:
                    raise TransportUnavailable("nobody there")
        except OSError:
            raise TransportUnavailable("nobody there") from None
