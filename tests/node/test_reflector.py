"""The reflector's app: settings, state, the onion service coming and going, a clean end.  Tor is a stand-in
here."""

import asyncio
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.reflector import command
from relay.core import (
    ConfigurationError,
    Counters,
    SystemClock,
    SystemEntropy,
    TransportUnavailable,
    load_configuration,
)
from relay.media_reflector import DROPS, Reflector, ReflectorReference, fetch_descriptor
from relay.media_reflector.reflector import Occupancy
from relay.node import reflector as app
from relay.node.reflector import ReflectorNode, ReflectorSettings
from relay.tor import OnionKey

ONION = "b" * 56
CLOCK, ENTROPY = SystemClock(), SystemEntropy()


@dataclass
class FakeService:
    onion: str
    key: OnionKey


@dataclass
class FakeTor:
    """What the app asks of a `TorClient`."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    keys: list[OnionKey | None] = field(default_factory=list)
    targets: list[Path] = field(default_factory=list)
    launches: int = 0
    closed: int = 0
    broken: bool = False

    async def launch(self, *_: object) -> "FakeTor":
        self.launches += 1
        if self.broken:
            raise TransportUnavailable("Tor does not connect")
        return self

    async def publish(
        self, key: OnionKey | None, ports: Mapping[int, Path], *, proof_of_work: bool
    ) -> FakeService:
        assert proof_of_work
        self.keys.append(key)
        self.targets.append(ports[7220])
        return FakeService(ONION, key or OnionKey("ED25519-V3:secret"))

    async def wait_lost(self) -> str:
        await self.lost.wait()
        self.lost.clear()
        return "gone"

    async def close(self) -> None:
        self.closed += 1

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.targets[-1])


@pytest.fixture
def tor(monkeypatch: pytest.MonkeyPatch) -> FakeTor:
    fake = FakeTor()
    monkeypatch.setattr(app, "TorClient", fake)
    monkeypatch.setattr(app, "RETRY_FIRST", 0.01)
    return fake


def _settings(directory: Path, **changes: object) -> ReflectorSettings:
    values: dict[str, object] = {"udp_listen": "127.0.0.1:0", "capacity": 5} | changes
    return ReflectorSettings(state_directory=str(directory), **values)  # type: ignore[arg-type]


class Run:
    """One node running in the background."""

    def __init__(self, settings: ReflectorSettings) -> None:
        self.events: list[Mapping[str, object]] = []
        self.changed = asyncio.Event()
        self.stop = asyncio.Event()
        self.node = ReflectorNode(settings, CLOCK, ENTROPY, self._report)
        self.task = asyncio.create_task(self.node.run(self.stop))

    def _report(self, event: Mapping[str, object]) -> None:
        self.events.append(event)
        self.changed.set()

    async def wait_ready(self, count: int = 1) -> str:
        async with asyncio.timeout(5):
            while sum(event["event"] == "ready" for event in self.events) < count:
                self.changed.clear()
                await self.changed.wait()
        return str(self.events[-1]["reference"])

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(5):
            await self.task


async def test_it_becomes_ready_serves_and_stops(tmp_path: Path, tor: FakeTor) -> None:
    running = Run(_settings(tmp_path / "state"))
    reference = ReflectorReference.parse(await running.wait_ready())
    descriptor = await fetch_descriptor(tor, reference, isolation="x", wall=CLOCK.wall())
    assert descriptor.udp_port > 0
    await running.end()
    assert tor.closed == 1
    last = running.events[-1]
    assert (last["event"], last["lines"], last["dropped"]) == ("status", 0, {})


async def test_a_call_does_not_show_in_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = ReflectorNode(_settings(tmp_path), CLOCK, ENTROPY, lambda _: None)
    nothing = node.status()

    def carrying(lines: int, cells: int, drops: int) -> dict[str, object]:
        occupancy = Occupancy(lines=lines, opening=lines, crossed=lines, tickets=lines)
        monkeypatch.setattr(Reflector, "occupancy", property(lambda _: occupancy))
        names = (*DROPS, "cells_received", "cells_sent", "departures_missed")
        counts = dict.fromkeys(names, drops) | {"cells_received": cells, "cells_sent": cells}
        monkeypatch.setattr(Counters, "snapshot", lambda _: counts)
        return node.status()

    assert carrying(2, 2 * 180_000, 999) == nothing
    busy = carrying(57, 12_345_678, 4_321)
    assert (busy["lines"], busy["crossed"], busy["cells_sent"]) == (50, 50, 12_000_000)
    assert busy["departures_missed"] == 4000
    assert app.STATUS_EVERY >= 3600.0


async def test_the_same_reflector_after_a_restart(tmp_path: Path, tor: FakeTor) -> None:
    references = []
    for _ in range(2):
        running = Run(_settings(tmp_path))
        references.append(await running.wait_ready())
        await running.end()
    assert references[0] == references[1]
    assert tor.keys == [None, OnionKey("ED25519-V3:secret")]
    assert _modes(tmp_path) == {"reflector.keys": 0o600, "onion.key": 0o600}


def _modes(directory: Path) -> dict[str, int]:
    """Every file but the ticket socket: nothing about lines is ever there."""
    files = [path for path in directory.iterdir() if not path.is_socket()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}


async def test_lost_tor_comes_back_and_lines_do_not_notice(tmp_path: Path, tor: FakeTor) -> None:
    running = Run(_settings(tmp_path))
    await running.wait_ready()
    tor.lost.set()
    await running.wait_ready(2)
    assert not running.task.done()
    assert tor.launches == 2
    tor.broken = True
    tor.lost.set()
    await asyncio.sleep(0.1)
    assert tor.launches > 3
    assert not running.task.done()
    await running.end()


async def test_no_tor_at_the_start_is_a_failure(tmp_path: Path, tor: FakeTor) -> None:
    tor.broken = True
    running = Run(_settings(tmp_path))
    with pytest.raises(TransportUnavailable):
        await running.task


async def test_a_taken_address_is_one_plain_sentence(tmp_path: Path, tor: FakeTor) -> None:
    first = Run(_settings(tmp_path))
    await first.wait_ready()
    port = first.node._advertised[1]
    second = Run(_settings(tmp_path, udp_listen=f"127.0.0.1:{port}"))
    with pytest.raises(TransportUnavailable, match="udp_listen"):
        await second.task
    await first.end()


def test_damaged_keys_are_refused_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "reflector.keys").write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match="damaged"):
        ReflectorNode(_settings(tmp_path), CLOCK, ENTROPY, lambda _: None)
    assert (tmp_path / "reflector.keys").read_bytes() == b"damaged"


@pytest.mark.parametrize(
    "changes",
    [
        {"udp_listen": "reflector.example:7210"},
        {"udp_listen": "127.0.0.1"},
        {"udp_listen": "127.0.0.1:65536"},
        {"udp_listen": "127.0.0.1:-1"},
        {"udp_listen": "0.0.0.0:7210"},
        {"udp_advertise": "127.0.0.1:0"},
        {"udp_advertise": "name:7210"},
        {"capacity": 1},
        {"capacity": 10_000_000},
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        _settings(tmp_path, **changes).check()


def test_settings_that_can(tmp_path: Path) -> None:
    _settings(tmp_path, udp_listen="[::1]:7210").check()
    _settings(tmp_path, udp_listen="0.0.0.0:7210", udp_advertise="192.0.2.1:7210").check()


def test_the_sample_configuration_is_valid() -> None:
    path = Path(__file__).parents[2] / "ops" / "config" / "reflector.toml"
    load_configuration(path, ReflectorSettings).check()


def test_check_config_names_key_and_line(tmp_path: Path) -> None:
    path = tmp_path / "reflector.toml"
    path.write_text('state_directory = "x"\ncapcity = 3\n')
    result = CliRunner().invoke(command, ["--config", str(path), "--check-config"])
    assert isinstance(result.exception, ConfigurationError)
    assert "line 2: unknown key 'capcity'" in str(result.exception)
    path.write_text('state_directory = "x"\ncapacity = 3\n')
    result = CliRunner().invoke(command, ["--config", str(path), "--check-config"])
    assert result.exit_code == 0
    assert "ok" in result.output
