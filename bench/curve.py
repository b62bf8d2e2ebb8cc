"""How many lines a core carries: the curve, and how two workers share."""

from bench.peers import floor
from bench.relays import NATIVE, Bench, point
from bench.report import Point, Report, at_least, not_run, reported
from relay.core import TransportUnavailable
from relay.lab.load.measure import MAX_CPU, MAX_LOSS, Observation
from relay.rtp.cell import TICK

CURVE = (100, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 15_000, 20_000)
QUICK_CURVE = (100, 1000, 3000, 5000)
TWO_WORKERS = (1000, 2000, 3000)
TRIES = 3
"""How often a number of lines is tried: a virtual machine stands still now and then, and that is not the relay's."""
_TARGET = 5000
_PRECISION = 0.07
_STEP = 20


def lines_per_core(bench: Bench, report: Report) -> int:
    """The curve from few lines to far too many; gives the most that one core carried."""
    seconds = bench.seconds(5.0, 2.0)
    found = {
        lines: _best(bench, lines, seconds, workers=1) for lines in (QUICK_CURVE if bench.quick else CURVE)
    }
    while (lines := _between(found)) is not None:
        found[lines] = _best(bench, lines, seconds, workers=1)
    report.curve += [found[lines] for lines in sorted(found)]
    most = _most(found)
    beyond = [found[lines] for lines in sorted(found) if lines > most]
    why = _why(beyond[0]) if beyond else "the curve ends there"
    how = (
        f"most lines, to within {_PRECISION:.0%}, with at most {MAX_CPU:.0%} of the core, no line missing a tick and a "
        f"loss under {MAX_LOSS:.2%}; every line full both ways at 20 ms, {seconds:g} s, best of {TRIES} tries; beyond "
        f"it: {why}"
    )
    floor_cost = next((cost for name, cost in report.costs.items() if name.startswith(floor.SLOTTED)), None)
    if floor_cost is not None:
        alone = floor_cost * _TARGET / TICK / 1e6
        how += f"; the kernel's floor by itself would take {alone:.0%} of the core for {_TARGET} lines here"
    report.rows.append(at_least("lines per core", _TARGET, most, how, digits=0))
    return most


def two_workers(bench: Bench, report: Report) -> None:
    """The same with two workers, which share this machine's cores with the load generator where there are only two."""
    seconds = bench.seconds(5.0, 2.0)
    found = []
    for lines in TWO_WORKERS[:1] if bench.quick else TWO_WORKERS:
        try:
            found.append(_best(bench, lines, seconds, workers=2))
        except TransportUnavailable as error:
            report.rows.append(not_run("two workers", "", str(error)))
            return
    report.curve += found
    single = {one.lines: one for one in report.curve if one.workers == 1}
    for one in found:
        alone = single.get(one.lines)
        if alone and alone.microseconds_per_cell and one.microseconds_per_cell and one.load_kept_up:
            value = one.microseconds_per_cell / alone.microseconds_per_cell
            how = f"CPU per cell of two workers (SO_REUSEPORT) against one, {one.lines} lines; same run"
            report.rows.append(reported(f"two workers against one, {one.lines} lines, times", value, how))


def _most(found: dict[int, Point]) -> int:
    return max((lines for lines, one in found.items() if one.carried and one.cpu <= MAX_CPU), default=0)


def _between(found: dict[int, Point]) -> int | None:
    """Where to look more closely: between the most lines that were carried and the fewest above that were not."""
    low = _most(found)
    high = min((lines for lines in found if lines > low), default=low)
    middle = (low + high) // 2 // _STEP * _STEP
    return middle if low < middle and high - low > _PRECISION * high else None


def _best(bench: Bench, lines: int, seconds: float, *, workers: int) -> Point:
    """The first try that carried all lines, else the one that came nearest to it."""
    tries: list[Observation] = []
    for _ in range(1 if bench.quick else TRIES):
        tries.append(bench.observe(NATIVE, lines, seconds, workers=workers))
        # Once a core is full another try does not empty it.
        if tries[-1].carried or tries[-1].cpu > 0.9 or tries[-1].load_cpu > 0.95:
            break
    return point(NATIVE, workers, min(tries, key=lambda one: (not one.carried, one.missed, one.loss)))


def _why(one: Point) -> str:
    if one.carried:
        return f"{one.lines} lines took {one.cpu:.0%} of the core"
    if not one.load_kept_up:
        return f"at {one.lines} lines the load generator's own core was full ({one.cpu:.0%} of the relay's)"
    return f"at {one.lines} lines {one.missed} ticks were missed and {one.loss:.3%} lost ({one.cpu:.0%} of the core)"
