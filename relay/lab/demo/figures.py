"""From what was recorded and captured to figures, and to rows that hold or do not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from relay.core import Entropy, MisuseError
from relay.lab.audio import Comparison, Sound, compare
from relay.lab.demo.call import CallTimes
from relay.lab.demo.options import LINE_ADDRESSES, PEOPLE
from relay.lab.lines import Direction, LineSeen
from relay.lab.metrics import ALPHA, LeakReport, Ranges, distinct_sizes, interval_summary, speech_leak
from relay.lab.speech import SPURT

LEAST_CORRELATION = 0.8
LONGEST_DELAY_MS = 200.0
_LEAST_SHARE = 0.5
"""At least this share of the speech that was spoken while connected must be found in the ear, each way."""

_COMPARISONS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One measured target (DESIGN.md section 8)."""

    measure: str
    target: str
    value: float | str
    holds: bool
    how: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """When a microphone's sound began (monotonic), and where in it somebody spoke."""

    start: float
    ranges: Ranges

    def dated(self) -> list[tuple[float, float]]:
        return [(self.start + begin, self.start + end) for begin, end in self.ranges]

    def seconds_within(self, begin: float, end: float) -> float:
        return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in self.dated())


@dataclass(frozen=True, slots=True)
class Heard:
    """One direction of sound: what came of it at the other ear, and how many cells were lost."""

    comparison: Comparison | None
    lost_cells: int | None
    spoken_seconds: float

    @property
    def share(self) -> float:
        """How much of what was spoken while connected the comparison found."""
        found = self.comparison.compared_seconds if self.comparison else 0.0
        return round(min(1.0, found / self.spoken_seconds), 2) if self.spoken_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """All of one call's figures."""

    setup: Mapping[str, float]
    heard: Mapping[str, Heard]
    lines: Mapping[str, LineSeen]
    leaks: Mapping[str, LeakReport]
    seconds: float


def setup_seconds(times: CallTimes) -> dict[str, float]:
    return {
        "dial_to_ring": round(times.rang - times.dialled, 3),
        "answer_to_voice": round(times.voice - times.answered, 3),
    }


def both_ways(
    spoken: Mapping[str, Sound],
    heard: Mapping[str, Sound],
    speech: Mapping[str, Spoken],
    lost: Mapping[str, int],
    times: CallTimes,
) -> dict[str, Heard]:
    """Compare each mouth with the other ear, from the first voice both ways to the hang-up."""
    found: dict[str, Heard] = {}
    for mouth, ear in (PEOPLE, PEOPLE[::-1]):
        comparison = None
        if mouth in spoken and ear in heard:
            comparison = compare(spoken[mouth], heard[ear], between=(times.voice, times.hung_up))
        said = speech[mouth].seconds_within(times.voice, times.hung_up) if mouth in speech else 0.0
        found[f"{mouth}_to_{ear}"] = Heard(comparison, lost.get(ear), round(said, 3))
    return found


def name_lines(lines: Sequence[LineSeen]) -> dict[str, LineSeen]:
    """Each line by whose it is, in the order of `PEOPLE`; further lines of one person are numbered from 2."""
    named: dict[str, LineSeen] = {}
    owners = {address: name for name, address in LINE_ADDRESSES.items()}
    order = list(owners)
    for line in sorted(
        lines, key=lambda one: (order.index(one.agent[0]) if one.agent[0] in order else 99, one.start)
    ):
        owner = owners.get(line.agent[0], "unknown")
        name, number = owner, 2
        while name in named:
            name, number = f"{owner}-{number}", number + 1
        named[name] = line
    return named


def find_leaks(
    lines: Mapping[str, LineSeen], speech: Mapping[str, Spoken], times: CallTimes, entropy: Entropy
) -> dict[str, LeakReport]:
    """The privacy test on every direction of both lines, while both people could be heard.

    Upwards a line is compared with its owner's speech, downwards with the other one's.  The threshold of
    0.001 is for the whole call: it is divided by the number of comparisons (Bonferroni).
    """
    subjects: dict[str, tuple[Direction, Spoken]] = {}
    for name, other in (PEOPLE, PEOPLE[::-1]):
        if name in lines and name in speech and other in speech:
            subjects[f"{name}_up"] = (lines[name].up, speech[name])
            subjects[f"{name}_down"] = (lines[name].down, speech[other])
    found: dict[str, LeakReport] = {}
    for subject, (direction, said) in subjects.items():
        # Whole seconds of the microphone, as the coin was tossed for them.
        first = said.start + math.ceil((times.voice - said.start) / SPURT) * SPURT
        last = said.start + math.floor((times.hung_up - said.start) / SPURT) * SPURT
        try:
            found[subject] = speech_leak(
                direction.times,
                [int(size) for size in direction.sizes],
                said.dated(),
                entropy,
                begin=first,
                end=last,
                block=SPURT,
                alpha=ALPHA / (_COMPARISONS * len(subjects)),
            )
        except MisuseError:  # too short to be tested; the row says how many directions were
            continue
    return found


def line_summary(name: str, line: LineSeen, origin: float) -> dict[str, object]:
    """A line's entry in summary.json; times in seconds after dialling."""
    up, down = interval_summary(line.up.times), interval_summary(line.down.times)
    return {
        "line": name,
        "cells_up": len(line.up.times),
        "cells_down": len(line.down.times),
        "distinct_sizes": distinct_sizes(line.sizes),
        "interval_ms": asdict(up) if up else None,
        "interval_ms_down": asdict(down) if down else None,
        "start": round(line.start - origin, 3),
        "stop": round(line.stop - origin, 3),
    }


def rows(figures: Figures) -> list[Row]:
    """Every target of the demo, met or missed."""
    made: list[Row] = []
    for way, heard in figures.heard.items():
        words, found = way.replace("_", " "), heard.comparison
        how = "cross-correlation of microphone and ear recordings, 150-3400 Hz, both on the monotonic clock"
        made += [
            Row(
                f"share of speech that arrived, {words}",
                f">= {_LEAST_SHARE}",
                heard.share,
                heard.share >= _LEAST_SHARE,
                how,
            ),
            Row(
                f"correlation, {words}",
                f"> {LEAST_CORRELATION}",
                found.correlation if found else 0.0,
                found is not None and found.correlation > LEAST_CORRELATION,
                how,
            ),
            Row(
                f"mouth-to-ear delay in ms, {words}",
                f"<= {LONGEST_DELAY_MS:.0f}",
                found.delay_ms if found else "none",
                found is not None and found.delay_ms <= LONGEST_DELAY_MS,
                "median lag, with the microphone's frame and the phone's playout buffer (relay/lab/ear.py)",
            ),
        ]
    sizes = sorted({size for line in figures.lines.values() for size in line.sizes})
    lines_there = set(PEOPLE) <= set(figures.lines)
    made.append(
        Row(
            "distinct cell sizes on all lines",
            "1",
            len(sizes),
            lines_there and len(sizes) == 1,
            "UDP payloads captured by the observer at the reflectors' addresses",
        )
    )
    smallest = min((report.smallest_p for report in figures.leaks.values()), default=1.0)
    threshold = min((report.alpha for report in figures.leaks.values()), default=ALPHA)
    made.append(
        Row(
            "smallest p, cells in speech against silence",
            f">= {threshold:.2g}",
            round(smallest, 5),
            bool(figures.leaks) and not any(report.leaks for report in figures.leaks.values()),
            f"exact randomisation test (speech by coin); {len(figures.leaks)} directions, 0.001 for the whole call",
        )
    )
    return made
