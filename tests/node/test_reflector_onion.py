"""The onion service comes and goes with Tor; what it serves, and its name, stay."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from relay.core import ConfigurationError, PeerError, SeededEntropy, SystemClock, TransportUnavailable
from relay.media_reflector import TicketServer
from relay.node import reflector_onion as module
from relay.node.reflector_onion import ReflectorOnion
from relay.node.reflector_state import ReflectorState
from relay.tor import OnionKey, TorSettings
from tests.node.fake_tor import ONION, FakeTor, until


@pytest.fixture
def tor(monkeypatch: pytest.MonkeyPatch) -> FakeTor:
    fake = FakeTor()
    monkeypatch.setattr(module, "TorClient", fake)
    monkeypatch.setattr(module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(module, "RETRY_MOST", 0.02)
    return fake


class Running:
    """One onion service in the background."""

    def __init__(self, directory: Path, tickets: TicketServer, mode: str = "own") -> None:
        state = ReflectorState(directory)
        state.prepare()
        self.names: asyncio.Queue[str] = asyncio.Queue()
        settings = TorSettings(mode="running" if mode == "running" else "own")
        self.losses: list[bool] = []
        """Whether Tor was said to be there when it was said to be lost."""
        self.onion = ReflectorOnion(
            settings, state, tickets, SystemClock(), SeededEntropy(1), self._reachable, self._lost
        )
        self.task = asyncio.create_task(self.onion.run())

    def _reachable(self, name: str) -> None:
        assert self.onion.up
        self.names.put_nowait(name)

    def _lost(self) -> None:
        self.losses.append(self.onion.up)

    async def wait_reachable(self) -> str:
        async with asyncio.timeout(5):
            return await self.names.get()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.onion.close()


class Answering(TicketServer):
    """Says one word to everybody."""

    def __init__(self) -> None:
        pass

    async def _listen(self, start: Callable[..., Awaitable[asyncio.Server]]) -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"served")
            writer.close()

        self._server = await start(serve)

    async def listen_unix(self, path: Path) -> Path:
        await self._listen(lambda serve: asyncio.start_unix_server(serve, path))
        return path

    async def listen_loopback(self) -> tuple[str, int]:
        await self._listen(lambda serve: asyncio.start_server(serve, "127.0.0.1", 0))
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return host, port


async def ask(onion: ReflectorOnion) -> bytes:
    reader, writer = await onion.open(ONION, 7220, isolation="x")
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("mode", ["own", "running"])
async def test_it_is_reachable_and_reaches_others(tmp_path: Path, tor: FakeTor, mode: str) -> None:
    running = Running(tmp_path, Answering(), mode)
    assert running.onion.name == ""
    with pytest.raises(TransportUnavailable):
        await ask(running.onion)
    assert await running.wait_reachable() == ONION
    assert running.onion.name == ONION
    assert await ask(running.onion) == b"served"
    assert isinstance(tor.targets[ONION], Path) is (mode == "own")
    await running.end()
    assert tor.closed == 1
    with pytest.raises(TransportUnavailable):
        await ask(running.onion)


async def test_a_path_too_long_for_a_socket_is_served_on_loopback(tmp_path: Path, tor: FakeTor) -> None:
    running = Running(tmp_path / ("long" * 30), Answering())
    await running.wait_reachable()
    assert isinstance(tor.targets[ONION], tuple)
    await running.end()


async def test_the_name_stays_over_restarts(tmp_path: Path, tor: FakeTor) -> None:
    for _ in range(2):
        running = Running(tmp_path, Answering())
        await running.wait_reachable()
        await running.end()
    assert tor.keys == [None, OnionKey("ED25519-V3:secret of b")]


async def test_a_lost_tor_comes_back(tmp_path: Path, tor: FakeTor) -> None:
    running = Running(tmp_path, Answering())
    await running.wait_reachable()
    tor.lost.set()
    await running.wait_reachable()
    assert tor.launches == 2
    tor.broken = True
    tor.lost.set()
    await asyncio.sleep(0.2)
    assert tor.launches > 3
    assert not running.task.done()
    with pytest.raises(TransportUnavailable):
        await ask(running.onion)
    assert running.losses == [False, False], "once for each time that it had been there"
    tor.broken = False
    await running.wait_reachable()
    assert await ask(running.onion) == b"served"
    await running.end()


@pytest.mark.parametrize(
    "refusal",
    [
        TransportUnavailable("Tor does not connect"),
        ConfigurationError("Tor's control port refuses us; set tor.password or tor.cookie_file"),
        PeerError("a control port that says nonsense"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_whatever_keeps_tor_from_coming_back_it_is_tried_again(
    tmp_path: Path, tor: FakeTor, refusal: Exception
) -> None:
    running = Running(tmp_path, Answering())
    await running.wait_reachable()
    tor.refuses = refusal
    tor.lost.set()
    await until(lambda: tor.launches > 3 or running.task.done())
    assert not running.task.done()
    tor.refuses = None
    await running.wait_reachable()
    assert await ask(running.onion) == b"served"
    await running.end()


async def test_tor_comes_back_without_the_disk(tmp_path: Path, tor: FakeTor) -> None:
    """A full one cannot be written, and the name is the one that it was."""
    running = Running(tmp_path, Answering())
    await running.wait_reachable()
    (tmp_path / "onion.key").unlink()
    tor.lost.set()
    assert await running.wait_reachable() == ONION
    assert not (tmp_path / "onion.key").exists()
    await running.end()


@pytest.mark.parametrize("refusal", [ConfigurationError("no such cookie"), OSError(errno.EIO, "broken")])
async def test_what_is_wrong_at_the_start_is_said(tmp_path: Path, tor: FakeTor, refusal: Exception) -> None:
    tor.refuses = refusal
    running = Running(tmp_path, Answering())
    with pytest.raises(type(refusal)):
        await running.task
    await running.end()


async def test_no_tor_at_the_start_is_a_failure(tmp_path: Path, tor: FakeTor) -> None:
    tor.broken = True
    running = Running(tmp_path, Answering())
    with pytest.raises(TransportUnavailable):
        await running.task
    await running.end()
