"""A tor process of our own: its torrc, its directory, its end (which is ours, at the latest)."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from relay.core import Child, Clock, TransportUnavailable, spawn
from relay.tor.supervision import ProcessIdentity, wait_ended

_LONGEST_SOCKET_PATH = 100
"""Bytes of a unix socket's path; the kernel takes 107."""

STOP_SECONDS = 5.0


def find_executable(name: str) -> str:
    """The program's full path.  Raises `TransportUnavailable`."""
    found = shutil.which(name)
    if found is None:
        program = Path(name).name
        raise TransportUnavailable(f"the program '{program}' is not installed; 'make setup' installs it")
    return found


class TorProcess:
    """One running tor with a control socket; `options` are the lines of its torrc that make it what it is."""

    def __init__(self, directory: Path, executable: str, clock: Clock) -> None:
        self.directory = directory.absolute()
        self._executable = executable
        self._clock = clock
        self._child: Child | None = None
        self._sockets: Path | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def control_socket(self) -> Path:
        return self._socket_directory() / "control"

    @property
    def socks_socket(self) -> Path:
        return self._socket_directory() / "socks"

    @property
    def exit_socket(self) -> Path:
        """The SOCKS port for ordinary hosts, where a client has one."""
        return self._socket_directory() / "exit"

    def start(self, options: Sequence[str]) -> None:
        """Write the torrc and start.  Raises `TransportUnavailable`."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        executable = find_executable(self._executable)
        torrc = self.directory / "torrc"
        torrc.write_text("\n".join([*self._common(), *options]) + "\n")
        defaults = self.directory / "torrc-defaults"
        defaults.write_text("")
        self.control_socket.unlink(missing_ok=True)
        self._child = spawn([executable, "--defaults-torrc", str(defaults), "-f", str(torrc), "--quiet"])

    async def wait_control(self, timeout: float = 20.0) -> None:
        """Return when the control socket is there.  Raises `TransportUnavailable` when tor ends first."""
        deadline = self._clock.monotonic() + timeout
        while not _accepts(self.control_socket):
            if not self.running or self._clock.monotonic() > deadline:
                raise TransportUnavailable(f"tor did not start; its log is {self.directory.name}/tor.log")
            await asyncio.sleep(0.03)

    async def stop(self) -> None:
        """End it, gently and then not; waits until it is gone.  May be called twice."""
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.wait_ended()
            except TimeoutError:
                child.kill()
                await asyncio.to_thread(child.wait)
        if self._sockets is not None and self._sockets != self.directory:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None

    def _common(self) -> list[str]:
        return [
            f"DataDirectory {self.directory}",
            f"Log notice file {self.directory / 'tor.log'}",
            "SafeLogging 1",
            f"ControlSocket unix:{self.control_socket}",
            "CookieAuthentication 1",
            f"CookieAuthFile {self.directory / 'control_auth_cookie'}",
            f"__OwningControllerProcess {os.getpid()}",
            "ShutdownWaitLength 0",
            "NumCPUs 1",
        ]

    async def wait_ended(self) -> None:
        """Return when it does not run."""
        if self._child is not None:
            await wait_ended(ProcessIdentity.of(self._child.pid))
            # It looks ended when its first thread is; the others take a moment more.
            await asyncio.to_thread(self._child.wait)

    def _socket_directory(self) -> Path:
        """Beside the data, or in a short private place where that path is too long for a socket."""
        if self._sockets is None:
            if len(os.fsencode(self.directory)) + len("/control") <= _LONGEST_SOCKET_PATH:
                self._sockets = self.directory
            else:
                self._sockets = Path(tempfile.mkdtemp(prefix="bayonne-"))
        return self._sockets


def _accepts(path: Path) -> bool:
    """A socket's file is there a moment before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
