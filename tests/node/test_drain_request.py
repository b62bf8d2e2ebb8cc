"""Asking a running reflector to drain: what is heard, and how it can fail."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.core import PeerError, SeededEntropy, SystemClock, TransportUnavailable
from relay.node import drain, drain_request
from relay.node.claim import claimed
from relay.node.drain import SOCKET_FILE, Drain, DrainDesk, short_path
from relay.node.drain_request import ask_to_drain


class Reflector:
    """Runs on a state directory, as the app does: a claim, a desk, calls."""

    def __init__(self, directory: Path, *, hold_claim: float = 0.1) -> None:
        self.calls = 1
        self.drained = False
        self._directory = directory
        self._hold_claim = hold_claim
        self.drain_of_it = Drain(self, lambda: self.calls, lambda: 0, SystemClock(), SeededEntropy(1))

    def drain(self) -> None:
        pass

    async def run(self, up: asyncio.Event, killed: asyncio.Event | None = None) -> None:
        with claimed(self._directory):
            desk = DrainDesk(self._directory, self.drain_of_it)
            await desk.open()
            up.set()
            if killed is not None:
                await killed.wait()
                await desk.close(drained=False)
                return
            await self.drain_of_it.finish(lambda: 60.0)
            await desk.close(drained=True)
            await asyncio.sleep(self._hold_claim)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(drain, "_TELL_EVERY", 0.05)


async def start(reflector: Reflector, killed: asyncio.Event | None = None) -> "asyncio.Task[None]":
    up = asyncio.Event()
    task = asyncio.create_task(reflector.run(up, killed))
    async with asyncio.timeout(5):
        await up.wait()
    return task


async def test_it_waits_until_the_next_one_can_start(tmp_path: Path) -> None:
    reflector = Reflector(tmp_path)
    running = await start(reflector)
    heard: list[Mapping[str, object]] = []

    def tell(event: Mapping[str, object]) -> None:
        heard.append(event)
        if len(heard) == 3:
            reflector.calls, reflector.drained = 0, True

    assert await ask_to_drain(tmp_path, tell, timeout=10.0)
    with claimed(tmp_path):
        pass
    assert [event["event"] for event in heard[:3]] == ["draining"] * 3
    assert heard[-1] == {"event": "drained", "calls_cut_off": False}
    await running


async def test_a_time_out_leaves_the_drain_going_on(tmp_path: Path) -> None:
    reflector = Reflector(tmp_path)
    running = await start(reflector)
    assert not await ask_to_drain(tmp_path, lambda _: None, timeout=0.3)
    assert reflector.drain_of_it.begun
    assert not running.done()
    reflector.drained = True
    await running


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(TransportUnavailable, match="nothing to drain"):
        await ask_to_drain(tmp_path, lambda _: None)
    with pytest.raises(TransportUnavailable, match="nothing to drain"):
        await ask_to_drain(tmp_path / "no such directory", lambda _: None)


async def test_a_reflector_that_is_ended_meanwhile(tmp_path: Path) -> None:
    killed = asyncio.Event()
    running = await start(Reflector(tmp_path), killed)
    with pytest.raises(TransportUnavailable, match="before its calls were finished"):
        await ask_to_drain(tmp_path, lambda _: killed.set(), timeout=10.0)
    await running


async def test_one_that_never_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_request, "GONE_WITHIN", 0.3)
    reflector = Reflector(tmp_path, hold_claim=2.0)
    running = await start(reflector)
    reflector.drained = True
    with pytest.raises(TransportUnavailable, match="SIGTERM"):
        await ask_to_drain(tmp_path, lambda _: None, timeout=10.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "answer", [b"hello\n", b"[]\n", b"{}\n", b'{"event": 3}\n', b"[" * 60_000 + b"\n", b"x" * 200_000]
)
async def test_what_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with AsyncExitStack() as stack:
        path = stack.enter_context(short_path(tmp_path))
        server = await asyncio.start_unix_server(serve, path)
        stack.callback(server.close)
        assert path.name == SOCKET_FILE
        with pytest.raises(PeerError, match="no answer of a reflector"):
            await ask_to_drain(tmp_path, lambda _: None, timeout=5.0)
