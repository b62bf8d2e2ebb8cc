"""The reflector's app: it serves, drains, reads its configuration again, tells its service manager, ends cleanly.

Tor is a stand-in here; data plane, sockets and the service manager's part are real.
"""

import asyncio
import errno
import os
import signal
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.core import ConfigurationError, MisuseError, TransportUnavailable
from relay.forward_publish import EntryKind
from relay.media_reflector import (
    ComeAgainLater,
    Descriptor,
    ReflectorKeys,
    ReflectorReference,
    fetch_descriptor,
    fetch_ticket,
)
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.node import descriptor_publisher, descriptor_times
from relay.node import reflector as app
from relay.node.drain_request import ask_to_drain
from relay.node.peer_stream import RECORD_PORT
from relay.node.reflector_settings import ReflectorSettings
from relay.node.service_manager import ServiceManager
from tests.node.conftest import StartNode
from tests.node.fake_tor import FakeTor, until
from tests.node.running import CLOCK, ENTROPY, Manager, Run, Start, settings_for

OTHER = str(ReflectorReference("c" * 56, ReflectorKeys.generate(ENTROPY).public_identity))


async def descriptor_of(tor: FakeTor, running: Run) -> Descriptor:
    return await fetch_descriptor(tor, await running.wait_ready(), isolation="x", wall=CLOCK.wall())


async def test_it_becomes_ready_serves_and_stops(start: Start, tor: FakeTor) -> None:
    running = await start()
    descriptor = await descriptor_of(tor, running)
    assert descriptor.addresses[0][1] > 0
    assert not descriptor.draining
    assert await fetch_ticket(tor, descriptor, ENTROPY, isolation="y", now=CLOCK.monotonic())
    await running.end()
    assert tor.closed == 1
    last = running.events[-1]
    assert (last["event"], last["data_plane"], last["lines"], last["dropped"]) == ("status", "plain", 0, {})


async def test_the_log_says_what_its_onion_service_and_its_trunks_refused(
    start: Start, tor: FakeTor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.node.reflector_status.FAULTS_ROUNDED", 1)
    monkeypatch.setattr("relay.media_reflector.server.TICKET_STREAMS", 1)
    running = await start()
    descriptor = await descriptor_of(tor, running)
    running.node._office.capacity = 0
    with pytest.raises(ComeAgainLater):
        await fetch_ticket(tor, descriptor, ENTROPY, isolation="z", now=CLOCK.monotonic())
    _, silent = await tor.open(descriptor.onion, 7220, isolation="s")
    with pytest.raises(ComeAgainLater):
        await fetch_ticket(tor, descriptor, ENTROPY, isolation="z", now=CLOCK.monotonic())
    silent.close()
    running.node.trunks.counters.count("trunk_refused")
    dropped = running.node.status()["dropped"]
    assert dropped == {"request_refused": 1, "trunk_refused": 1, "streams_put_off": 1}


async def test_both_kinds_of_address_are_served_and_told(start: Start, tor: FakeTor) -> None:
    running = await start(udp_listen=["127.0.0.1:0", "[::1]:0"])
    descriptor = await descriptor_of(tor, running)
    assert [host for host, _ in descriptor.addresses] == ["127.0.0.1", "::1"]
    before = running.node.reflector.counts()["datagrams_received"]
    for family, address in zip((socket.AF_INET, socket.AF_INET6), descriptor.addresses, strict=True):
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"not a cell", address)
    await until(lambda: running.node.reflector.counts()["datagrams_received"] == before + 2)
    assert running.node.reflector.counts()["wrong_size"] == 2


async def test_the_same_reflector_after_a_restart(start: Start, tor: FakeTor, tmp_path: Path) -> None:
    references = []
    for _ in range(2):
        running = await start()
        references.append(await running.wait_ready())
        await running.end()
    assert references[0] == references[1]
    assert _modes(tmp_path / "state") == {"reflector.keys": 0o600, "onion.key": 0o600}


def _modes(directory: Path) -> dict[str, int]:
    """Every file but the sockets: nothing about lines is ever there."""
    files = [path for path in directory.iterdir() if not path.is_socket()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}


async def test_lost_tor_comes_back_and_lines_do_not_notice(start: Start, tor: FakeTor) -> None:
    running = await start()
    tor.lost.set()
    await running.wait_ready(2)
    assert not running.task.done()


@pytest.mark.parametrize("unread", [BrokenPipeError(errno.EPIPE, "broken"), OSError(errno.ENOSPC, "full")])
async def test_whether_anybody_reads_what_is_told_is_nothing_to_its_lines_or_to_tor(
    tmp_path: Path, tor: FakeTor, unread: OSError, capfd: pytest.CaptureFixture[str]
) -> None:
    running = Run(settings_for(tmp_path / "state"))
    running.unread = unread
    await until(lambda: running.node._onion.up or running.task.done())
    tor.lost.set()
    await until(lambda: (tor.launches == 2 and running.node._onion.up) or running.task.done())
    assert "could not be told" in capfd.readouterr().out
    running.node.drain()
    async with asyncio.timeout(5):
        await running.task
    assert tor.launches == 2, "as often as it was lost, and no more"


