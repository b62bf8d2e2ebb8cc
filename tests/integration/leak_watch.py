"""Sees what this process tells the network by itself: names it asks the system for, connections past Tor."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

LOOKUPS = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
)
SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Leak(Exception):
    """Raised in the midst of what leaks, so that not even a test asks anybody outside."""


class LeakWatch:
    """`found` are the events of the interpreter's audit hook (PEP 578) that no unix socket explains."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.connections_are_stopped = True
        self._watching = False
        self._ours: set[object] = set()
        # A hook cannot be taken out again: this one sleeps when nobody watches.
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def watching(self, *ours: object) -> Iterator[None]:
        """Sockets bound to one of `ours` belong to the test itself."""
        self.found.clear()
        self._ours = set(ours)
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._watching:
            return
        if event in LOOKUPS:
            self.found.append(event)
            raise Leak
        if event in SENDS and not self._is_allowed(arguments[0]):
            self.found.append(event)
            if self.connections_are_stopped:
                raise Leak

    def _is_allowed(self, sender: object) -> bool:
        assert isinstance(sender, socket.socket)
        return sender.family == socket.AF_UNIX or sender.getsockname() in self._ours


def is_of_this_process(port: int, kind: str = "tcp") -> bool:
    """Whether a socket of ours has that local IPv4 port: then whoever came from there did not come through Tor."""
    inodes = set()
    for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) in inodes:
                return True
    return False
