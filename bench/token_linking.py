"""What a malicious contact point can tell of whose tokens are whose: `python -m bench.token_linking`.

`[--runs 5] [--quick] [--out linking-out]`.  Two attacks in simulation, with controls that they must catch: on the
moments at which flows go down and come up (`relay.lab.token_linking`), and on who follows whom when a period ends
(`relay.lab.token_succession`).  Figures go to summary.json and linking.png; exits with 1 where a row does not hold.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.report import Row, at_least, at_most, reported
from relay.agent.regrouping import LATE
from relay.core import SeededEntropy, SystemClock
from relay.lab.demo.results import commit, machine
from relay.lab.flow_population import Policy, Scenario
from relay.lab.linking_picture import draw_linking
from relay.lab.period_change import Change, Renewal, lost_for
from relay.lab.token_linking import Row as Linked
from relay.lab.token_linking import curve
from relay.lab.token_succession import Succession, follow

AGENTS, QUICK_AGENTS = (10, 30, 100, 300), (10, 40)
CONTACTS, QUICK_CONTACTS = (4, 16), (8,)
_ALWAYS = Scenario(always=True)
_QUIET = replace(_ALWAYS, outages=0.0)

SHIPPED = {
    "started and stopped daily": Scenario(),
    "always there, half an outage a day": _ALWAYS,
    "always there, no outage": _QUIET,
}
CONTROLS = {
    "control: one flow for all": replace(_QUIET, policy=Policy.ONE_FLOW),
    "control: flows over one circuit": replace(_QUIET, policy=Policy.TOGETHER, days=4.0, losses=2.0),
    "control: new groups daily": replace(_QUIET, policy=Policy.MOVED, days=4.0),
}
CAUGHT = 0.95
NEAR_GUESSING = 0.05


def link(runs: int, quick: bool) -> dict[str, list[Linked]]:
    """The curves, by what the population does."""
    agents, contacts = (QUICK_AGENTS, QUICK_CONTACTS) if quick else (AGENTS, CONTACTS)
    found = {}
    for name, base in SHIPPED.items():
        say(name)
        found[name] = curve(agents, contacts, SeededEntropy(f"linking {name}"), base, runs=runs)
    for name, base in CONTROLS.items():
        say(name)
        few = agents[: len(agents) - 1]
        found[name] = curve(few, contacts[-1:], SeededEntropy(f"linking {name}"), base, runs=runs)
    return found


def succeed(runs: int, quick: bool) -> list[Succession]:
    """Each way to renew tokens."""
    found = []
    for renewal in Renewal:
        say(f"renewal {renewal}")
        change = Change(30 if quick else 100, 8 if quick else 16, renewal)
        found.append(follow(change, SeededEntropy(f"succession {renewal}"), runs=runs))
    return found


def rows_of(curves: dict[str, list[Linked]], successions: Sequence[Succession]) -> list[Row]:
    rows: list[Row] = []
    for name, points in curves.items():
        for point in points:
            there = f"{name}, {point.scenario.agents} agents of {point.scenario.contacts} contacts"
            figures, errors = point.figures, point.errors
            how = (
                f"simulation, mean of {point.runs} runs, standard deviation; a pair is of one owner by chance in "
                f"{figures.chance:.2%}"
            )
            area = f"{there}: area under the curve"
            with_error = f"{how}; +/- {errors.auc:.3f}"
            if name in CONTROLS:
                rows.append(at_least(area, CAUGHT, figures.auc, with_error, digits=3))
            elif SHIPPED[name] == _QUIET:
                away = abs(figures.auc - 0.5)
                # Few agents vary much: three standard errors are granted beside the limit.
                limit = round(NEAR_GUESSING + 3.0 * errors.auc / point.runs**0.5, 3)
                rows.append(at_most(f"{area}, away from 0.5", limit, away, with_error, digits=3))
            else:
                rows.append(reported(area, figures.auc, with_error, digits=3))
            for measure in ("precision", "recall", "average_precision"):
                rows.append(
                    reported(
                        f"{there}: {measure.replace('_', ' ')}",
                        getattr(figures, measure),
                        f"{how}; +/- {getattr(errors, measure):.3f}",
                        digits=3,
                    )
                )
    for found in successions:
        rows += _succession_rows(found)
    early, late = (lost_for(first, SeededEntropy("lost")) for first in (3600.0, LATE[0]))
    how = "a contact has looked for the next token 1 to 3 h after a period ended, at the latest; simulation"
    rows.append(reported("tokens gone before that, if the first went after 1 h, %", 100 * early[0], how))
    rows.append(reported("and for how long, minutes, mean", early[1] / 60, how))
    rows.append(at_most(f"the same as shipped, {LATE[0] / 3600:g} h, %", 0.0, 100 * late[0], how))
    return rows


def _succession_rows(found: Succession) -> list[Row]:
    renewal, figures = found.change.renewal, found.figures
    there = f"a period ends, renewal {renewal}"
    population = f"{found.change.agents} agents of {found.change.contacts} contacts on average, always there"
    how = f"{population}; {found.runs} runs"
    with_error = f"{how}; +/- {found.errors.auc:.3f}"
    area = f"{there}: area under the curve"
    rows = []
    if renewal is Renewal.SHIPPED:
        rows.append(at_most(f"{area}, away from 0.5", 0.03, abs(figures.auc - 0.5), with_error, digits=3))
        rows.append(
            at_most(
                f"{there}: successors named, times chance",
                4.0,
                found.named / found.by_chance,
                f"{how}; chance is {found.by_chance:.3%}",
            )
        )
    elif renewal is Renewal.MIXED:
        # What it gives away is certain, and little: the area hardly shows it.
        times = figures.average_precision / figures.chance
        rows.append(at_least(f"{there}: average precision, times chance", 3.0, times, how))
        rows.append(reported(area, figures.auc, with_error, digits=3))
    else:
        rows.append(at_least(area, 0.75, figures.auc, with_error, digits=3))
        rows.append(
            reported(f"{there}: successors named, times chance", found.named / found.by_chance, how, digits=0)
        )
    for measure in ("precision", "recall", "average_precision"):
        name = f"{there}: {measure.replace('_', ' ')}"
        error = getattr(found.errors, measure)
        rows.append(reported(name, getattr(figures, measure), f"{how}; +/- {error:.3f}", digits=3))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="tell whose tokens are whose, as a contact point could")
    parser.add_argument("--runs", type=int, default=5, help="of each population")
    parser.add_argument("--quick", action="store_true", help="few and small populations")
    parser.add_argument("--out", type=Path, default=Path("linking-out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    curves = link(options.runs, options.quick)
    successions = succeed(options.runs, options.quick)
    rows = rows_of(curves, successions)
    summary = {
        "commit": commit(),
        "date": datetime.fromtimestamp(SystemClock().wall(), UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "quick": options.quick,
        "rows": [asdict(row) for row in rows],
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw_linking(options.out / "linking.png", curves, successions)
    for row in rows:
        verdict = "" if row.holds is None else "ok" if row.holds else "MISSED"
        print(f"{row.measure}: {row.value} {f'({row.target})' if row.target else ''} {verdict}")
    return 0 if all(row.holds is not False for row in rows) else 1


def say(what: str) -> None:
    print(f"{what} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
