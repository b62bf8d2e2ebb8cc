"""Programs under test: started on cores of their own, ended by their own number."""

import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from relay.core import TransportUnavailable, spawn
from relay.lab.load.processes import pin

_DESCRIPTORS = 65_536


def free_port() -> int:
    """A UDP port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_readable(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


@contextmanager
def running(arguments: list[str], cores: frozenset[int]) -> Iterator[int]:
    """A program in the foreground; its process number.  It is gone afterwards, whatever happened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _DESCRIPTORS), hard))
    child = spawn(arguments)
    try:
        pin(child.pid, cores)
        yield child.pid
        if child.poll() is not None:
            raise TransportUnavailable(f"{arguments[0]} ended by itself with status {child.returncode}")
    finally:
        child.terminate()
        try:
            child.wait(10)
        finally:
            child.kill()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
