"""Children die with us, however we die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.core import TransportUnavailable, spawn

_PARENT = """
import signal, sys
from relay.core import spawn
# Whoever runs the tests in the background of a shell has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
child = spawn([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
{ending}
"""


def is_gone(pid: int) -> bool:
    """Not there, or a zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def waits_until_gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_gone(pid)


def start_parent(ending: str) -> tuple[subprocess.Popen[bytes], int]:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT.format(ending=ending)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
def test_a_child_dies_with_a_parent_that_a_signal_ends(number: signal.Signals) -> None:
    parent, child = start_parent("import time; time.sleep(60)")
    try:
        assert not is_gone(child)
        parent.send_signal(number)
        parent.wait(5)
        assert waits_until_gone(child)
    finally:
        parent.kill()
        parent.communicate()


def test_a_child_dies_with_a_parent_that_simply_ends() -> None:
    parent, child = start_parent("import os; os._exit(0)")
    parent.communicate()
    assert waits_until_gone(child)


def test_a_child_has_a_session_of_its_own() -> None:
    child = spawn([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        child.kill()
        child.wait()


def test_output_environment_and_directory_are_handed_over(tmp_path: Path) -> None:
    program = "import os; print(os.environ['GREETING'], os.getcwd())"
    child = spawn(
        [sys.executable, "-c", program],
        environment={"GREETING": "hello"},
        directory=tmp_path,
        stdout=subprocess.PIPE,
    )
    output, _ = child.communicate(timeout=10)
    assert output.decode().split() == ["hello", str(tmp_path.resolve())]


def test_a_program_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(TransportUnavailable, match=r"'no-such-program' is not installed; 'make setup'"):
        spawn(["/nowhere/no-such-program"])
