"""Real clients on a private network: streams, services, the loss of Tor, and a Tor that was there before us."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from relay.core import MisuseError, SystemClock, TransportUnavailable
from relay.tor import NetworkFile, OnionKey, OnionService, TorClient, TorSettings
from relay.tor.network_file import network_options, seed
from relay.tor.process import TorProcess
from relay.tor.socks import open_host_stream, open_stream
from tests.tor.conftest import Launch


async def say_hello(client: TorClient, service: OnionService, *, isolation: str = "x") -> None:
    reader, writer = await client.open(service.onion, 80, isolation=isolation)
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), 20) == b"hello"
    writer.close()


async def test_a_stream_from_one_client_to_the_others_service(launch: Launch, echo: Path) -> None:
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    service = await host.publish(None, {80: echo})
    assert len(service.onion) == 56
    assert service.onion not in repr(service)
    await asyncio.gather(*(say_hello(guest, service, isolation=label) for label in ("a", "b")))
    with pytest.raises(TransportUnavailable):
        await guest.open(service.onion, 81, isolation="a")
    await service.remove()


async def test_a_stored_key_is_the_same_onion_again(launch: Launch, echo: Path) -> None:
    host = await launch("host")
    service = await host.publish(None, {80: echo})
    stored = service.key.to_bytes()
    await service.remove()
    again = await host.publish(OnionKey.from_bytes(stored), {80: echo})
    assert again.onion == service.onion
    assert again.key == service.key
    assert stored.decode() not in repr(again)


async def test_a_service_with_proof_of_work_and_a_tcp_target(launch: Launch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    async with server:
        service = await host.publish(
            None, {80: ("127.0.0.1", server.sockets[0].getsockname()[1])}, proof_of_work=True
        )
        await say_hello(guest, service)


async def test_a_circuit_that_wants_too_many_streams_is_closed(launch: Launch) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    async with server:
        address = server.sockets[0].getsockname()[:2]
        service = await host.publish(None, {80: address}, proof_of_work=True, streams=1)
        _, one = await guest.open(service.onion, 80, isolation="one")
        other_reader, other = await guest.open(service.onion, 80, isolation="another")
        with pytest.raises(TransportUnavailable):
            await guest.open(service.onion, 80, isolation="one")
        # The other circuit is as it was.
        other.write(b"hello")
        assert await other_reader.read() == b"hello"
        for writer in (one, other):
            writer.close()


async def test_an_onion_that_nobody_published(launch: Launch) -> None:
    guest = await launch("guest")
    # A valid name: key, checksum and version of rend-spec-v3, as the Tor Project's own front page has it.
    nobody = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid"
    with pytest.raises(TransportUnavailable, match="descriptor"):
        await guest.open(nobody, 80, isolation="x")


async def test_nothing_but_onions(launch: Launch) -> None:
    guest = await launch("guest")
    for target in ("example.org", "127.0.0.1"):
        with pytest.raises(MisuseError):
            await guest.open(target, 80, isolation="x")


async def test_onions_and_hosts_have_a_port_each_and_neither_takes_the_others(
    launch: Launch, echo: Path, place: Path
) -> None:
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    service = await host.publish(None, {80: echo})
    await say_hello(guest, service)
    onions, exits = (place / "guest" / "tor" / name for name in ("socks", "exit"))
    with pytest.raises(TransportUnavailable):
        await open_host_stream(onions, "voice.example", 443, isolation="x", timeout=10)
    with pytest.raises(TransportUnavailable):
        await open_stream(exits, service.onion, 80, isolation="x", timeout=10)


async def test_the_loss_of_tor_ends_everything_at_once(launch: Launch, echo: Path) -> None:
    host = await launch("host")
    service = await host.publish(None, {80: echo})
    lost = asyncio.create_task(host.wait_lost())
    await asyncio.sleep(0)
    assert host.alive
    assert host.pid is not None
    os.kill(host.pid, signal.SIGKILL)
    assert await asyncio.wait_for(lost, 2) == "the tor process ended"
    assert not host.alive
    for attempt in (
        host.open(service.onion, 80, isolation="x"),
        host.open_host("voice.example", 443, isolation="x"),
        host.publish(None, {80: echo}),
        service.remove(),
    ):
        with pytest.raises(TransportUnavailable):
            await asyncio.wait_for(attempt, 2)


async def test_a_stream_that_is_opening_fails_with_tor(launch: Launch, echo: Path) -> None:
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    service = await host.publish(None, {80: echo})
    opening = asyncio.create_task(guest.open(service.onion, 80, isolation="x"))
    await asyncio.sleep(0.02)
    assert guest.pid is not None
    os.kill(guest.pid, signal.SIGKILL)
    with pytest.raises(TransportUnavailable):
        await asyncio.wait_for(opening, 2)


async def test_a_running_tor_by_its_control_socket_and_cookie(
    launch: Launch, echo: Path, place: Path
) -> None:
    guest = await launch("guest")
    await launch("running")
    there = place / "running" / "tor"
    for cookie in ("", str(there / "control_auth_cookie")):
        settings = TorSettings(mode="running", control=f"unix:{there / 'control'}", cookie_file=cookie)
        attached = await TorClient.launch(settings, place / "unused", SystemClock())
        assert attached.pid is None
        service = await attached.publish(None, {80: echo})
        await say_hello(guest, service)
        await say_hello(attached, service)
        lost = asyncio.create_task(attached.wait_lost())
        await attached.close()
        assert "control connection" in await asyncio.wait_for(lost, 2)
    assert not (place / "unused").exists()


async def test_a_running_tor_by_its_control_port_and_password(
    launch: Launch, echo: Path, place: Path, private_network: Path
) -> None:
    guest = await launch("guest")
    network = NetworkFile.read(private_network)
    running = TorProcess(place / "running", "tor", SystemClock())
    seed(network, running.directory)
    # `tor --hash-password foo`
    password = "16:EF13F7DBCED06EA6607CB1F8279AB0835291D84D59C741AC5A03C39FEF"
    ports = [f"HashedControlPassword {password}", "ControlPort 127.0.0.1:auto", "SocksPort 127.0.0.1:auto"]
    ports.append(f"ControlPortWriteToFile {place / 'port'}")
    running.start([*ports, *network_options(network.authority, network.relays)])
    try:
        await running.wait_control()
        control = (place / "port").read_text().split("\n")[0].removeprefix("PORT=")
        settings = TorSettings(mode="running", control=control, password="foo")
        attached = await TorClient.launch(settings, place / "unused", SystemClock())
        service = await attached.publish(None, {80: echo})
        await say_hello(guest, service)
        lost = asyncio.create_task(attached.wait_lost())
        await running.stop()
        assert "control connection" in await asyncio.wait_for(lost, 2)
        assert not attached.alive
        with pytest.raises(TransportUnavailable):
            await attached.open(service.onion, 80, isolation="x")
        await attached.close()
    finally:
        await running.stop()


async def test_a_service_stays_reachable_through_the_next_consensus(
    launch: Launch, echo: Path, private_network: Path
) -> None:
    host, guest = await asyncio.gather(launch("host"), launch("guest"))
    service = await host.publish(None, {80: echo})
    first = valid_after(private_network)
    async with asyncio.timeout(45):
        round_trips = 0
        while valid_after(private_network) == first:
            await say_hello(guest, service, isolation=f"before {round_trips}")
            round_trips += 1
            await asyncio.sleep(1)
    for after in range(3):
        await say_hello(guest, service, isolation=f"after {after}")
    late = await launch("late")
    await say_hello(late, service)


def valid_after(network: Path) -> str:
    consensus = (Path(NetworkFile.read(network).seed) / "cached-microdesc-consensus").read_text()
    return next(line for line in consensus.splitlines() if line.startswith("valid-after"))
