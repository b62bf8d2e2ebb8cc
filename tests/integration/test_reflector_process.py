"""A whole reflector process, with its tor, as its service manager sees it: start, reload, drain, and start again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)

_START = 90.0

BETWEEN_FORK_AND_EXEC = """
import ctypes, os, sys
for number, held in enumerate(sys.argv[1].split()):
    os.dup2(int(held), 3 + number)
    os.set_inheritable(3 + number, True)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": sys.argv[2]}
# MemoryDenyWriteExecute= of the unit; kernels before 6.3 do not have it.
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "relay.cli", *sys.argv[3:]])
"""
"""What systemd does there."""


class Manager:
    """Plays systemd: listens, holds, starts."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said: list[str] = []
        self.held: list[int] = []
        self._name = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place / "notify"))
        self._socket.settimeout(0.2)

    def start(self, config: Path) -> "subprocess.Popen[str]":
        self.said.clear()
        held = " ".join(map(str, self.held))
        arguments = [sys.executable, "-c", BETWEEN_FORK_AND_EXEC, held, self._name]
        return subprocess.Popen(
            [*arguments, "reflector", "--config", str(config), "--json"],
            stdout=subprocess.PIPE,
            stderr=(self.place / "log").open("a"),
            text=True,
            cwd=PROJECT,
            env=os.environ | {"NOTIFY_SOCKET": str(self.place / "notify")},
            pass_fds=self.held,
        )

    def wait_for(self, word: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while word not in self.said:
            assert time.monotonic() < deadline, f"{word} was never said: {(self.place / 'log').read_text()}"
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
            except TimeoutError:
                continue
            lines = data.decode().splitlines()
            self.said += lines
            self.held += descriptors
            self._name = next((line[7:] for line in lines if line.startswith("FDNAME=")), self._name)

    def close(self) -> None:
        self._socket.close()
        for descriptor in self.held:
            os.close(descriptor)


@pytest.fixture
def manager() -> Iterator[Manager]:
    place = Path(tempfile.mkdtemp(prefix="bvr-"))
    playing = Manager(place)
    yield playing
    playing.close()
    shutil.rmtree(place, ignore_errors=True)


def write_configuration(manager: Manager, network: Path, more: str) -> Path:
    path = manager.place / "reflector.toml"
    path.write_text(
        f'state_directory = "{manager.place / "state"}"\nudp_listen = ["127.0.0.1:0", "[::1]:0"]\n'
        f'{more}\n[tor]\nnetwork_directory = "{network}"\n'
    )
    return path


def drain(config: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "relay.cli", "reflector", "--config", str(config), "--drain"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=PROJECT)


def test_start_reload_drain_and_start_again(manager: Manager, private_network: Path) -> None:
    config = write_configuration(manager, private_network, "capacity = 100")
    process = manager.start(config)
    try:
        manager.wait_for("READY=1", _START)
        assert process.stdout is not None
        reference = json.loads(process.stdout.readline())["reference"]
        manager.wait_for("FDSTORE=1", 20.0)
        keys = os.pread(manager.held[0], 1 << 16, 0)
        assert len(keys) > 64
        _assert_hardened(process.pid)

        manager.said.clear()
        write_configuration(manager, private_network, "capacity = 200\nworkers = 1")
        process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1", 10.0)
        manager.wait_for("READY=1", 10.0)
        reloaded = json.loads(process.stdout.readline())
        assert (reloaded["changed"], reloaded["needs_restart"]) == (["capacity"], ["workers"])

        write_configuration(manager, private_network, "capacity = -1")
        process.send_signal(signal.SIGHUP)
        write_configuration(manager, private_network, "capacity = 100")
        done = drain(config)
        assert done.returncode == 0, done.stderr
        assert process.wait(1) == 0, "it had ended before the command did"
        manager.wait_for("STOPPING=1", 10.0)
        assert manager.said.index("STATUS=draining: calls are finished, no new lines") >= 0

        process = manager.start(config)
        manager.wait_for("READY=1", _START)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["reference"] == reference
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert len(manager.held) == 1, "the same memory, over both"
    assert os.pread(manager.held[0], 1 << 16, 0) == keys, "the second process went on with them"
    _assert_on_no_disk(manager.place / "state", keys)


def _assert_hardened(pid: int) -> None:
    """No memory of the process is both written and executed, whether or not this kernel forbids it."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        assert "wx" not in line.split()[1]


def _assert_on_no_disk(directory: Path, keys: bytes) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 3
    pieces = [keys[at : at + 16] for at in range(0, len(keys) - 15, 4) if len(set(keys[at : at + 16])) > 8]
    for path in files:
        content = path.read_bytes()
        assert not [piece for piece in pieces if piece in content], path.name