async def test_no_tor_at_the_start_is_a_failure(tmp_path: Path, tor: FakeTor) -> None:
    tor.broken = True
    running = Run(settings_for(tmp_path))
    with pytest.raises(TransportUnavailable):
        await running.task


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_taken_address_is_one_plain_sentence(start: Start, tmp_path: Path, workers: int) -> None:
    first = await start(workers=workers)
    host, port = first.node._bound[0]
    second = Run(settings_for(tmp_path / "other", udp_listen=f"{host}:{port}", workers=workers))
    with pytest.raises(TransportUnavailable, match="udp_listen"):
        async with asyncio.timeout(5):
            await second.task


async def test_an_address_that_no_agent_would_take_is_refused_at_the_start(
    tmp_path: Path, tor: FakeTor
) -> None:
    running = Run(settings_for(tmp_path, udp_advertise="169.254.1.1:7210"))
    with pytest.raises(MisuseError):
        await running.task


async def test_itself_is_nobodys_backup(start: Start, tmp_path: Path) -> None:
    running = await start()
    own = str(await running.wait_ready())
    await running.end()
    for changes in ({"backup": own}, {"peers": [own]}, {"trunks": [{"reference": own, "slots": 2}]}):
        again = Run(settings_for(tmp_path / "state", **changes))
        with pytest.raises(ConfigurationError, match="itself"):
            await again.task


# The end that spares calls.


