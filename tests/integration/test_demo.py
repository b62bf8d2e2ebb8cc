"""The whole demo, as a newcomer runs it: real tor, real softphones, a real reflector, and its own observer.

While the call is on, a control runs beside it on the same machine: two senders behind an observer of their own, one
that keeps its pace and one that hesitates half a millisecond at every second cell while somebody speaks.  The privacy
test must tell them apart.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay.core import SystemClock, SystemEntropy, spawn
from relay.lab.captures import read_capture
from relay.lab.metrics import LeakReport, speech_leak
from relay.lab.observer import observer_command
from relay.rtp.cell import CELL_SIZE, TICK

pytestmark = [pytest.mark.call, pytest.mark.timeout(240)]

SECONDS = 24
HESITATION = 0.0005


@dataclass(slots=True)
class Shown:
    """What a demo run left."""

    out: Path
    returncode: int
    stdout: str
    stderr: str
    controls: dict[str, LeakReport]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    directory = tmp_path_factory.mktemp("demo")
    out = directory / "demo-out"
    arguments = ["demo", "--seconds", str(SECONDS), "--out", str(out), "--json"]
    with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
        child = spawn([sys.executable, "-m", "relay.cli", *arguments], stdout=stdout, stderr=stderr)
    try:
        time.sleep(30.0)  # until the call is on, roughly; the control asks for no more
        controls = control(directory)
        returncode = child.wait(180)
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait(30)
    texts = [(directory / name).read_text() for name in ("stdout", "stderr")]
    return Shown(out, returncode, texts[0], texts[1], controls)


def control(directory: Path) -> dict[str, LeakReport]:
    """Both senders for `SECONDS`, with a coin tossed for every second, seen through the observer's own tap."""
    clock, entropy = SystemClock(), SystemEntropy()
    # As many seconds of each kind, in random order: what the test permutes.
    order = sorted(range(SECONDS), key=lambda _second: entropy.below(1 << 62))
    coin = [position < SECONDS // 2 for position in order]
    capture = directory / "control.pcap"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink_address = "{}:{}".format(*sink.getsockname())
        tap = spawn(observer_command("127.0.0.1:0", sink_address, capture), stdout=subprocess.PIPE)
        try:
            assert tap.stdout is not None
            host, _, port = json.loads(tap.stdout.readline())["address"].rpartition(":")
            started, ports = _send((host, int(port)), coin)
            time.sleep(1.0)
        finally:
            tap.send_signal(signal.SIGTERM)
            tap.wait(10)
    offset = clock.wall() - clock.monotonic()
    seen = read_capture(capture)
    speech = [(float(second), second + 1.0) for second, spoke in enumerate(coin) if spoke]
    found = {}
    for name, port_of in ports.items():
        times = np.array([one.at_ns / 1e9 - offset - started for one in seen if one.source[1] == port_of])
        sizes = [len(one.payload) for one in seen if one.source[1] == port_of]
        found[name] = speech_leak(times, sizes, speech, entropy, begin=0.0, end=float(SECONDS), block=1.0)
    return found


def _send(tap: tuple[str, int], coin: list[bool]) -> tuple[float, dict[str, int]]:
    """One cell a tick from each sender; returns the start (monotonic) and each sender's port."""
    clock = SystemClock()
    senders = {name: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for name in ("honest", "leaky")}
    for sender in senders.values():
        sender.bind(("127.0.0.1", 0))
        sender.connect(tap)
    started = clock.monotonic() + 0.1
    for tick in range(round(len(coin) / TICK)):
        hesitation = HESITATION if coin[int(tick * TICK)] and tick % 2 else 0.0
        for name, late in (("honest", 0.0), ("leaky", 0.005 + hesitation)):
            time.sleep(max(0.0, started + tick * TICK + late - clock.monotonic()))
            senders[name].send(bytes(CELL_SIZE))
    ports = {name: int(sender.getsockname()[1]) for name, sender in senders.items()}
    for sender in senders.values():
        sender.close()
    return started, ports


def test_the_demo_is_green(shown: Shown) -> None:
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert json.loads(shown.stdout) == shown.summary, "--json prints the summary and nothing else"
    failed = [row for row in shown.summary["rows"] if row["holds"] is False]
    assert failed == []


def test_the_summary_holds_what_was_promised(shown: Shown) -> None:
    summary = shown.summary
    assert {"commit", "date", "machine", "rows"} <= summary.keys()
    assert {"measure", "target", "value", "holds", "how"} <= summary["rows"][0].keys()
    assert 0 < summary["setup_seconds"]["dial_to_ring"] < 15
    assert 0 < summary["setup_seconds"]["answer_to_voice"] < 15
    for way in ("alice_to_bob", "bob_to_alice"):
        audio = summary["audio"][way]
        assert audio["correlation"] > 0.8
        assert 0 < audio["delay_ms"] <= 200
        assert audio["lost_cells"] <= 5
    assert len(summary["lines"]) == 2
    for line in summary["lines"]:
        assert line["distinct_sizes"] == [CELL_SIZE]
        assert line["cells_up"] > SECONDS / TICK
        assert line["cells_down"] > SECONDS / TICK
        assert 18.0 < line["interval_ms"]["p50"] < 22.0
        assert {"p1", "p50", "p99"} <= line["interval_ms"].keys()
        assert line["stop"] > line["start"]
    roles = summary["roles"]
    assert {"alice", "bob", "contact-point", "reflector-1", "reflector-2"} <= roles.keys()
    assert all(role["pid"] > 0 and role["peak_memory"] > 1 << 20 for role in roles.values())


def test_everything_promised_lies_in_the_output(shown: Shown) -> None:
    for name in ("alice-heard.wav", "bob-heard.wav"):
        with wave.open(str(shown.out / name)) as recording:
            assert recording.getnframes() / recording.getframerate() > SECONDS / 2
    assert (shown.out / "observer.png").read_bytes().startswith(b"\x89PNG")
    assert (shown.out / "observer.png").stat().st_size > 20_000
    assert json.loads((shown.out / "timeline.json").read_text())


def test_every_packet_in_the_captures_is_a_cell_to_any_reader(shown: Shown) -> None:
    tshark = shutil.which("tshark")
    assert tshark is not None, "make setup installs it"
    captures = sorted(shown.out.glob("line-*.pcap"))
    assert len(captures) == 2
    for capture in captures:
        done = subprocess.run(
            [tshark, "-r", str(capture), "-T", "fields", "-e", "udp.length"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        lengths = done.stdout.split()
        assert len(lengths) > 2 * SECONDS / TICK
        assert set(lengths) == {str(CELL_SIZE + 8)}


def test_speech_does_not_show_and_a_leaky_sender_is_caught(shown: Shown) -> None:
    privacy = shown.summary["privacy"]
    assert {"alice_up", "alice_down", "bob_up", "bob_down"} <= privacy.keys()
    for direction in privacy.values():
        assert all(found["p_value"] >= direction["alpha"] for found in direction["differences"])
    assert shown.controls["leaky"].leaks, "half a millisecond of hesitation must be seen"
    assert not shown.controls["honest"].leaks


def test_no_process_is_left(shown: Shown) -> None:
    needle = b"bayonne-demo-"
    left = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                if needle in (directory / "cmdline").read_bytes():
                    left.append(directory.name)
            except OSError:
                continue
    assert left == []
