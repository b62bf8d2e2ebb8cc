"""An island: machines that reach one another and nothing else, one of which hosts the relays; the others have its file
alone.  Network namespaces stand for the machines where they can be made, addresses of loopback elsewhere."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.core import SystemClock, spawn
from relay.tor import TorClient, TorSettings
from relay.tor.island import ISLAND_FILE, IslandFile
from tests.tor.processes import gone_within

pytestmark = pytest.mark.timeout(180)

UP_SECONDS = 60.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A private directory whose path fits into a unix socket's."""
    directory = Path(tempfile.mkdtemp(prefix="bvr-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Machine:
    """`inside` begins every command line that runs on it."""

    address: str
    inside: tuple[str, ...] = ()

    def tor(self, place: Path) -> str:
        """A program that is this machine's tor."""
        if not self.inside:
            return "tor"
        script = place / f"tor-{self.address}"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.inside)} tor "$@"\n')
        script.chmod(0o700)
        return str(script)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def namespaces() -> Iterator[list[Machine]]:
    """Three machines on one switch that leads nowhere."""
    mark = f"bvr{os.getpid()}"
    names = [f"{mark}{letter}" for letter in "sabc"]
    try:
        for name in names:
            ip("netns", "add", name)
        switch, *others = names
        ip("-n", switch, "link", "add", "switch", "up", "type", "bridge")
        machines = []
        for number, name in enumerate(others, 1):
            ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", "lan", "netns", name)
            ip("-n", switch, "link", "set", name, "master", "switch", "up")
            address = f"10.99.0.{number}"
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "lan")
            ip("-n", name, "link", "set", "lan", "up")
            machines.append(Machine(address, ("ip", "netns", "exec", name)))
        yield machines
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20, check=False)


# Only root makes network namespaces, and for root it has to work.
@pytest.fixture(params=["namespaces", "loopback"] if os.geteuid() == 0 else ["loopback"])
def machines(request: pytest.FixtureRequest) -> Iterator[list[Machine]]:
    if request.param == "loopback":
        yield [Machine(f"127.0.41.{number}") for number in (1, 2, 3)]
        return
    with namespaces() as made:
        yield made


@contextlib.contextmanager
def hosted(machine: Machine, place: Path) -> Iterator[Path]:
    """The island's file, as long as the host is up."""
    net, log = place / "net", place / "log"
    arguments = ["testnet", "up", "--island", "--address", machine.address, "--no-check", "--json"]
    with log.open("wb") as output:
        child = spawn(
            [*machine.inside, sys.executable, "-m", "relay.cli", *arguments, "--directory", str(net)],
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + UP_SECONDS
        while '"island"' not in log.read_text():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        told = json.loads(log.read_text().splitlines()[-1])
        assert told["relays"] == 4
        assert "all on one machine" in told["note"]
        yield Path(told["file"])
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)
        assert gone_within(net, 5.0)


def joined(file: Path, directory: Path) -> Path:
    """What `bayonne testnet join` makes of the island's file, and of nothing else."""
    copy = directory / "copy" / "from-the-host.json"
    copy.parent.mkdir(parents=True)
    shutil.copyfile(file, copy)
    command = [sys.executable, "-m", "relay.cli", "testnet", "join", str(copy), "--directory"]
    done = subprocess.run(
        [*command, str(directory / "island")], capture_output=True, text=True, timeout=30, check=True
    )
    assert "all on one machine" in done.stdout
    copy.unlink()
    return directory / "island"


async def call(file: Path, one: Machine, other: Machine, place: Path) -> float:
    """Seconds until `other` has reached an onion service of `one`, both from nothing."""
    clock = SystemClock()
    began = clock.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for machine in (one, other):
            directory = place / machine.address
            network = await asyncio.to_thread(joined, file, directory)
            settings = TorSettings(executable=machine.tor(place), network_directory=str(network))
            client = await TorClient.launch(settings, directory, clock)
            stack.push_async_callback(client.close)
            clients.append(client)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(5))
            writer.close()

        await stack.enter_async_context(await asyncio.start_unix_server(answer, str(place / "echo")))
        service = await clients[0].publish(None, {80: place / "echo"})
        reader, writer = await clients[1].open(service.onion, 80, isolation="x")
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 20) == b"hello"
        writer.close()
        return clock.monotonic() - began


async def test_two_machines_with_the_hosts_file_alone_reach_each_other(
    machines: list[Machine], place: Path
) -> None:
    host, one, other = machines
    with contextlib.ExitStack() as stack:
        file = await asyncio.to_thread(stack.enter_context, hosted(host, place))
        assert IslandFile.parse(file.read_bytes()).address == host.address
        assert await call(file, one, other, place / "there") < 40
        assert await call(file, other, one, place / "back") < 40


async def test_an_island_is_the_same_after_its_host_was_away(place: Path) -> None:
    host = Machine("127.0.42.1")
    kept = place / ISLAND_FILE
    for start in range(2):
        with contextlib.ExitStack() as stack:
            file = await asyncio.to_thread(stack.enter_context, hosted(host, place))
            if start == 0:
                shutil.copyfile(file, kept)
            else:
                assert file.read_bytes() == kept.read_bytes()
                await call(kept, Machine("127.0.42.2"), Machine("127.0.42.3"), place / "again")
