"""The tap forwards both ways, tells agents apart, and records true addresses and kernel times."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.core import SystemClock, spawn
from relay.lab.captures import Datagram, read_capture
from relay.lab.observer import wall_minus_monotonic

REFLECTOR_HOST = "127.0.0.1"


def udp(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(5)
    return made


@pytest.fixture
def reflector() -> Iterator[socket.socket]:
    with udp(REFLECTOR_HOST) as made:
        yield made


def test_both_ways_through_the_tap(tmp_path: Path, reflector: socket.socket) -> None:
    capture = tmp_path / "all.pcap"
    behind = f"{REFLECTOR_HOST}:{reflector.getsockname()[1]}"
    arguments = ["--listen", "127.0.20.9:0", "--reflector", behind, "--capture", str(capture)]
    child = spawn([sys.executable, "-m", "relay.lab.observer", *arguments], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        host, _, port = json.loads(child.stdout.readline())["address"].rpartition(":")
        tap = (host, int(port))
        with udp("127.0.10.1") as alice, udp("127.0.10.2") as bob:
            delays = []
            for number in range(20):
                began = time.monotonic()
                alice.sendto(bytes([number]) * 160, tap)
                payload, seen_alice = reflector.recvfrom(2048)
                delays.append(time.monotonic() - began)
                assert payload == bytes([number]) * 160
            bob.sendto(b"b" * 160, tap)
            _, seen_bob = reflector.recvfrom(2048)
            assert seen_alice != seen_bob
            for back in (seen_alice, seen_bob):
                reflector.sendto(b"r" * 160, back)
            assert alice.recvfrom(2048) == (b"r" * 160, tap)
            assert bob.recvfrom(2048) == (b"r" * 160, tap)
            alice_address, bob_address = alice.getsockname(), bob.getsockname()
        assert sorted(delays)[10] < 0.005
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    check_capture(read_capture(capture), alice_address, bob_address, tap)


def check_capture(
    seen: list[Datagram], alice: tuple[str, int], bob: tuple[str, int], tap: tuple[str, int]
) -> None:
    assert [d for d in seen if d.source == alice] == seen[:20]
    assert {d.destination for d in seen if d.source in (alice, bob)} == {tap}
    assert [(d.destination, d.size) for d in seen if d.source == tap] == [(alice, 160), (bob, 160)]
    clock = SystemClock()
    now = clock.wall()
    assert all(now - 30 < d.at_ns / 1e9 <= now for d in seen)
    assert abs(wall_minus_monotonic(clock) - (time.time() - time.monotonic())) < 0.01
