"""The service manager's part is played here: a real notification socket, real descriptors, a real second process."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.core import Entropy, SystemEntropy
from relay.node.service_manager import ServiceManager

PROJECT = Path(__file__).parents[2]
NAME = "sealing-keys"


class Manager:
    """Reads what is said and holds what is stored, as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.store: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(5.0)

    def read(self) -> dict[str, str]:
        """The next message; a descriptor that came with it goes into the store."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
        fields = dict(line.split("=", 1) for line in data.decode().splitlines())
        assert len(descriptors) == (1 if "FDSTORE" in fields else 0)
        for descriptor in descriptors:
            assert fields["FDNAME"] not in self.store, "an old one would lie beside the new"
            self.store[fields["FDNAME"]] = descriptor
        return fields

    def close(self) -> None:
        self._socket.close()
        for descriptor in self.store.values():
            os.close(descriptor)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@bayonne-test-{os.getpid()}"
    playing = Manager(address)
    yield playing
    playing.close()


def test_it_is_told_how_far_we_are(manager: Manager) -> None:
    service = ServiceManager(manager.address)
    service.ready("lines are served")
    assert manager.read() == {"READY": "1", "STATUS": "lines are served"}
    service.reloading(12.345678)
    assert manager.read() == {"RELOADING": "1", "MONOTONIC_USEC": "12345678"}
    service.status("draining")
    assert manager.read() == {"STATUS": "draining"}
    service.stopping()
    assert manager.read() == {"STOPPING": "1"}


def test_memory_is_handed_over_once_and_written_where_it_is(manager: Manager) -> None:
    service = ServiceManager(manager.address)
    assert service.keep(NAME, b"the first keys, rather long")
    fields = manager.read()
    assert (fields["FDSTORE"], fields["FDNAME"], fields["FDPOLL"]) == ("1", NAME, "0")
    assert service.keep(NAME, b"the second")
    held = os.pread(manager.store[NAME], 100, 0)
    assert held[32:] == b"the second", "nothing of what was given up"
    assert service.kept(NAME) == b"the second"


BETWEEN_FORK_AND_EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""
"""What systemd does there; the process number stays."""

SECOND_START = """
import os, sys
from relay.node.service_manager import ServiceManager
service = ServiceManager.from_environment(os.environ, os.getpid())
sys.stdout.buffer.write(service.kept("sealing-keys") or b"nothing")
left = [name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_"))]
service.keep("sealing-keys", b"of the second process")
assert not left and not os.get_inheritable(3), left
"""


def start_again(manager: Manager, *, names: str = NAME) -> bytes:
    """A second process that gets what the store holds, as systemd passes it: from descriptor 3 on."""
    held = manager.store[NAME]
    environment = os.environ | {
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": names,
        "NOTIFY_SOCKET": manager.address,
    }
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN_FORK_AND_EXEC, str(held), SECOND_START],
        capture_output=True,
        timeout=30,
        cwd=PROJECT,
        env=environment,
        pass_fds=(held,),
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_second_process_finds_it_and_goes_on_with_it(manager: Manager) -> None:
    assert ServiceManager(manager.address).keep(NAME, b"of the first process")
    manager.read()
    assert start_again(manager) == b"of the first process"
    assert start_again(manager) == b"of the second process", "kept in the same memory"


def test_a_descriptor_of_another_name_is_not_taken_for_ours(manager: Manager) -> None:
    assert ServiceManager(manager.address).keep(NAME, b"of the first process")
    manager.read()
    script_output = start_again(manager, names="something-else")
    assert script_output == b"nothing"


def test_without_a_manager_nothing_is_kept_and_nothing_fails() -> None:
    service = ServiceManager.from_environment({}, os.getpid())
    service.ready("x")
    service.stopping()
    assert not service.present
    assert not service.keep(NAME, b"keys")
    assert service.kept(NAME) is None


def test_a_manager_that_is_gone_does_not_hurt(tmp_path: Path) -> None:
    service = ServiceManager(str(tmp_path / "nobody"))
    service.ready("x")
    assert not service.keep(NAME, b"keys")
    assert service.kept(NAME) is None


def test_descriptors_meant_for_another_process_are_left_alone() -> None:
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": NAME}
    assert ServiceManager.from_environment(environment, os.getpid()).kept(NAME) is None
    assert not environment


@pytest.mark.parametrize("content", [b"", b"keys", bytes(32), bytes(32) + b"half of the keys"])
def test_damaged_memory_is_no_memory(content: bytes) -> None:
    descriptor = os.memfd_create("damaged")
    os.pwrite(descriptor, content, 0)
    assert ServiceManager("", {NAME: descriptor}).kept(NAME) is None
    os.close(descriptor)


def test_much_can_be_kept_and_not_without_end(manager: Manager) -> None:
    service = ServiceManager(manager.address)
    much = bytes(range(256)) * 4096
    assert service.keep(NAME, much)
    assert service.kept(NAME) == much
    assert not service.keep(NAME, bytes((1 << 24) + 1))
    assert service.kept(NAME) == much


def test_what_is_kept_is_in_no_file(manager: Manager, tmp_path: Path) -> None:
    entropy: Entropy = SystemEntropy()
    secret = entropy.token(32)
    assert ServiceManager(manager.address).keep(NAME, secret)
    manager.read()
    assert os.readlink(f"/proc/self/fd/{manager.store[NAME]}").startswith("/memfd:")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]
