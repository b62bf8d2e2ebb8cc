"""A reflector process to be killed: everything that ships, with a unix socket in the place of its onion service.

`python -m relay.lab.moving.site` takes one JSON object a line on standard input and answers each with one.  It ends
with its standard input, and with whoever started it.
"""

import asyncio
import json
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relay.core import SystemClock, SystemEntropy, TransportUnavailable, spawn
from relay.media_reflector import CellServer, Reflector, ReflectorKeys, ReflectorReference, TicketServer
from relay.media_reflector.forwarding import load_forwarding
from relay.node.backup_keeper import BackupKeeper

ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a site is to be: `onion` stands for its onion service, `sockets` holds where each such name is served."""

    onion: str
    sockets: dict[str, str]
    capacity: int
    prefer: str = "auto"


class LocalDialer:
    """Opens streams to sites by the names of their onion services: an `OnionDialer` without Tor."""

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self._sockets = sockets

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._sockets[onion])


async def serve(plan: Plan) -> None:
    """Be the reflector until standard input ends."""
    clock, entropy = SystemClock(), SystemEntropy()
    keys = ReflectorKeys.generate(entropy)
    forwarding = load_forwarding(plan.prefer)
    office = keys.office(plan.capacity, entropy, forwarding)
    reflector = Reflector(keys.static_key, office, forwarding, entropy, capacity=plan.capacity)
    cells = CellServer(reflector, forwarding, clock)
    bound = cells.bind([("127.0.0.1", 0)])
    keeper = BackupKeeper(keys, LocalDialer(plan.sockets), clock, entropy)

    def descriptor() -> bytes:
        return keys.signed_descriptor(plan.onion, bound, clock.wall(), capacity=plan.capacity)

    await TicketServer(office, descriptor, clock).listen_unix(Path(plan.sockets[plan.onion]))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(cells.run()), group.create_task(keeper.run())]
        reference = ReflectorReference(plan.onion, keys.public_identity)
        _answer(name=forwarding.name, reference=str(reference), port=bound[0][1])
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            if "peers" in asked:
                office.accept_peers(ReflectorReference.parse(text).identity for text in asked["peers"])
            if "backup" in asked:
                keeper.aim(ReflectorReference.parse(asked["backup"]))
                reflector.backup = keeper
            ready = keeper.ticket(clock.monotonic()) is not None
            _answer(**asdict(reflector.occupancy), has_backup=ready, counts=dict(reflector.counts()))
        for task in tasks:
            task.cancel()


def _answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Site:
    """The other end of it."""

    def __init__(self, plan: Plan) -> None:
        """Start one.  Raises `TransportUnavailable` when it does not come up."""
        self._child = spawn(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            ready = self.ask(**asdict(plan))
        except BaseException:
            self.close()
            raise
        self.name: str = ready["name"]
        self.reference = ReflectorReference.parse(ready["reference"])
        self.address = "127.0.0.1", int(ready["port"])

    def ask(self, **question: Any) -> dict[str, Any]:
        """How things are there, after it did as told.  Raises `TransportUnavailable` when it is gone."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(question).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise TransportUnavailable("a reflector process ended") from None
        readable, _, _ = select.select([self._child.stdout], [], [], ANSWER_SECONDS)
        line = self._child.stdout.readline() if readable else b""
        if not line:
            raise TransportUnavailable("a reflector process ended or hangs")
        answered: dict[str, Any] = json.loads(line)
        return answered

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


if __name__ == "__main__":
    asyncio.run(serve(Plan(**json.loads(sys.stdin.readline()))))
