"""A private network leaves nothing behind, whatever ends it; `bayonne testnet` tells the truth about it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.core import Child, MisuseError, SystemClock, TransportUnavailable, spawn
from relay.tor import NetworkFile, PrivateNetwork
from tests.tor.processes import gone_within, tor_processes

TESTNET = [sys.executable, "-m", "relay.cli", "testnet"]
GONE_SECONDS = 5.0


def run_testnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TESTNET, *arguments], capture_output=True, text=True, timeout=60, check=False)


def wait_members(place: Path, count: int) -> set[int]:
    deadline = time.monotonic() + 20
    while len(found := tor_processes(place)) < count:
        assert time.monotonic() < deadline, "the members do not start"
        time.sleep(0.05)
    return found


@pytest.fixture
def starting(place: Path) -> Iterator[Child]:
    """`bayonne testnet up` in the middle of its start: four members run, and none has voted."""
    errors = (place / "errors").open("wb")
    child = spawn([*TESTNET, "up", "--json", "--directory", str(place / "net")], stderr=errors)
    try:
        wait_members(place / "net", 4)
        time.sleep(0.2)
        yield child
    finally:
        child.kill()
        child.wait()
        errors.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_member_survives_the_one_who_started_it(
    place: Path, starting: Child, number: signal.Signals
) -> None:
    starting.send_signal(number)
    assert starting.wait(GONE_SECONDS) == (-number if number == signal.SIGKILL else 0)
    assert gone_within(place, GONE_SECONDS)
    assert run_testnet("status", "--directory", str(place / "net")).returncode == 1


def test_down_ends_a_network_that_still_starts(place: Path, starting: Child) -> None:
    status = run_testnet("status", "--directory", str(place / "net"))
    assert status.returncode == 1
    assert "is starting" in status.stdout
    down = run_testnet("down", "--directory", str(place / "net"))
    assert down.returncode == 0
    assert starting.poll() == 0
    assert gone_within(place, 0)


def test_a_member_that_dies_at_the_start_ends_it_all_in_one_sentence(place: Path, starting: Child) -> None:
    os.kill(min(tor_processes(place / "net")), signal.SIGKILL)
    assert starting.wait(GONE_SECONDS) == 1
    assert gone_within(place, 0)
    said = (place / "errors").read_text()
    assert said.startswith("bayonne: ")
    assert "tor.log" in said
    assert said.count("\n") == 1


def test_a_detached_network_from_its_start_to_a_members_death(place: Path) -> None:
    net = place / "net"
    up = run_testnet("up", "--detach", "--no-check", "--directory", str(net), "--json")
    try:
        assert up.returncode == 0, up.stderr
        events = [json.loads(line) for line in up.stdout.splitlines()]
        assert [event["event"] for event in events] == ["stage"] * 3 + ["ready"]
        assert events[-1]["reachable_seconds"] is None

        status = json.loads(run_testnet("status", "--json", "--directory", str(net)).stdout)
        assert status["running"]
        assert status["relays"] == 3
        assert set(status["pids"].values()) == tor_processes(place)

        second = run_testnet("up", "--directory", str(net))
        assert second.returncode == 1
        assert second.stderr == "bayonne: a private network is up in 'net'; 'bayonne testnet down' stops it\n"
        assert tor_processes(place) == set(status["pids"].values())

        os.kill(status["pids"]["relay2"], signal.SIGKILL)
        assert gone_within(place, GONE_SECONDS)
        assert "relay2 ended" in (net / "testnet.log").read_text()
    finally:
        down = run_testnet("down", "--directory", str(net))
    assert down.returncode == 0
    assert down.stdout.startswith("No private network is up")
    assert gone_within(place, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tor", "no-such-tor"), "'no-such-tor' is not installed; 'make setup' installs it"),
        (("--tor", "true"), "'true' made no relay's keys; is it tor?"),
        (("--relays", "2"), "--relays"),
    ],
)
@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_a_start_that_fails_says_why(
    place: Path, arguments: tuple[str, ...], says: str, detach: tuple[str, ...]
) -> None:
    up = run_testnet("up", *detach, *arguments, "--directory", str(place / "net"))
    assert up.returncode != 0
    assert says in up.stderr
    assert "Traceback" not in up.stderr
    assert gone_within(place, 0)


def test_fewer_relays_than_an_onion_needs(place: Path) -> None:
    with pytest.raises(MisuseError, match="at least 3 relays"):
        PrivateNetwork(place / "net", clock=SystemClock(), relays=2)


async def test_a_second_network_in_the_same_directory_is_refused(private_network: Path) -> None:
    before = NetworkFile.read(private_network)
    network = PrivateNetwork(private_network, clock=SystemClock())
    with pytest.raises(TransportUnavailable, match="is up in"):
        await network.up()
    await network.down()
    assert NetworkFile.read(private_network) == before


CLIENT = """
import asyncio, sys
from pathlib import Path
from relay.core import SystemClock
from relay.tor import TorClient, TorSettings

async def main() -> None:
    client = await TorClient.launch(TorSettings(network_directory=sys.argv[1]), Path(sys.argv[2]), SystemClock())
    print("up", flush=True)
    await client.wait_lost()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_clients_own_tor_dies_with_it(place: Path, private_network: Path, number: signal.Signals) -> None:
    arguments = [sys.executable, "-c", CLIENT, str(private_network), str(place)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"up\n"
            assert len(tor_processes(place)) == 1
            client.send_signal(number)
            client.wait(GONE_SECONDS)
            assert gone_within(place, GONE_SECONDS)
        finally:
            client.kill()
