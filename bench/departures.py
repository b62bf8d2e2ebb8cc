"""When cells leave: beside their slot by how much, and whether that says anything about when others arrived."""

from bench.peers import floor
from bench.relays import NATIVE, Bench
from bench.report import Report, at_most, reported
from relay.lab.load.generator import JITTER, Counts
from relay.lab.load.measure import observe_forwarding

_CONTROL_LINES = 1000


def departure_times(bench: Bench, report: Report, lines: int) -> None:
    """At half load, `lines` lines; then the same eyes on a relay that forwards at once, which they must catch."""
    seconds = bench.seconds(20.0, 5.0)
    bench.say(f"departure times, {lines} lines")
    seen = observe_forwarding(lines, seconds, bench.clock, prefer=NATIVE, opened_every=1)
    counts = seen.counts
    arrivals = f"cells arrive up to {JITTER * 1e3:g} ms beside their moment"
    how = (
        f"kernel's receive stamps at the agents against the slot's edge, {lines} lines, {seconds:g} s, "
        f"{counts['received']} cells; half are within {counts.deviation(0.5) * 1e3:.3f} ms, all but one in a thousand "
        f"within {counts.deviation(0.999) * 1e3:.3f} ms"
    )
    report.rows.append(
        at_most("departures: p99 beside the slot, ms", 1.0, counts.deviation(0.99) * 1e3, how, digits=3)
    )
    worst = max((counts.crossed, counts.own), key=lambda one: abs(one.coefficient))
    how = (
        f"Pearson, the worse of a body's arrival with its departure ({_said(counts, 'crossed')}) and of a line's last "
        f"arrival with its own departure ({_said(counts, 'own')}); {arrivals}"
    )
    report.rows.append(
        at_most("departures: |r| with arrival jitter", 0.02, abs(worst.coefficient), how, digits=4)
    )
    control = bench.observe(floor.AT_ONCE, _CONTROL_LINES, bench.seconds(4.0, 2.0)).counts.crossed
    how = f"the same measure on a relay that forwards at once, {control.pairs} cells: what a leak looks like"
    report.rows.append(
        reported("departures: |r|, control that leaks", abs(control.coefficient), how, digits=3)
    )


def _said(counts: Counts, which: str) -> str:
    found = counts.crossed if which == "crossed" else counts.own
    return f"r = {found.coefficient:+.4f}, n = {found.pairs}, standard error {found.standard_error:.4f}"
