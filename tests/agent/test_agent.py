"""The agent as a whole: starts, waits for Tor, stops in order, and says what keeps it from calling."""

import asyncio
import socket
from pathlib import Path

import pytest

from relay.agent import Agent, AgentSettings, PlainFiles
from relay.agent.events import Value
from relay.agent.prekeys import PREKEY_KEPT
from relay.core import (
    ConfigurationError,
    PeerError,
    SeededEntropy,
    SystemClock,
    SystemEntropy,
    TransportUnavailable,
)
from relay.forward_publish import Prekey
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.tor import TorClient

REFERENCE = str(ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity))


class Bench:
    def __init__(self, directory: Path, port: int) -> None:
        self.told: list[str] = []
        self.settings = AgentSettings(
            str(directory),
            sip_listen=f"127.0.0.1:{port}",
            contact_points=("a" * 56,),
            reflectors=(REFERENCE,),
        )
        self.agent = Agent(self.settings, SystemClock(), SystemEntropy(), self.report)

    async def run(self) -> None:
        self.agent.build(PlainFiles(self.settings.directory))
        await self.agent.run()

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append(event)

    async def until(self, event: str) -> None:
        for _ in range(500):
            if event in self.told:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"no {event}: {self.told}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return Bench(tmp_path, port)


async def never(*arguments: object) -> None:
    await asyncio.Event().wait()


async def refuse(*arguments: object) -> None:
    raise TransportUnavailable("tor cannot be started; install it")


async def nobody_left() -> None:
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_while_tor_starts_the_phone_is_served_and_a_stop_is_obeyed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorClient, "launch", never)
    task = asyncio.create_task(bench.run())
    await bench.until("starting")
    assert bench.told == ["softphone", "starting"]
    assert bench.agent._why_not() == "Tor is not running"
    assert bench.agent.tor_pid is None
    assert not bench.agent.busy
    bench.agent.stop()
    await asyncio.wait_for(task, 5.0)
    await nobody_left()
    again = Bench(Path(bench.settings.state_directory), int(bench.settings.sip_listen.rpartition(":")[2]))
    again.agent.stop()
    await asyncio.wait_for(again.run(), 5.0)
    await nobody_left()


async def test_the_next_run_knows_what_the_last_one_took_and_old_prekeys_go_at_the_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorClient, "launch", never)
    state = PlainFiles(Path(bench.settings.state_directory))
    wall = SystemClock().wall()
    state.write("prekey.0", Prekey.generate(SystemEntropy(), wall - PREKEY_KEPT - 60).to_bytes())
    task = asyncio.create_task(bench.run())
    await bench.until("starting")
    assert state.read("prekey.0") is None
    bench.agent._replays.check(bytes(32), b"a ring", wall, wall)
    bench.agent.stop()
    await asyncio.wait_for(task, 5.0)
    again = Bench(state.path, int(bench.settings.sip_listen.rpartition(":")[2]))
    again.agent.stop()
    await asyncio.wait_for(again.run(), 5.0)
    assert again.agent._correspondence._replays is again.agent._replays
    with pytest.raises(PeerError, match="replayed"):
        again.agent._replays.check(bytes(32), b"a ring", wall, wall)
    again.agent._replays.check(bytes(32), b"another", wall, wall)


async def test_a_tor_that_never_comes_up_ends_the_agent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorClient, "launch", refuse)
    with pytest.raises(TransportUnavailable, match="install it"):
        await asyncio.wait_for(bench.run(), 5.0)
    await nobody_left()


async def test_a_taken_softphone_port_is_one_sentence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorClient, "launch", never)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(bench.settings.sip_listen.rpartition(":")[2])))
        taken.listen()
        with pytest.raises(TransportUnavailable, match="sip_listen"):
            await asyncio.wait_for(bench.run(), 5.0)
    await nobody_left()


async def test_damaged_contacts_are_one_sentence(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "contacts.json").write_bytes(b"{")
    with pytest.raises(ConfigurationError, match="damaged"):
        await bench.run()


async def test_a_task_that_fails_is_logged_by_kind_alone(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(error: Exception) -> None:
        raise error

    for error in (RuntimeError("bob at 192.0.2.7"), TransportUnavailable("a plain sentence")):
        task = bench.agent._spawn("ring", fail(error))
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    written = capsys.readouterr().out
    assert "RuntimeError" in written
    assert "bob" not in written
    assert "a plain sentence" in written
    assert not bench.agent._tasks
