"""The relay under test: a data plane with lines, in a process of its own so that its CPU time is its own.

`python -m relay.lab.load.subject` takes one JSON object a line on standard input and answers each with one.  It ends
with its standard input, and with whoever started it.
"""

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from relay.core import Clock, SystemClock, TransportUnavailable, spawn
from relay.lab.load.lines import LoadLine
from relay.lab.load.processes import pin
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import Forwarding

_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_PROBE = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 16 << 20

ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """What the relay is to be: `prefer` as `load_forwarding` takes it; line `n` belongs to the agents on port
    `agent_ports[n // lines_per_port]`."""

    lines: int
    seed: int
    agent_ports: tuple[int, ...]
    lines_per_port: int
    prefer: str = "auto"
    workers: int = 1


def relay_sockets(workers: int) -> list[socket.socket]:
    """One loopback port for all workers, set up as a reflector sets up its own."""
    made: list[socket.socket] = []
    port = 0
    for _ in range(workers):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.append(one)
        if workers > 1:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        try:
            one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        one.setblocking(False)
        one.bind(("127.0.0.1", port))
        port = one.getsockname()[1]
    return made


def add_lines(forwarding: Forwarding, task: Task, now: float) -> None:
    """All lines, open, each with its next epoch known, and crossed in pairs."""
    numbers = []
    for index in range(task.lines):
        line = LoadLine.of(index, task.seed)
        number = forwarding.add_line(line.slot, line.up, now)
        if number is None:
            raise TransportUnavailable("a data plane refused one of its lines")
        forwarding.prepare(number, line.following)
        port = task.agent_ports[index // task.lines_per_port]
        forwarding.settle(number, line.down, line.address(port), advance=False)
        numbers.append(number)
    for one, other in zip(numbers[::2], numbers[1::2], strict=True):
        forwarding.cross(one, other)


def serve(task: Task, clock: Clock) -> None:
    """Be the relay until standard input ends."""
    forwarding = load_forwarding(task.prefer)
    sockets = relay_sockets(task.workers)
    add_lines(forwarding, task, clock.monotonic())
    wake = forwarding.start([[one] for one in sockets])
    answer(name=forwarding.name, port=sockets[0].getsockname()[1])
    try:
        while True:
            readable, _, _ = select.select([sys.stdin, wake], [], [])
            if wake in readable:
                os.read(wake, 8)
                forwarding.upcalls()
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    return
                answer(**forwarding.counters())
    finally:
        forwarding.stop()


def answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Subject:
    """The other end of it: a relay under test as its measurer sees it."""

    def __init__(self, task: Task, cores: frozenset[int], *, module: str = __name__) -> None:
        """Start one, pinned to `cores`.  Raises `TransportUnavailable` with what it said when it does not come up."""
        self._child = spawn(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._child.pid
        pin(self.pid, cores)
        try:
            ready = self.ask(asdict(task))
        except BaseException:
            self.close()
            raise
        self.name: str = ready["name"]
        self.port: int = ready["port"]

    def counters(self) -> dict[str, int]:
        """The data plane's own counts."""
        return self.ask({})

    def close(self) -> None:
        """End it and wait for it."""
        assert self._child.stdin is not None
        with suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(5)
        finally:
            self._child.kill()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question, one answer.  Raises `TransportUnavailable` when it does not come."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(question).encode() + b"\n")
            self._child.stdin.flush()
        readable, _, _ = select.select([self._child.stdout], [], [], ANSWER_SECONDS)
        line = self._child.stdout.readline() if readable else b""
        if not line:
            raise TransportUnavailable(self._last_words())
        answered: dict[str, Any] = json.loads(line)
        return answered

    def _last_words(self) -> str:
        self._child.kill()
        said = self._child.stderr.read().decode(errors="replace").strip() if self._child.stderr else ""
        reason = said.splitlines()[-1] if said else "it said nothing"
        return f"the relay under test ended: {reason.removeprefix('bayonne: ')}"


if __name__ == "__main__":
    task = json.loads(sys.stdin.readline())
    task["agent_ports"] = tuple(task["agent_ports"])
    try:
        serve(Task(**task), SystemClock())
    except TransportUnavailable as error:
        sys.exit(f"bayonne: {error}")
