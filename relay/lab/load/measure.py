"""One measurement: a load on a relay for some seconds, and what both of them and the operating system say of it."""

import resource
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from relay.core import Clock
from relay.lab.load.generator import GRAIN, JITTER, Counts, LoadGenerator, agent_socket
from relay.lab.load.lines import LOOPBACK, LoadLine, sealed
from relay.lab.load.processes import Cores, cpu_seconds, pin, resident_bytes
from relay.lab.load.subject import Subject, Task

WARM_SECONDS = 1.0
"""A load's first second, in which caches fill and memory is touched for the first time; nothing of it counts."""
_LEAD = 0.02
_SETTLE = 0.25
"""Seconds after the last cell left its agent, in which what is on its way arrives."""
_EDGE = 0.1
"""Seconds at both ends of a measurement that do not count for CPU time."""

MAX_LOSS = 1e-4
MAX_CPU = 0.70


@dataclass(frozen=True, slots=True)
class Observation:
    """What a load of `lines` lines did to a relay in `seconds`.

    `cpu_seconds` and `cells` (delivered to agents) belong together: both of the same stretch of `cpu_window` seconds.
    `load_cpu` is a generator's share of one core.  `counters` is what the relay's own counts grew by.
    """

    lines: int
    seconds: float
    counts: Counts
    cpu_seconds: float
    cpu_window: float
    cells: int
    load_cpu: float
    resident: int
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Share of one core."""
        return self.cpu_seconds / self.cpu_window

    @property
    def microseconds_per_cell(self) -> float:
        """CPU time for one cell through the relay; NaN when none came through."""
        return self.cpu_seconds / self.cells * 1e6 if self.cells else float("nan")

    @property
    def loss(self) -> float:
        """Share of cells lost on their way to the relay or from there, each way counted by itself; the worse."""
        sent, received = self.counts["sent"], self.counts["received"]
        up = 1 - self.counters["cells_received"] / sent if sent and self.counters else 0.0
        down = self.counts["lost"] / (received + self.counts["lost"]) if received else 1.0
        return max(up, down)

    @property
    def bodies_lost(self) -> float:
        """Share of the bodies of the lines that are looked into which never came out of the relay."""
        bodies, lost = self.counts["bodies"], self.counts["bodies_lost"]
        return lost / (bodies + lost) if bodies else 1.0

    @property
    def missed(self) -> int:
        """Ticks in which a line got no cell, as the relay counted them or its agents saw them; the more."""
        return max(self.counts["missed"], self.counters.get("departures_missed", 0))

    @property
    def load_kept_up(self) -> bool:
        """Whether the generator itself sent what it was to send: else nothing is said about the relay."""
        return self.counts["skipped"] + self.counts["send_failed"] <= MAX_LOSS * self.counts["sent"]

    @property
    def carried(self) -> bool:
        """Whether the relay carried all lines as it must: no tick missed, next to nothing lost."""
        return self.load_kept_up and self.missed == 0 and self.loss < MAX_LOSS


class Load:
    """All agents of one measurement: generators on threads and sockets of their own, pinned beside the relay."""

    def __init__(self, count: int, cores: Cores, *, generators: int = 1) -> None:
        """`count` lines, an even number, over some generators."""
        self._cores = cores
        self._stack = ExitStack()
        self.count = count
        generators = max(1, min(generators, count // 2))
        # Both lines of a pair belong to one generator, which compares what one sent with what the other got.
        self.lines_per_port = 2 * -(-count // (2 * generators))
        self.sockets = [
            self._stack.enter_context(agent_socket()) for _ in range(-(-count // self.lines_per_port))
        ]
        self.ports = tuple(one.getsockname()[1] for one in self.sockets)
        self._generators: list[LoadGenerator] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send_as(
        self, lines: NDArray[np.void], *, jitter: float = JITTER, grain: float = GRAIN, seed: int = 1
    ) -> None:
        """What the lines are; once, before the first `observe`."""
        for at, sock in enumerate(self.sockets):
            part = lines[at * self.lines_per_port : (at + 1) * self.lines_per_port].copy()
            part["partner"] -= at * self.lines_per_port
            generator = LoadGenerator(sock, part, jitter=jitter, grain=grain, seed=seed + at)
            self._generators.append(self._stack.enter_context(generator))

    def observe(
        self,
        pid: int,
        seconds: float,
        clock: Clock,
        *,
        counters: Callable[[], dict[str, int]] = dict,
        warm: float = WARM_SECONDS,
        meanwhile: Callable[[float], None] | None = None,
    ) -> Observation:
        """Warm up, then load the process `pid` for `seconds`.  `meanwhile` is called once, with the moment until
        which the load lasts, in the middle of it."""
        self._run(warm, clock, lambda start, until: None)
        for generator in self._generators:
            generator.reset()
        before, marks = counters(), []

        def mark() -> None:
            delivered = sum(generator.progress()[1] for generator in self._generators)
            marks.append((clock.monotonic(), delivered, cpu_seconds(pid)))

        def watch(start: float, until: float) -> None:
            _sleep_until(start + _EDGE, clock)
            mark()
            if meanwhile is not None:
                meanwhile(until - _EDGE)
            _sleep_until(until - _EDGE, clock)
            mark()

        load_seconds = self._run(seconds, clock, watch)
        after = counters()
        (begun, first, cpu_first), (ended, last, cpu_last) = marks
        return Observation(
            lines=self.count,
            seconds=seconds,
            counts=Counts.together([generator.counts() for generator in self._generators]),
            cpu_seconds=cpu_last - cpu_first,
            cpu_window=ended - begun,
            cells=last - first,
            load_cpu=load_seconds / (seconds * len(self._generators)),
            resident=resident_bytes(pid),
            counters={name: after[name] - before[name] for name in after},
        )

    def _run(self, seconds: float, clock: Clock, watch: Callable[[float, float], None]) -> float:
        """Let all generators work for so long; the CPU time that they took together."""
        start = clock.monotonic() + _LEAD
        until = start + seconds

        def one(generator: LoadGenerator) -> None:
            pin(0, self._cores.load)
            generator.run(start, until, until + _SETTLE)
            used = resource.getrusage(resource.RUSAGE_THREAD)
            spent.append(used.ru_utime + used.ru_stime)

        spent: list[float] = []
        started = [threading.Thread(target=one, args=(each,)) for each in self._generators]
        for thread in started:
            thread.start()
        try:
            watch(start, until)
        except BaseException:
            for generator in self._generators:
                generator.stop()
            raise
        finally:
            for thread in started:
                thread.join()
        return sum(spent)


def _sleep_until(moment: float, clock: Clock) -> None:
    threading.Event().wait(max(0.0, moment - clock.monotonic()))


def observe_forwarding(
    count: int,
    seconds: float,
    clock: Clock,
    *,
    prefer: str = "auto",
    workers: int = 1,
    cores: Cores | None = None,
    generators: int = 1,
    jitter: float = JITTER,
    grain: float = GRAIN,
    opened_every: int = 16,
    seed: int = 1,
    warm: float = WARM_SECONDS,
) -> Observation:
    """A data plane of this project with `count` lines, all full of bodies both ways, for `seconds`."""
    chosen = cores or Cores.split(workers)
    with Load(count, chosen, generators=generators) as load:
        task = Task(count, seed, load.ports, load.lines_per_port, prefer, workers)
        subject = Subject(task, chosen.relay)
        try:
            lines = [LoadLine.of(index, seed) for index in range(count)]
            load.send_as(
                sealed(lines, seed, destination=(LOOPBACK, subject.port), opened_every=opened_every),
                jitter=jitter,
                grain=grain,
                seed=seed,
            )
            return load.observe(subject.pid, seconds, clock, counters=subject.counters, warm=warm)
        finally:
            subject.close()
