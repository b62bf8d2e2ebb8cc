"""What a line costs in memory: the data plane's part, and all of it with what the control plane keeps.

`python -m bench.memory` opens lines in a process of its own, without sockets, and prints one JSON object.
"""

import json
import os
import subprocess
import sys

from bench.report import Report, at_most, not_run, reported
from relay.core import SystemEntropy
from relay.lab.load.lines import LoadLine
from relay.lab.load.processes import resident_bytes
from relay.media_reflector import LineClient, Reflector, ReflectorKeys
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import OWN_PER_TICK, SLOTS, Address, Forwarding, pack_address
from relay.rtp.cell import TICK

ONION = "a" * 56
WALL = 1_800_000_000.0
FEW = 1000
"""Lines before the first look: tables have their first size then, and Python its modules."""
_TARGET = 4096
_PATIENCE = 60
"""Ticks in which all of some lines open and are crossed."""


def memory(report: Report, *, quick: bool) -> None:
    """Both rows, each from a fresh process."""
    lines = 3000 if quick else 6000
    how = f"growth of anonymous resident memory from {FEW} to {lines} lines, both epochs known, all crossed"
    for part, measure in (
        ("data", "memory per line, data plane alone, bytes"),
        ("all", "memory per line, bytes"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", __name__, part, str(lines)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            report.rows.append(not_run(measure, f"at most {_TARGET}", last))
        elif part == "all":
            value = json.loads(done.stdout)
            text = f"{how}; each opened by a real handshake, with its control plane's objects"
            report.rows.append(at_most(measure, _TARGET, value, text, digits=0))
        else:
            report.rows.append(reported(measure, json.loads(done.stdout), how, digits=0))


class OpenedLines:
    """A reflector on virtual time whose lines are opened by real handshakes."""

    def __init__(self, capacity: int) -> None:
        self._entropy = SystemEntropy()
        self._forwarding = load_forwarding("native")
        keys = ReflectorKeys.generate(self._entropy)
        self._office = keys.office(capacity, self._entropy, self._forwarding)
        self._reflector = Reflector(
            keys.static_key, self._office, self._forwarding, self._entropy, capacity=capacity
        )
        signed = keys.signed_descriptor(ONION, [("127.0.0.1", 7210)], WALL, capacity=1000)
        self._descriptor = verify_descriptor(signed, ReflectorReference(ONION, keys.public_identity), WALL)
        self._now = 1000.0
        self._opened = 0

    def open_until(self, count: int) -> None:
        """Open lines, some pairs at a time, each pair under one join code; the agents' side is forgotten."""
        while self._opened < count:
            clients = dict(self._client(code) for code in self._codes() for _ in range(2))
            for _ in range(_PATIENCE):
                self._tick(clients)
                if all(client.crossed for client in clients.values()):
                    break
            else:
                raise RuntimeError("a line did not open")
            # A call is on: bodies wait in queues.
            for _ in range(3):
                self._tick(clients)
            self._opened += len(clients)

    def _codes(self) -> list[bytes]:
        return [self._entropy.token(16) for _ in range(OWN_PER_TICK // 2)]

    def _client(self, code: bytes) -> tuple[Address, LineClient]:
        self._office.expire(self._now)
        ticket = self._office.resumption(self._now)
        number = self._entropy.below(1 << 24).to_bytes(3)
        address = pack_address(".".join(map(str, (10, *number))), 1024 + self._entropy.below(60_000))
        return address, LineClient(self._descriptor, ticket, self._entropy, join_code=code)

    def _tick(self, clients: dict[Address, LineClient]) -> None:
        """One tick of the reflector, in which only the agents of `clients` send."""
        cells = [(client.next_cell(self._now), address) for address, client in clients.items()]
        self._forwarding.receive(cells, self._now)
        self._reflector.handle(self._forwarding.upcalls(), self._now)
        first = round(self._now / TICK) * SLOTS
        for slot in range(SLOTS):
            for cell, address in self._forwarding.slot(first + slot, self._now):
                if address in clients:
                    clients[address].receive(cell, self._now)
        self._now += TICK


def _fill(forwarding: Forwarding, first: int, count: int) -> None:
    """Lines in the data plane alone, as `relay.lab.load.subject.add_lines` puts them there."""
    numbers = []
    for index in range(first, count):
        line = LoadLine.of(index, 1)
        number = forwarding.add_line(line.slot, line.up, 1000.0)
        assert number is not None
        forwarding.prepare(number, line.following)
        forwarding.settle(number, line.down, line.address(4000), advance=False)
        numbers.append(number)
    for one, other in zip(numbers[::2], numbers[1::2], strict=True):
        forwarding.cross(one, other)


def main(part: str, lines: int) -> None:
    """Print how many bytes one more line takes."""
    if part == "all":
        opened = OpenedLines(2 * lines)
        opened.open_until(FEW)
        before = resident_bytes(os.getpid())
        opened.open_until(lines)
    else:
        forwarding = load_forwarding("native")
        _fill(forwarding, 0, FEW)
        before = resident_bytes(os.getpid())
        _fill(forwarding, FEW, lines)
    print(json.dumps((resident_bytes(os.getpid()) - before) / (lines - FEW)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
