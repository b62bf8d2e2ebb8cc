"""How many lines a second can be opened on a core that is half full of lines, and whether those notice."""

import os

from bench.agents import Agents, Opened
from bench.relays import NATIVE, Bench
from bench.report import Report, at_least
from relay.core import SystemEntropy
from relay.lab.load.lines import LOOPBACK, LoadLine, sealed
from relay.lab.load.measure import Load, Observation
from relay.lab.load.processes import pin
from relay.lab.load.subject import Subject, Task
from relay.media_reflector import LineClient, Ticket
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor

MODULE = "bench.reflector"
RATES = (1100, 1300, 1500)
SLOWER = (700, 400, 200)
"""Tried from the first down where not even the lowest of `RATES` is kept."""
_TARGET = 1000
_P99 = 1e-3
_GRAIN = 470e-6
"""Coarse, because the agents need the rest of the load's core."""


def handshakes(bench: Bench, report: Report, lines: int) -> None:
    """The highest rate at which lines opened as fast as asked, and the others' cells left in time."""
    best, said = 0.0, []
    seconds = bench.seconds(6.0, 3.0)
    for rate in (*RATES, *SLOWER):
        if rate < RATES[0] and best:
            break
        if rate > RATES[0] and (not best or bench.quick):
            continue
        bench.say(f"handshakes, {rate} a second beside {lines} lines")
        seen, opened = _observe(bench, lines, rate, seconds)
        p99, found = seen.counts.deviation(0.99), opened.opened / seen.cpu_window
        said.append(
            f"asked {rate}/s: {found:.0f}/s, p99 {p99 * 1e3:.2f} ms, {seen.missed} ticks missed, "
            f"{seen.cpu:.0%} of the core"
        )
        if p99 <= _P99 and seen.missed == 0:
            best = max(best, found)
    how = (
        f"real handshakes (ticket, Noise NK, proof, first cell, farewell) in a process pinned to one core with {lines} "
        f"full lines, {seconds:g} s each; {'; '.join(said)}"
    )
    report.rows.append(at_least("handshakes per second per core, at half load", _TARGET, best, how, digits=0))


def _observe(bench: Bench, lines: int, rate: int, seconds: float) -> tuple[Observation, Opened]:
    with Load(lines, bench.cores) as load:
        task = Task(lines, 1, load.ports, load.lines_per_port, NATIVE)
        subject = Subject(task, bench.cores.relay, module=MODULE)
        try:
            agents = Agents(subject.port, _clients(bench, subject, round(rate * seconds)), bench.clock)
            specs = [LoadLine.of(index, 1) for index in range(lines)]
            load.send_as(sealed(specs, 1, destination=(LOOPBACK, subject.port)), grain=_GRAIN)
            everywhere = frozenset(os.sched_getaffinity(0))
            # The agents' work belongs beside the load, not on the reflector's core.
            pin(0, bench.cores.load)
            try:
                seen = load.observe(
                    subject.pid, seconds, bench.clock, counters=subject.counters, meanwhile=agents.open(rate)
                )
            finally:
                pin(0, everywhere)
            return seen, agents.close()
        finally:
            subject.close()


def _clients(bench: Bench, subject: Subject, count: int) -> list[LineClient]:
    """As many agents as will knock, each with a ticket of its own."""
    minted = subject.ask({"tickets": count})
    identity = bytes.fromhex(minted["identity"])
    reference = ReflectorReference("a" * 56, identity)
    descriptor = verify_descriptor(bytes.fromhex(minted["descriptor"]), reference, bench.clock.wall())
    entropy = SystemEntropy()
    return [
        LineClient(descriptor, Ticket(bytes.fromhex(number), bytes.fromhex(secret), expires), entropy)
        for number, secret, expires in minted["tickets"]
    ]
