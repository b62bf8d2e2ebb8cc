"""How many lines a core carries, and how many two workers: data planes alone, with no control plane behind them."""

from bench.peers import floor
from bench.relays import NATIVE, Bench, point
from bench.report import Point, Report, Row, at_least, not_run, reported
from relay.core import TransportUnavailable
from relay.lab.load.measure import MAX_CPU, MAX_LOSS, Observation
from relay.lab.load.processes import Cores
from relay.rtp.cell import TICK

CURVE = (100, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 15_000, 20_000)
QUICK_CURVE = (100, 1000, 3000, 5000)
TWO_WORKERS = (1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 15_000, 20_000)
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
        f"loss under {MAX_LOSS:.2%}; every line full both ways at 20 ms, {seconds:g} s, best of {TRIES} tries, data "
        f"plane alone; beyond it: {why}"
    )
    floor_cost = next((cost for name, cost in report.costs.items() if name.startswith(floor.SLOTTED)), None)
    if floor_cost is not None:
        alone = floor_cost * _TARGET / TICK / 1e6
        how += f"; the kernel's floor by itself would take {alone:.0%} of the core for {_TARGET} lines here"
    report.rows.append(at_least("lines per core", _TARGET, most, how, digits=0))
    return most


def two_workers(bench: Bench, report: Report) -> None:
    """How many lines two workers carry together, and what a cell through them costs; in steps, until they fail."""
    seconds, cores = bench.seconds(5.0, 2.0), Cores.split(2)
    found: list[Point] = []
    for lines in TWO_WORKERS[:1] if bench.quick else TWO_WORKERS:
        try:
            found.append(_best(bench, lines, seconds, workers=2))
        except TransportUnavailable as error:
            report.rows.append(not_run("two workers", "", str(error)))
            return
        if not found[-1].carried:
            break
    single = [one for one in report.curve if one.workers == 1]
    report.curve += found
    report.rows += rows_of_two(found, single, shared=cores.shared)


def rows_of_two(found: list[Point], single: list[Point], *, shared: bool) -> list[Row]:
    """What two workers carried and what a cell cost, beside one worker (`single`) in the same run.

    `shared` says that the load took its time from the relay's two cores: then it is no proof that cores add up.
    """
    most = max((one.lines for one in found if one.carried and one.cpu <= 2 * MAX_CPU), default=0)
    alone = _most({one.lines: one for one in single})
    where = "the load on these same two cores" if shared else "the load on others"
    how = (
        f"most lines of {', '.join(str(one.lines) for one in found)} with at most {MAX_CPU:.0%} of two cores, no line "
        f"missing a tick and a loss under {MAX_LOSS:.2%}; data plane alone, SO_REUSEPORT, {where}; one worker with a "
        f"core of its own: {alone or 'not measured'}"
    )
    rows = [reported("lines carried by two workers", most, how, digits=0)]
    costs = {one.lines: one.microseconds_per_cell for one in single}
    for one in found:
        if one.microseconds_per_cell is None or not one.load_kept_up:
            continue
        carried = "all" if one.carried else "not all"
        how = f"{where}; {carried} lines were carried, at {one.cpu:.0%} of one core together"
        measure = f"two workers: CPU per cell, {one.lines} lines, us"
        rows.append(reported(measure, one.microseconds_per_cell, how))
        if cost := costs.get(one.lines):
            how = f"CPU per cell of two workers (SO_REUSEPORT) against one, {one.lines} lines; same run"
            value = one.microseconds_per_cell / cost
            rows.append(reported(f"two workers against one, {one.lines} lines, times", value, how))
    return rows


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
        if tries[-1].carried or tries[-1].cpu > 0.9 * workers or tries[-1].load_cpu > 0.95:
            break
    return point(NATIVE, workers, min(tries, key=lambda one: (not one.carried, one.missed, one.loss)))


def _why(one: Point) -> str:
    if one.carried:
        return f"{one.lines} lines took {one.cpu:.0%} of the core"
    if not one.load_kept_up:
        return f"at {one.lines} lines the load generator's own core was full ({one.cpu:.0%} of the relay's)"
    return f"at {one.lines} lines {one.missed} ticks were missed and {one.loss:.3%} lost ({one.cpu:.0%} of the core)"
