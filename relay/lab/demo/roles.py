"""One role of the demo as a process of its own: started, heard, measured, ended."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.core import Child, Clock, spawn
from relay.lab.demo.failure import DemoFailed

_LONGEST_LINE = 1 << 20
_POLITE = 8.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line a role printed: its word for what happened, when (monotonic), and the rest."""

    who: str
    name: str
    at: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """A process's number and the most memory (bytes, resident) that it and its own tor each used."""

    pid: int
    peak_memory: int
    tor_peak_memory: int


def bayonne(*arguments: str) -> list[str]:
    """The command line of one of our own commands, run by this same Python."""
    return [sys.executable, "-m", "relay.cli", *arguments]


class Role:
    """A long-running process that prints one JSON object a line."""

    def __init__(
        self, name: str, arguments: Sequence[str], logs: Path, clock: Clock, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.history: list[Event] = []
        self.usage: Usage | None = None
        self._arguments = list(arguments)
        self._log = logs / f"{name}.log"
        self._clock = clock
        self._environment = environment
        self._child: Child | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._ending = False

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self._child = spawn(
                self._arguments, environment=self._environment, stdout=subprocess.PIPE, stderr=log
            )
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        assert self._child.stdout is not None
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._child.stdout
        )
        self._reading = asyncio.create_task(self._read(reader))

    async def wait_for(self, *names: str, timeout: float, after: float = 0.0, **fields: object) -> Event:
        """The first event with one of these names, these fields, and a time after `after`, past or to come.

        Raises `DemoFailed` when it does not come in time, when the role reports a failure, or when it ends.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for event in self.history:
                        if event.at < after:
                            continue
                        if event.name in names and fields.items() <= dict(event.fields).items():
                            return event
                        if event.name == "failed" and "failed" not in names:
                            reason = event.fields.get("reason", "no reason given")
                            raise DemoFailed(f"{self.name} reports a failure: {reason}; see {self._log}")
                    self.check()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            wanted = "' or '".join(names)
            raise DemoFailed(
                f"{self.name} did not come to '{wanted}' within {timeout:.0f} s; see {self._log}"
            ) from None

    def measure(self) -> None:
        """Note the peak memory so far; must be called while the process still runs."""
        if self._child is not None and self._child.poll() is None:
            pid = self._child.pid
            children = [peak_memory(child) for child in _children(pid)]
            self.usage = Usage(pid, peak_memory(pid), sum(children))

    async def stop(self) -> None:
        """Ask it to end, and make sure that it did."""
        self.measure()
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                await asyncio.to_thread(self._child.wait, _POLITE)
            except subprocess.TimeoutExpired:
                pass
            finally:
                self.kill()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def kill(self) -> None:
        """End it at once; what it started ends with it."""
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.wait()

    def check(self) -> None:
        """Raise `DemoFailed` when the process ended without being asked to."""
        if self._child is not None and self._child.poll() is not None and not self._ending:
            raise DemoFailed(
                f"{self.name} ended by itself (status {self._child.returncode}); see {self._log}"
                f"{_last_words(self._log)}"
            )

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                with contextlib.suppress(ValueError):
                    self._note(json.loads(line))
        finally:
            # The pipe closes a moment before the process can be reaped.
            if self._child is not None and not self._ending:
                for _ in range(40):
                    if self._child.poll() is not None:
                        break
                    await asyncio.sleep(0.05)
            self._changed.set()

    def _note(self, message: object) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("event"), str):
            return
        at = message.get("at")
        when = float(at) if isinstance(at, int | float) else self._clock.monotonic()
        fields = {key: value for key, value in message.items() if key not in ("event", "at")}
        self.history.append(Event(self.name, message["event"], when, fields))
        self._changed.set()


async def ask(*arguments: str, environment: Mapping[str, str], typed: str = "") -> str:
    """Run one of our commands to its end, `typed` on its standard input; returns its standard output.

    Raises `DemoFailed` with its own words.
    """
    process = await asyncio.create_subprocess_exec(
        *bayonne(*arguments),
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate(typed.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise DemoFailed(f"'bayonne {arguments[0]}' failed: {errors.decode(errors='replace').strip()[-300:]}")
    return output.decode().strip()


def peak_memory(pid: int) -> int:
    """VmHWM of proc(5), in bytes; 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def _last_words(log: Path) -> str:
    """The last line of a log, to be read without opening it."""
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return f": {lines[-1].strip()[:300]}"
    return ""