async def test_a_drain_refuses_what_is_new_and_ends_by_itself(
    start: Start, tor: FakeTor, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    monkeypatch.setattr(type(running.node.reflector), "drained", property(lambda _: False))
    running.node.drain()
    descriptor = await descriptor_of(tor, running)
    assert descriptor.draining
    with pytest.raises(ComeAgainLater):
        await fetch_ticket(tor, descriptor, ENTROPY, isolation="y", now=CLOCK.monotonic())
    assert not running.task.done()
    monkeypatch.undo()
    async with asyncio.timeout(5):
        await running.task
    assert [event["event"] for event in running.events[1:]] == ["draining", "drained", "status"]
    assert running.told("drained")[0]["calls_cut_off"] is False


async def test_the_wish_over_the_state_directory(start: Start, tmp_path: Path) -> None:
    running = await start()
    heard: list[Mapping[str, object]] = []
    assert await ask_to_drain(tmp_path / "state", heard.append, timeout=10.0)
    assert heard[-1]["event"] == "drained"
    async with asyncio.timeout(5):
        await running.task


async def test_calls_do_not_outlast_the_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(drain_limit=0.3)
    monkeypatch.setattr(type(running.node.reflector), "drained", property(lambda _: False))
    running.node.drain()
    async with asyncio.timeout(5):
        await running.task
    assert running.told("drained")[0]["calls_cut_off"] is True


async def test_a_stop_while_it_drains_is_obeyed_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    monkeypatch.setattr(type(running.node.reflector), "drained", property(lambda _: False))
    running.node.drain()
    await running.end()
    assert running.told("drained") == []


# The configuration, read again.


async def test_what_can_change_at_run_time_does(start: Start, tor: FakeTor) -> None:
    running = await start()
    running.settings = settings_for(
        Path(running.settings.state_directory),
        capacity=700,
        udp_advertise="192.0.2.7:9999",
        backup=OTHER,
        peers=[OTHER],
        contact_points=["p" * 56],
        trunks=[{"reference": OTHER, "slots": 9}],
        log_level="error",
        workers=2,
        udp_listen="127.0.0.1:7210",
    )
    running.node.reload()
    (event,) = running.told("reloaded")
    assert event["changed"] == [
        "udp_advertise",
        "capacity",
        "backup",
        "peers",
        "contact_points",
        "log_level",
        "trunks",
    ]
    assert event["needs_restart"] == ["udp_listen", "workers"]
    descriptor = await descriptor_of(tor, running)
    assert (descriptor.capacity, descriptor.backup) == (700, OTHER)
    assert descriptor.addresses == (("192.0.2.7", 9999),)
    assert descriptor.trunks == (), "it is not up"
    assert running.node.reflector.capacity == 700
    assert running.node.reflector.backup is not None
    assert running.levels == ["error"]
    running.settings = settings_for(Path(running.settings.state_directory))
    running.node.reload()
    assert running.node.reflector.backup is None
    assert (await descriptor_of(tor, running)).capacity == 5


@pytest.mark.parametrize(
    "bad",
    [{"capacity": 1}, {"udp_advertise": "169.254.1.1:7210", "capacity": 9}, {"backup": "somebody"}],
)
async def test_a_bad_file_keeps_everything_and_says_one_sentence(
    start: Start, tor: FakeTor, bad: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    before = await descriptor_of(tor, running)
    capfd.readouterr()
    running.settings = settings_for(Path(running.settings.state_directory), **bad)
    running.node.reload()
    said = [line for line in "".join(capfd.readouterr()).splitlines() if "configuration" in line]
    assert len(said) == 1
    assert "stays as it was" in said[0]
    assert running.told("reloaded") == []
    assert await descriptor_of(tor, running) == before
    assert running.node.reflector.capacity == 5


# The contact points that hear of it.


def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_times, "AFTER_START", (0.0, 0.1))
    monkeypatch.setattr(descriptor_times, "AFTER_CHANGE", (0.2, 0.3))
    monkeypatch.setattr(descriptor_times, "URGENT_GAP", 0.1)
    monkeypatch.setattr(descriptor_publisher, "LOOK_EVERY", 0.02)


async def test_contact_points_hear_of_it_and_of_its_end_before_it_ends(
    start: Start, start_node: StartNode, tor: FakeTor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brisk(monkeypatch)
    point, there = await start_node(state="point", clock=CLOCK, onion="p" * 56)
    tor.targets["p" * 56] = there.ports[RECORD_PORT]
    assert point._store is not None

    async def heard() -> list[Descriptor]:
        assert point._store is not None
        found = await point._store.select(EntryKind.DESCRIPTOR, bytes(32), b"\xff" * 32, limit=9)
        return [DescriptorEntry.parse(entry.body).descriptor for entry in found]

    running = await start(contact_points=["p" * 56])
    reference = await running.wait_ready()
    async with asyncio.timeout(10):
        await running.node._publisher.wait_out()
    (first,) = await heard()
    assert first == await descriptor_of(tor, running), "it says the same to everybody"
    assert first.reference == reference
    running.node.drain()
    async with asyncio.timeout(10):
        await running.task
    (last,) = await heard()
    assert last.draining, "no call was up, and it told them all the same"
    assert last.valid_from > first.valid_from
    assert _modes(tmp_path / "state") == {
        "reflector.keys": 0o600,
        "onion.key": 0o600,
        "descriptor.date": 0o600,
    }
    again = await start(contact_points=["p" * 56])
    assert (await descriptor_of(tor, again)).valid_from > last.valid_from, "also in its next life"


async def test_contact_points_that_are_gone_hold_up_no_end_for_long(
    start: Start, tor: FakeTor, monkeypatch: pytest.MonkeyPatch
) -> None:
    brisk(monkeypatch)
    monkeypatch.setattr(app, "_LAST_WORD", 0.5)
    running = await start(contact_points=["p" * 56])
    running.node.drain()
    async with asyncio.timeout(5):
        await running.task
    assert running.told("drained")


# The service manager.


async def test_the_service_manager_hears_what_happens(start: Start, manager: Manager) -> None:
    running = await start(ServiceManager(str(manager.path)))
    assert manager.read().count("READY=1") == 1
    running.node.reload()
    assert "RELOADING=1" in manager.read()
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.said)
    assert manager.said.count("READY=1") == 2
    assert "STOPPING=1" not in manager.said
    running.node.drain()
    async with asyncio.timeout(5):
        await running.task
    said = manager.read()
    draining = [index for index, line in enumerate(said) if "draining" in line]
    # STOPPING would start the manager's stop timeout, and that would cut calls off.
    assert draining
    assert said.index("STOPPING=1") > draining[0]


async def test_the_service_manager_hears_that_tor_is_away(
    start: Start, tor: FakeTor, manager: Manager
) -> None:
    await start(ServiceManager(str(manager.path)))
    tor.broken = True
    tor.lost.set()
    await until(lambda: any("tor is lost" in line for line in manager.read()))
    assert "lines are served" in manager.said[-1]
    tor.broken = False
    await until(lambda: manager.read()[-1].startswith("STATUS=") and "tor is lost" not in manager.said[-1])


async def test_it_is_not_ready_before_it_can_be_reached(
    tmp_path: Path, tor: FakeTor, manager: Manager
) -> None:
    tor.broken = True
    running = Run(settings_for(tmp_path / "state"), ServiceManager(str(manager.path)))
    running.node.reload()
    with pytest.raises(TransportUnavailable):
        await running.task
    assert "READY=1" not in manager.read()


# The process.


async def test_signals(tmp_path: Path, tor: FakeTor) -> None:
    events: list[Mapping[str, object]] = []
    reads = []

    def read_again() -> ReflectorSettings:
        reads.append(1)
        return settings_for(tmp_path, capacity=50)

    running = asyncio.create_task(
        app.run(settings_for(tmp_path), CLOCK, ENTROPY, events.append, read_again=read_again)
    )
    await until(lambda: any(event["event"] == "ready" for event in events))
    with pytest.raises(ConfigurationError, match="another process"):
        await app.run(settings_for(tmp_path), CLOCK, ENTROPY, events.append)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: any(event["event"] == "reloaded" for event in events))
    assert reads == [1]
    os.kill(os.getpid(), signal.SIGUSR1)
    async with asyncio.timeout(5):
        await running
    assert any(event["event"] == "drained" for event in events)
