"""One way to measure them all: a load on this project's data planes, on the kernel's floor, on what others wrote.

Same generator, same payload of 160 bytes, same pace of one in 20 ms each way for every line, CPU time as the operating
system counts it for the relay's process; the relay has a core of its own wherever there are two.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.packages import find_or_install
from bench.peers import coturn, floor, rtpengine
from bench.report import Point, rounded
from relay.core import Clock, TransportUnavailable
from relay.lab.load.generator import GRAIN
from relay.lab.load.lines import LOOPBACK, blank
from relay.lab.load.measure import Load, Observation, observe_forwarding
from relay.lab.load.processes import Cores
from relay.lab.load.subject import Subject, Task
from relay.media_reflector.forwarding.face import SLOTS
from relay.rtp.cell import TICK

NATIVE, PLAIN = "native", "plain"
COTURN, RTPENGINE = "coturn", "rtpengine"
_PEERS = {COTURN: coturn, RTPENGINE: rtpengine}
_SLOT_MICROSECONDS = 20_000 // SLOTS
_TRIES = 3
_THROUGH = 0.98


@dataclass(slots=True)
class Bench:
    """What every measurement needs.  `say` tells people what goes on."""

    clock: Clock
    quick: bool
    say: Callable[[str], None]
    cores: Cores = field(default_factory=lambda: Cores.split(1))
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that cannot be run, and why."""

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    def observe(
        self, relay: str, lines: int, seconds: float, *, workers: int = 1, grain: float = GRAIN
    ) -> Observation:
        """One measurement of one relay.  Raises `TransportUnavailable` when it cannot be run."""
        self.say(f"{relay}, {lines} lines" + (f", {workers} workers" if workers > 1 else ""))
        if relay in _PEERS:
            return self._observe_peer(relay, lines, seconds, grain)
        if relay in (floor.SLOTTED, floor.AT_ONCE):
            return self._observe_floor(relay, lines, seconds, grain)
        cores = Cores.split(workers)
        return observe_forwarding(
            lines,
            seconds,
            self.clock,
            prefer=relay,
            workers=workers,
            cores=cores,
            generators=1 if cores.shared else min(workers, len(cores.load)),
            grain=grain,
        )

    def _observe_floor(self, relay: str, lines: int, seconds: float, grain: float) -> Observation:
        with Load(lines, self.cores) as load:
            task = Task(lines, 1, load.ports, load.lines_per_port, relay)
            subject = Subject(task, self.cores.relay, module=floor.__name__)
            try:
                specs = blank(lines, 1, destination=(LOOPBACK, subject.port))
                index = np.arange(lines)
                # What leaves at once leaves at the other line's moment: that is its slot.
                at_once = relay == floor.AT_ONCE
                specs["departure"] = (
                    specs["arrival"][index ^ 1] if at_once else index % SLOTS * _SLOT_MICROSECONDS
                )
                load.send_as(specs, grain=grain)
                return load.observe(subject.pid, seconds, self.clock)
            finally:
                subject.close()

    def _observe_peer(self, relay: str, lines: int, seconds: float, grain: float) -> Observation:
        if relay in self.missing:
            raise TransportUnavailable(self.missing[relay])
        peer = _PEERS[relay]
        if why := find_or_install(peer.PROGRAM, peer.PACKAGE, self.say):
            self.missing[relay] = why
            raise TransportUnavailable(why)
        with (
            tempfile.TemporaryDirectory() as directory,
            Load(lines, self.cores) as load,
            peer.relaying(load, 1, self.cores.relay, Path(directory)) as (pid, specs),
        ):
            load.send_as(specs, grain=grain)
            return load.observe(pid, seconds, self.clock)

    def rounds(
        self, relays: Iterable[str], lines: int, *, count: int, seconds: float, grain: float = GRAIN
    ) -> dict[str, list[Observation]]:
        """Each relay in turn, then all of them again: what disturbs the machine disturbs them all.

        What cannot be run is left out, and why is in `missing`.
        """
        found: dict[str, list[Observation]] = {}
        for _ in range(count):
            for relay in relays:
                try:
                    found.setdefault(relay, []).append(self._undisturbed(relay, lines, seconds, grain))
                except TransportUnavailable as error:
                    self.missing.setdefault(relay, str(error))
                    self.say(f"{relay}: {error}")
        return {relay: observations for relay, observations in found.items() if observations}

    def _undisturbed(self, relay: str, lines: int, seconds: float, grain: float) -> Observation:
        """One measurement in which nearly all got through, if a few tries bring one: a relay that loses cells because
        somebody else took its core is not cheaper for it, nor dearer."""
        for _ in range(_TRIES):
            seen = self.observe(relay, lines, seconds, grain=grain)
            if seen.load_kept_up and seen.cells >= _THROUGH * lines * seen.cpu_window / TICK:
                break
        return seen


def cost(observations: list[Observation]) -> float:
    """CPU microseconds per cell through, the median."""
    return statistics.median(one.microseconds_per_cell for one in observations)


def ratio(ours: list[Observation], theirs: list[Observation]) -> float:
    """How many times as much ours costs as theirs: both medians over rounds that took turns."""
    return cost(ours) / cost(theirs)


def point(relay: str, workers: int, seen: Observation) -> Point:
    """One point of the curve."""
    return Point(
        relay=relay,
        workers=workers,
        lines=seen.lines,
        cpu=round(seen.cpu, 4),
        microseconds_per_cell=rounded(seen.microseconds_per_cell, 3),
        loss=round(seen.loss, 6),
        missed=seen.missed,
        p99_ms=rounded(seen.counts.deviation(0.99) * 1e3, 3),
        carried=seen.carried,
        load_kept_up=seen.load_kept_up,
    )
