"""A whole reflector under test, control plane and all, in a process of its own.

`python -m bench.reflector` speaks the same few lines of JSON as `relay.lab.load.subject`.  Its lines are put into the
data plane as there; asked for tickets it mints some, so that agents can open more lines by real handshakes.
"""

import asyncio
import json
import sys
from typing import Any

from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.lab.load.subject import Task, add_lines, answer
from relay.media_reflector import Reflector, ReflectorKeys
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.server import CellServer

CAPACITY = 100_000
ONION = "a" * 56


async def serve(task: Task) -> None:
    """Be the reflector until standard input ends."""
    clock, entropy = SystemClock(), SystemEntropy()
    forwarding = load_forwarding(task.prefer)
    keys = ReflectorKeys.generate(entropy)
    office = keys.office(CAPACITY, entropy, forwarding)
    reflector = Reflector(keys.static_key, office, forwarding, entropy, capacity=CAPACITY)
    office.expire(clock.monotonic())
    add_lines(forwarding, task, clock.monotonic())
    server = CellServer(reflector, forwarding, clock)
    ((_, port),) = server.bind([("127.0.0.1", 0)], task.workers)
    running = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    answer(name=forwarding.name, port=port)

    def minted(count: int) -> dict[str, Any]:
        now = clock.monotonic()
        tickets = [office.resumption(now) for _ in range(count)]
        signed = keys.signed_descriptor(ONION, [("127.0.0.1", port)], clock.wall(), capacity=1000)
        return {
            "descriptor": signed.hex(),
            "identity": keys.public_identity.hex(),
            "tickets": [(one.id.hex(), one.secret.hex(), one.expires) for one in tickets],
        }

    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    try:
        while line := await stdin.readline():
            question = json.loads(line)
            answer(**(minted(question["tickets"]) if "tickets" in question else reflector.counts()))
    finally:
        running.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Task(**json.loads(sys.stdin.readline()))))
    except TransportUnavailable as error:
        sys.exit(f"bayonne: {error}")
