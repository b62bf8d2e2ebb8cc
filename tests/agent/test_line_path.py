"""One path of a line: a socket and its sender, and what it tells when this machine's network changes under it."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.agent import pacer
from relay.agent.line_path import LinePath, source_address
from relay.agent.pacer import RECORD
from relay.core import TransportUnavailable
from relay.rtp.cell import CELL_SIZE

CELL = bytes(range(CELL_SIZE))


@pytest.fixture
def receiver() -> socket.socket:
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind(("127.0.0.1", 0))
    endpoint.setblocking(False)
    return endpoint


async def test_cells_leave_and_come(receiver: socket.socket) -> None:
    heard: list[bytes] = []
    path = LinePath(receiver.getsockname(), "127.0.0.3", heard.append)
    assert path.source == "127.0.0.3"
    path.send(time.monotonic() + 0.2, CELL)
    await asyncio.sleep(0.4)
    cell, source = receiver.recvfrom(2048)
    assert cell == CELL
    assert source[0] == "127.0.0.3"
    receiver.sendto(b"x" * CELL_SIZE, source)
    await asyncio.sleep(0.05)
    assert heard == [b"x" * CELL_SIZE]
    assert not path.no_way
    path.send(time.monotonic() + 0.1, CELL)
    await path.close()
    assert receiver.recv(2048) == CELL, "the last one is waited for"
    receiver.close()


async def test_a_sender_that_ended_is_told(receiver: socket.socket) -> None:
    path = LinePath(receiver.getsockname(), "", lambda cell: None)
    path._pacer.kill()
    path._pacer.wait()
    await asyncio.sleep(0.05)
    with pytest.raises(TransportUnavailable):
        path.send(time.monotonic(), CELL)
    await path.close()
    receiver.close()


async def test_an_address_that_is_not_ours_is_refused(receiver: socket.socket) -> None:
    with pytest.raises(TransportUnavailable, match="line_address"):
        LinePath(receiver.getsockname(), "192.0.2.1", lambda cell: None)
    receiver.close()


@pytest.fixture
def lost_sender(tmp_path: Path) -> Path:
    """The pacer on a machine whose network is gone: loopback cannot lose its way by itself."""
    program = tmp_path / "lost.py"
    program.write_text(f"""
import errno, runpy, socket

class Lost(socket.socket):
    def send(self, data):
        raise OSError(errno.ENETUNREACH, "no way")

socket.socket = Lost
runpy.run_path({pacer.__file__!r}, run_name="__main__")
""")
    return program


async def test_a_path_learns_that_there_is_no_way(
    receiver: socket.socket, lost_sender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.agent.line_path._PACER", lost_sender)
    path = LinePath(receiver.getsockname(), "", lambda cell: None)
    path.send(time.monotonic(), CELL)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if path.no_way:
            break
    assert path.no_way
    await path.close()
    receiver.close()


def test_the_sender_says_one_byte_for_each_cell_that_has_no_way(lost_sender: Path) -> None:
    assert _said([sys.executable, "-I", "-S", str(lost_sender)]) == b"!!!"


def test_other_failures_are_silence() -> None:
    """The socket is not connected, so every cell fails; that is no matter of the network."""
    assert _said([sys.executable, "-I", "-S", str(Path(pacer.__file__))]) == b""


def _said(program: list[str]) -> bytes:
    """What a sender writes when it is given three cells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        ended = subprocess.run(
            [*program, str(endpoint.fileno())],
            input=RECORD.pack(0.0, CELL) * 3,
            capture_output=True,
            pass_fds=[endpoint.fileno()],
            timeout=10.0,
            check=True,
        )
    assert ended.stderr == b""
    return ended.stdout


def test_the_source_address_is_what_the_routes_say() -> None:
    assert source_address(("127.0.0.1", 9)) == "127.0.0.1"
    assert source_address(("not an address", 9)) is None
    assert source_address(("240.0.0.1", 9)) != "127.0.0.1"
