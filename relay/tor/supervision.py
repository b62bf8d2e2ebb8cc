"""Who runs a private network, told for certain: a number alone may belong to another process by now."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from relay.core import ConfigurationError, TransportUnavailable
from relay.wire import UNREADABLE

CLAIM_FILE = "supervisor.json"

_PR_SET_PDEATHSIG = 1


def process_started(pid: int) -> str:
    """The kernel's start time of a process, as text; empty where no such process runs (proc(5), field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


class ProcessIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process of this machine, from its start to its end and never another."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        return cls(pid, process_started(pid))

    @property
    def running(self) -> bool:
        return self.started != "" and process_started(self.pid) == self.started


@dataclass(slots=True)
class Claim:
    """The sole right to run a network in `directory`; the kernel takes it back when this process ends."""

    directory: Path
    _file: IO[bytes] | None = field(default=None, init=False)

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self) -> None:
        """Raises `TransportUnavailable` while another has it, `ConfigurationError` for a foreign one."""
        prepare_directory(self.directory)
        file = (self.directory / CLAIM_FILE).open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise TransportUnavailable(
                f"a private network is up in '{self.directory.name}'; 'bayonne testnet down' stops it"
            ) from None
        file.truncate(0)
        file.write(msgspec.json.encode(ProcessIdentity.of(os.getpid())))
        self._file = file

    def release(self) -> None:
        """May be called twice, and without a claim."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def prepare_directory(directory: Path) -> None:
    """Make it, and mark it as ours: a network removes what it finds.  Raises `ConfigurationError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        claim = directory / CLAIM_FILE
        if not claim.exists() and any(directory.iterdir()):
            raise ConfigurationError(
                f"'{directory.name}' holds other files; choose an empty directory for the network"
            )
        claim.touch()
    except OSError as error:
        raise ConfigurationError(f"'{directory.name}' cannot be used: {error.strerror}") from None


def claimant(directory: Path) -> ProcessIdentity | None:
    """The process that runs, or is starting, the network in `directory`."""
    try:
        identity = msgspec.json.decode((directory / CLAIM_FILE).read_bytes(), type=ProcessIdentity)
    except (OSError, *UNREADABLE):
        return None
    return identity if identity.running else None


async def wait_ended(*processes: ProcessIdentity) -> None:
    """Return when none of them runs."""
    for process in processes:
        with _held(process) as handle:
            if handle is not None:
                await _end_of(handle)


async def end_process(process: ProcessIdentity, *, patience: float = 15.0) -> None:
    """Ask a process to end and, after `patience` seconds, make it; returns when it is gone."""
    with _held(process) as handle:
        if handle is None:
            return
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            try:
                async with asyncio.timeout(patience):
                    await _end_of(handle)
            except TimeoutError:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                await _end_of(handle)
        except ProcessLookupError:
            return
        except PermissionError:
            raise TransportUnavailable("the network belongs to another user, who must stop it") from None


@contextlib.contextmanager
def _held(process: ProcessIdentity) -> Iterator[int | None]:
    """A handle that keeps meaning this process (pidfd_open(2)); None where it runs no more."""
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, OverflowError):
        yield None
        return
    try:
        # Only now that the number is held does the comparison tell whom it means.
        yield handle if process.running else None
    finally:
        os.close(handle)


async def _end_of(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)


def outlive_parent() -> None:
    """Undo what `relay.core.spawn` arranged: from now on this process survives the one that started it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
