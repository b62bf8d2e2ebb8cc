"""One reflector, its full lines, and one flood after another: what each did, as everybody who took part counted it."""

import statistics
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

from bench.flood.generator import KINDS, Flood, Sent
from bench.flood.kernel import dropped_datagrams, free_port
from bench.flood.material import sent_cells, write_material
from bench.flood.newcomers import Openings, open_lines
from bench.flood.victim import Victim, VictimTask
from relay.core import Clock, Entropy
from relay.lab.load.lines import LOOPBACK, LoadLine, sealed
from relay.lab.load.measure import Load, Observation
from relay.lab.load.processes import Cores, resident_bytes
from relay.media_reflector.forwarding.face import FATES

_CAPTURED = 8
"""Cells of each line that the attacker recorded."""
_CALM = 0.3
"""Seconds before the end of a phase in which nothing hostile is sent any more, so that all of it is counted."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A flood of some kinds, or none."""

    name: str
    kinds: tuple[str, ...]


_BY_OWN_LINES = ("wandering", "talkative")
_BY_ANYBODY = tuple(kind for kind in KINDS if kind not in _BY_OWN_LINES)
# The attacker's own lines come first: they end when nothing was heard of them for 30 s.
PHASES = (
    Phase("no flood", ()),
    *(Phase(kind, (kind,)) for kind in _BY_OWN_LINES),
    Phase("all together", KINDS),
    *(Phase(kind, (kind,)) for kind in _BY_ANYBODY),
)
MAX_SECONDS = 9.0
"""Of one phase, so that those lines last."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one phase did.  `samples` is how many samples of the reflector's memory had been taken at its end."""

    phase: Phase
    observed: Observation
    flood: Sent | None
    newcomers: Openings
    kernel_drops: int
    samples: int

    @property
    def loss(self) -> float:
        """Per cent of the cells of open lines, both ways: bodies that agents sent and that did not leave again, cells
        that did not arrive, departures that did not happen."""
        counted, counts = self.observed.counters, self.observed.counts
        lost = counts["sent"] - counted["bodies_sent"] + counts["lost"] + counted["departures_missed"]
        return 100.0 * lost / (2 * counts["sent"])

    @property
    def rate(self) -> float:
        """Hostile datagrams a second."""
        return self.flood.sent / self.flood.seconds if self.flood else 0.0

    @property
    def unfated(self) -> int:
        """Datagrams that the reflector counted without exactly one fate."""
        counted = self.observed.counters
        return abs(counted["datagrams_received"] - sum(counted[fate] for fate in FATES))

    @property
    def vanished(self) -> int:
        """Datagrams that were sent and that neither the reflector nor the kernel counted."""
        hostile = self.flood.sent if self.flood else 0
        sent = self.observed.counts["sent"] + self.newcomers.sent + hostile
        return sent - self.observed.counters["datagrams_received"] - self.kernel_drops


class Memory:
    """Samples of a process's memory, ten a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end = threading.Event()
        self.samples: list[int] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample as long as this lasts."""
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _sample(self) -> None:
        while not self._end.wait(0.1):
            self.samples.append(resident_bytes(self._pid))

    def median(self, end: int, count: int = 10) -> float:
        """MiB, of the `count` samples before sample `end`."""
        return statistics.median(self.samples[max(0, end - count) : end]) / (1 << 20)


class Attack:
    """The reflector, what attackers have of it, and the agents of its lines."""

    def __init__(
        self,
        lines: int,
        rate: int,
        program: Path,
        directory: Path,
        clock: Clock,
        entropy: Entropy,
        *,
        prefer: str = "native",
        workers: int = 1,
        seed: int = 1,
        first_messages: int = 200,
        newcomers: int = 4000,
    ) -> None:
        """`program` is the built generator, `directory` holds what it needs; `prefer` as `load_forwarding` takes it,
        `workers` on as many cores of their own where there are more.

        `first_messages` are seen by the attacker for each phase, none for two, as a ticket opens one line; `newcomers`
        honest agents at most try to get in.  Raises `TransportUnavailable`.
        """
        self._rate, self._seed, self._program = rate, seed, program
        self._first_messages = first_messages
        self._clock, self._entropy = clock, entropy
        self._cores = Cores.split(workers)
        self._material = directory / "material"
        with ExitStack() as stack:
            self._load = stack.enter_context(Load(lines, self._cores))
            self._home = free_port()
            task = VictimTask(
                lines,
                seed,
                self._load.ports,
                self._load.lines_per_port,
                prefer,
                workers,
                first=first_messages * len(PHASES),
                newcomers=newcomers,
                home=self._home,
            )
            self._victim = Victim(task, self._cores.relay)
            stack.callback(self._victim.close)
            known = [LoadLine.of(index, seed) for index in range(lines)]
            self._load.send_as(sealed(known, seed, destination=(LOOPBACK, self._victim.port)), seed=seed)
            self._cells = list(chain.from_iterable(sent_cells(line, _CAPTURED) for line in known))
            self._own = self._victim.own
            self.memory = Memory(self._victim.pid)
            stack.enter_context(self.memory.watched())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def go_through(self, phase: Phase, seconds: float) -> Found:
        """Flood for so long, less a moment at both ends."""
        victim, sent, newcomers = self._victim, list[Sent](), list[Openings]()

        def meanwhile(until: float) -> None:
            end = until - _CALM
            with ExitStack() as stack:
                flood = None
                if phase.kinds:
                    flood = stack.enter_context(self._flood(phase, end - self._clock.monotonic()))
                tickets = victim.tickets
                newcomers.append(
                    open_lines(victim.descriptor, tickets, victim.port, end, self._clock, self._entropy)
                )
                if flood:
                    sent.append(flood.wait())
                    self._own = [line.later(self._of_own_lines(sent[-1])) for line in self._own]

        before = dropped_datagrams(victim.port)
        observed = self._load.observe(
            victim.pid, seconds, self._clock, counters=victim.counters, meanwhile=meanwhile
        )
        drops = dropped_datagrams(victim.port) - before
        flooded = sent[0] if sent else None
        return Found(phase, observed, flooded, newcomers[0], drops, len(self.memory.samples))

    def _of_own_lines(self, sent: Sent) -> int:
        """Cells that each of the attacker's own lines sent, at most: no packet index may come twice."""
        return -(-sum(sent.by.get(kind, 0) for kind in _BY_OWN_LINES) // len(self._own)) + 1

    def _flood(self, phase: Phase, seconds: float) -> Flood:
        part = PHASES.index(phase) * self._first_messages
        first = self._victim.first[part : part + self._first_messages]
        write_material(self._material, cells=self._cells, first=first, own=self._own)
        return Flood(
            self._program,
            self._victim.port,
            self._home,
            rate=self._rate,
            seconds=round(seconds, 2),
            seed=self._seed,
            material=self._material,
            kinds=phase.kinds,
            cores=self._cores.load,
        )
