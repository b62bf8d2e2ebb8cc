"""What an idle flow costs a contact point in memory: `python -m bench.flows [--flows 4000] [--out flows-out]`.

A contact point in a process of its own, without Tor, takes flows with one token and with eight over its socket; what
its memory grows by is divided by their number.  Tor's own memory for circuits and streams comes on top, and is not
measured here.  Figures go to summary.json.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.report import Report, at_most, reported
from relay.agent.flow_session import FlowSession
from relay.core import SystemClock, SystemEntropy, spawn
from relay.forward_publish import TokenKey
from relay.lab.load.processes import resident_bytes
from relay.node.contact_point import SIP_PORT, ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.open_files import room_for
from relay.tor import OnionKey, OnionService

ONION = "a" * 56
FEW = 200
"""Flows before the first look."""
MOST_KIB = 64.0
"""What the unit's MemoryMax leaves for each of as many flows as the default takes, with room for the rest."""
_TOKENS = (1, 8)


class _NoTor:
    """Publishes nothing: whoever may open the socket is a caller."""

    async def publish(
        self,
        key: OnionKey | None,
        ports: Mapping[int, tuple[str, int] | Path],
        *,
        proof_of_work: bool = False,
    ) -> OnionService:
        print(ports[SIP_PORT], flush=True)
        return OnionService(ONION, OnionKey("ED25519-V3:none"), self._remove)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise OSError

    async def _remove(self) -> None: ...


async def serve(directory: str) -> None:
    """The contact point, until it is killed."""
    settings = ContactPointSettings(directory)
    room_for(settings.limits.connections)
    node = ContactPointNode(settings, _NoTor(), SystemClock(), SystemEntropy())
    await node.start()
    await asyncio.Event().wait()


async def grow(socket: str, server: int, tokens: int, flows: int) -> float:
    """Bytes for each further flow."""
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    before = 0
    try:
        for number in range(FEW + flows):
            if number == FEW:
                await asyncio.sleep(1.0)
                before = resident_bytes(server)
            held.append(await _flow(socket, tokens))
        await asyncio.sleep(1.0)
        return (resident_bytes(server) - before) / flows
    finally:
        for _, writer in held:
            writer.close()


async def _flow(socket: str, tokens: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    clock, entropy = SystemClock(), SystemEntropy()
    reader, writer = await asyncio.open_unix_connection(socket)
    session = FlowSession(ONION, entropy)
    writer.write(b"".join(session.register(TokenKey.generate(entropy)) for _ in range(tokens)))
    async with asyncio.timeout(30.0):
        while len(session.bound) < tokens:
            data = await reader.read(65536)
            if not data or session.refused:
                raise RuntimeError("the contact point did not take a flow")
            writer.write(session.receive(data, clock.monotonic()))
    return reader, writer


def measure(flows: int) -> Report:
    report = Report(quick=flows < 4000)
    room_for(flows)
    for tokens in _TOKENS:
        # A process of its own for each: what the first took from the system it would keep.
        with tempfile.TemporaryDirectory(prefix="bvr-") as directory:
            child = spawn([sys.executable, "-m", "bench.flows", "--serve", directory], stdout=subprocess.PIPE)
            try:
                assert child.stdout is not None
                socket = child.stdout.readline().decode().strip()
                print(f"{flows} flows of {tokens} tokens ...", flush=True)
                found = asyncio.run(grow(socket, child.pid, tokens, flows)) / 1024
            finally:
                child.kill()
                child.wait()
        how = f"growth of anonymous resident memory from {FEW} flows by {flows}, idle after their registrations, no Tor"
        measure = f"memory of an idle flow, tokens on it: {tokens}, KiB"
        report.rows.append(
            at_most(measure, MOST_KIB, found, how)
            if tokens == max(_TOKENS)
            else reported(measure, found, how)
        )
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="what an idle flow costs a contact point")
    parser.add_argument("--flows", type=int, default=4000)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("flows-out"))
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    report = measure(options.flows)
    report.write(options.out, SystemClock())
    print(report.table())
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
