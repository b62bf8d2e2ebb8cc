"""Contact points in processes of their own, without Tor: `python -m tests.scenarios.contact_point_process STATE`.

For each line on standard input a child is forked that runs one on that state directory; it prints its process id and
the port of its records.  Forked, because starting Python anew for each takes longer than all that is tested.
"""

import asyncio
import os
import sys

from relay.core import SystemClock, SystemEntropy
from relay.forward_publish import ContactPointLimits
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.peer_stream import RECORD_PORT
from relay.tor import TorSettings
from tests.node.loopback_tor import LoopbackTor

WORK_BITS = 1


async def _serve(state: str) -> None:
    settings = ContactPointSettings(
        state,
        tor=TorSettings(mode="running"),
        limits=ContactPointLimits(work_bits=WORK_BITS, puts_per_connection=1_000_000),
    )
    tor = LoopbackTor()
    node = ContactPointNode(settings, tor, SystemClock(), SystemEntropy())
    await node.start()
    match tor.ports[RECORD_PORT]:
        case (_, port):
            print(os.getpid(), port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Until standard input ends; the child that runs is waited for, however it ended."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(_serve(sys.argv[1]))
            os._exit(1)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
