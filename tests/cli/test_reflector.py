"""`bayonne reflector`: what it says before it starts, and `--drain` against a reflector in another process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import reflector as cli
from relay.cli.reflector import STILL_DRAINING, command
from relay.core import ConfigurationError

PROJECT = Path(__file__).parents[2]


def configured(directory: Path, more: str = "") -> Path:
    path = directory / "reflector.toml"
    path.write_text(f'state_directory = "{directory / "state"}"\nudp_listen = "127.0.0.1:0"\n{more}')
    return path


def bayonne(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command_line = [sys.executable, "-m", "relay.cli", "reflector", *arguments]
    return subprocess.run(command_line, capture_output=True, text=True, timeout=60, cwd=PROJECT)


def test_check_config_names_key_and_line(tmp_path: Path) -> None:
    path = configured(tmp_path, "capcity = 3\n")
    result = CliRunner().invoke(command, ["--config", str(path), "--check-config"])
    assert isinstance(result.exception, ConfigurationError)
    assert "line 3: unknown key 'capcity'" in str(result.exception)
    path = configured(tmp_path, "capacity = 3\n")
    result = CliRunner().invoke(command, ["--config", str(path), "--check-config"])
    assert result.exit_code == 0
    assert result.output == "reflector.toml: ok\n"
    assert not (tmp_path / "state").exists()


def test_a_time_out_is_for_drains_only(tmp_path: Path) -> None:
    done = bayonne("--config", str(configured(tmp_path)), "--timeout", "3")
    assert done.returncode == 2
    assert "--drain" in done.stderr


def test_nothing_to_drain_is_one_sentence(tmp_path: Path) -> None:
    done = bayonne("--config", str(configured(tmp_path)), "--drain")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("bayonne: no reflector is running on this state directory")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "state").exists()


def test_a_file_that_would_not_start_one_can_still_drain(tmp_path: Path) -> None:
    path = configured(tmp_path, "capacity = 1\n")
    assert "no reflector is running" in bayonne("--config", str(path), "--drain").stderr


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "draining", "calls": 0, "finished": False}, "fewer than 10 calls"),
        ({"event": "draining", "calls": 40, "finished": False}, "40 calls or a few more"),
        ({"event": "draining", "calls": 0, "finished": True}, "no call is left"),
        ({"event": "drained", "calls_cut_off": False}, "ending"),
    ],
)
def test_progress_in_words(event: dict[str, object], said: str) -> None:
    assert said in cli._progress(event)


RUNNING = """
import asyncio, sys
from pathlib import Path
from relay.core import SystemClock, SystemEntropy
from relay.node import drain
from relay.node.claim import claimed
from relay.node.drain import Drain, DrainDesk

drain.END_SOONEST, drain.END_LATEST = 0.1, 0.2
calls = int(sys.argv[2])


class Reflector:
    begun = False
    def drain(self): self.begun = True
    drained = property(lambda self: self.begun and not calls)


async def main():
    global calls
    directory = Path(sys.argv[1])
    with claimed(directory):
        reflector = Reflector()
        wish = Drain(reflector, lambda: calls, lambda: 2 * calls, SystemClock(), SystemEntropy())
        desk = DrainDesk(directory, wish)
        await desk.open()
        print("up", flush=True)
        await wish.wished()
        await asyncio.sleep(float(sys.argv[3]))
        if sys.argv[4] == "hang up":
            calls = 0
        await wish.finish(lambda: 0.5)
        await desk.close(drained=True)

asyncio.run(main())
"""
"""A reflector as far as a drain goes: a process of its own, with calls."""


def start(directory: Path, calls: int, seconds: float, end: str = "hang up") -> "subprocess.Popen[str]":
    directory.mkdir()
    arguments = [sys.executable, "-c", RUNNING, str(directory), str(calls), str(seconds), end]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_a_drain_waits_for_the_other_process_and_says_how_far_it_is(tmp_path: Path) -> None:
    path = configured(tmp_path)
    process = start(tmp_path / "state", calls=43, seconds=1.5)
    done = bayonne("--config", str(path), "--drain", "--timeout", "30")
    ended = process.poll()
    process.wait(5)
    assert done.returncode == 0, done.stderr
    assert ended == 0, "it had ended before the command did"
    lines = done.stdout.splitlines()
    assert "40 calls or a few more" in lines[0]
    assert lines[-1] == "ending"


def test_a_program_can_read_it(tmp_path: Path) -> None:
    path = configured(tmp_path)
    process = start(tmp_path / "state", calls=3, seconds=0.0)
    done = bayonne("--config", str(path), "--drain", "--json")
    process.wait(5)
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events} == {"draining", "drained"}
    assert all(event["calls"] == 0 for event in events[:-1])


def test_a_time_out_leaves_it_draining(tmp_path: Path) -> None:
    path = configured(tmp_path)
    process = start(tmp_path / "state", calls=3, seconds=60.0)
    begun = time.monotonic()
    done = bayonne("--config", str(path), "--drain", "--timeout", "1")
    assert time.monotonic() - begun < 20
    assert done.returncode == STILL_DRAINING
    assert done.stderr == "bayonne: calls are still up; the reflector goes on draining without us\n"
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(5)


def test_calls_that_were_cut_off_are_a_failure(tmp_path: Path) -> None:
    path = configured(tmp_path)
    process = start(tmp_path / "state", calls=3, seconds=0.0, end="talk on")
    done = bayonne("--config", str(path), "--drain")
    process.wait(5)
    assert done.returncode == 1
    assert "drain_limit passed" in done.stderr


def test_a_reflector_that_is_killed_meanwhile_is_a_failure(tmp_path: Path) -> None:
    path = configured(tmp_path)
    process = start(tmp_path / "state", calls=3, seconds=60.0)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "relay.cli", "reflector", "--config", str(path), "--drain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert waiting.stdout is not None
    assert "fewer than 10 calls" in waiting.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    _, said = waiting.communicate(timeout=20)
    assert waiting.returncode == 1
    assert "before its calls were finished" in said
