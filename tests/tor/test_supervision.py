"""Processes told apart for certain, and one network to a directory."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.core import ConfigurationError, TransportUnavailable
from relay.tor.supervision import (
    CLAIM_FILE,
    Claim,
    ProcessIdentity,
    claimant,
    end_process,
    process_started,
    wait_ended,
)

Sleeper = subprocess.Popen[bytes]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def test_a_process_is_itself_until_it_ends(sleeper: Sleeper) -> None:
    identity = ProcessIdentity.of(sleeper.pid)
    assert identity.running
    assert not ProcessIdentity(sleeper.pid, str(int(identity.started) + 1)).running
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.running, "a zombie does not run"
    sleeper.wait()
    assert not identity.running
    assert process_started(sleeper.pid) == ""


async def test_a_process_is_asked_to_end(sleeper: Sleeper) -> None:
    identity = ProcessIdentity.of(sleeper.pid)
    await end_process(identity)
    assert sleeper.wait(1) == -signal.SIGTERM
    await wait_ended(identity)
    await end_process(identity)


def test_and_made_to_if_it_does_not() -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        asyncio.run(end_process(ProcessIdentity.of(child.pid), patience=0.2))
        assert child.wait(1) == -signal.SIGKILL


@pytest.mark.parametrize("started", ["1", ""])
async def test_a_stranger_with_the_same_number_is_left_alone(sleeper: Sleeper, started: str) -> None:
    stranger = ProcessIdentity(sleeper.pid, started)
    await end_process(stranger, patience=0.1)
    await wait_ended(stranger)
    assert sleeper.poll() is None


@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, 2**70])
async def test_a_number_that_is_nobodys(number: int) -> None:
    await end_process(ProcessIdentity(number, "5"))
    await wait_ended(ProcessIdentity(number, "5"))


def test_one_claim_to_a_directory(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "net"), Claim(tmp_path / "net")
    assert claimant(tmp_path / "net") is None
    first.take()
    assert claimant(tmp_path / "net") == ProcessIdentity.of(os.getpid())
    with pytest.raises(TransportUnavailable, match="is up in 'net'; 'bayonne testnet down'"):
        second.take()
    first.release()
    first.release()
    assert claimant(tmp_path / "net") is None
    second.take()
    second.release()


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    program = f"""
import os, pathlib
from relay.tor.supervision import Claim
claim = Claim(pathlib.Path({str(tmp_path)!r}))
claim.take()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / CLAIM_FILE).read_bytes() != b""
    assert claimant(tmp_path) is None
    claim = Claim(tmp_path)
    claim.take()
    claim.release()


def test_a_directory_with_other_things_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "relay1").mkdir()
    with pytest.raises(ConfigurationError, match="choose an empty directory"):
        Claim(tmp_path).take()
    assert [path.name for path in tmp_path.iterdir()] == ["relay1"]


@pytest.mark.parametrize("content", [b"", b"{", b"7", b'{"pid": "x"}'])
def test_a_damaged_claim_is_nobodys(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CLAIM_FILE).write_bytes(content)
    assert claimant(tmp_path) is None
