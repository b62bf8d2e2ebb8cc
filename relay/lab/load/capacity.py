"""How many lines a machine carries: a search over real loads, and what stops it from carrying more."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from relay.core import Clock
from relay.lab.load.measure import MAX_CPU, Observation, observe_forwarding
from relay.lab.load.processes import Cores, available_bytes
from relay.rtp.cell import CELL_SIZE, TICK

WIRE_BYTES = CELL_SIZE + 8 + 20 + 38
"""Bytes that one cell takes on an Ethernet: UDP and IPv4 headers, frame, preamble and gap."""
FIRST_LINES = 1000
_STEP = 20
"""Numbers of lines are multiples of this: the same in every slot, and pairs."""
_MOST_GROWTH = 4.0
_LEAST_GROWTH = 1.2
_AIM = 0.97
"""How near to the allowed CPU time the next try is aimed."""
_FULL = 0.9
"""A core this full is not emptied by trying again."""
LINE_BYTES = 4096
"""Memory that a line takes at most, control plane included (`make bench` measures it)."""
_FREE_SHARE = 0.8
"""Of the memory that is free now, what lines may take."""


class Limit(StrEnum):
    """What keeps a machine from more lines."""

    CPU = "CPU"
    TICKS = "ticks"
    LOSS = "loss"
    MEMORY = "memory"
    LINK = "network"
    GENERATOR = "load generator"


class Seen(Protocol):
    """As much of an `Observation` as the search looks at."""

    @property
    def cpu(self) -> float: ...

    @property
    def load_cpu(self) -> float: ...

    @property
    def carried(self) -> bool: ...

    @property
    def load_kept_up(self) -> bool: ...

    @property
    def missed(self) -> int: ...


S = TypeVar("S", bound=Seen)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Lines that the machine has no room for, whatever its CPU says; None: nothing is known."""

    memory: int
    link: int | None = None

    @property
    def lines(self) -> int:
        return min(self.memory, self.link) if self.link is not None else self.memory

    @property
    def limit(self) -> Limit:
        return Limit.LINK if self.link is not None and self.link <= self.memory else Limit.MEMORY


def lines_of_link(megabits: float) -> int:
    """How many lines fill a network line of so many Mbit/s each way."""
    return int(megabits * 1e6 * TICK / (8 * WIRE_BYTES))


@dataclass(slots=True)
class Search(Generic[S]):
    """From few lines upwards until they are too many, then in between, until `precision` is reached.

    `measure` loads that many lines; `workers` have so many cores.  `tried` holds every measurement, in order.
    """

    measure: Callable[[int], S]
    ceiling: Ceiling
    workers: int = 1
    precision: float = 0.05
    tried: list[tuple[int, S]] = field(default_factory=list)

    def run(self) -> tuple[int, Limit]:
        """The most lines that were carried, and what limits them."""
        low, high = 0, self.ceiling.lines // _STEP * _STEP + _STEP
        lines, limit = min(FIRST_LINES, high - _STEP), self.ceiling.limit
        while lines > low:
            seen = self._try(lines)
            found = self._limit(seen)
            if found is None:
                low = lines
                growth = _AIM * self._allowed / seen.cpu if seen.cpu > 0 else _MOST_GROWTH
                aimed = lines * min(max(growth, _LEAST_GROWTH), _MOST_GROWTH)
            else:
                high, limit = lines, found
                aimed = 0.0
            if high - low <= max(_STEP, self.precision * high):
                break
            # What was seen so far says where to look; half-way is as good where it says nothing.
            if not low < aimed < high:
                aimed = (low + high) / 2
            lines = round(aimed / _STEP) * _STEP
            if not low < lines < high:
                break
        return low, limit

    @property
    def _allowed(self) -> float:
        return MAX_CPU * self.workers

    def _try(self, lines: int) -> S:
        """Twice where the first time did not succeed: a virtual machine stands still now and then."""
        for _ in range(2):
            seen = self.measure(lines)
            self.tried.append((lines, seen))
            if seen.carried or seen.cpu > _FULL * self.workers or seen.load_cpu > _FULL:
                break
        return seen

    def _limit(self, seen: Seen) -> Limit | None:
        """What was too much; None when all was well."""
        if seen.carried:
            return Limit.CPU if seen.cpu > self._allowed else None
        if seen.cpu > self._allowed:
            return Limit.CPU
        if not seen.load_kept_up:
            return Limit.GENERATOR
        return Limit.TICKS if seen.missed else Limit.LOSS


def explain(limit: Limit, workers: int) -> str:
    """A few words for people."""
    cores = "one core" if workers == 1 else f"{workers} cores"
    return {
        Limit.CPU: f"CPU ({MAX_CPU:.0%} of {cores})",
        Limit.TICKS: "missed ticks (something else on this machine takes its time)",
        Limit.LOSS: "lost cells (socket buffers overflow)",
        Limit.MEMORY: "memory",
        Limit.LINK: "the network line",
        Limit.GENERATOR: "the load generator (too few cores here to load the reflector further; it carries more)",
    }[limit]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What `find_capacity` found by `tried`; `shared` says that the load took time from the relay."""

    lines: int
    limit: Limit
    workers: int
    shared: bool
    tried: tuple[Observation, ...]

    def sentence(self) -> str:
        return f"this machine: {self.lines:,} lines, limited by {explain(self.limit, self.workers)}"


def find_capacity(
    clock: Clock,
    *,
    workers: int = 1,
    link: float | None = None,
    seconds: float = 5.0,
    precision: float = 0.05,
    prefer: str = "auto",
    about_to_try: Callable[[int], None] = lambda lines: None,
) -> Capacity:
    """Search with real loads on this machine's loopback, each of `seconds`; `link` in Mbit/s.

    Raises `TransportUnavailable` when there is no load generator or no such data plane.
    """
    cores = Cores.split(workers)
    ceiling = Ceiling(
        int(_FREE_SHARE * available_bytes() / LINE_BYTES), None if link is None else lines_of_link(link)
    )

    def measure(lines: int) -> Observation:
        about_to_try(lines)
        generators = min(workers + 1, len(cores.load))
        return observe_forwarding(
            lines, seconds, clock, prefer=prefer, workers=workers, cores=cores, generators=generators
        )

    search = Search(measure, ceiling, workers, precision)
    lines, limit = search.run()
    return Capacity(lines, limit, workers, cores.shared, tuple(seen for _, seen in search.tried))
