"""Figures of a line as its observer sees it, and the test whether speech shows in it.

The privacy test of this project: **cell times and sizes during speech and during silence are the same
distribution.**  `speech_leak` states it precisely.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.core import Entropy, MisuseError

Times = NDArray[np.float64]
Ranges = Sequence[tuple[float, float]]

ALPHA = 0.001
BLOCK = 0.5
FIRST_LOOK = 999
_SECOND_LOOK_BELOW = 0.02
_STEP = 0.020
_COUNT_WINDOW = 0.2


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """Milliseconds between consecutive cells of one direction."""

    p1: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison: Kolmogorov-Smirnov's D, the p-value from permuted blocks, and the two sample sizes."""

    name: str
    statistic: float
    p_value: float
    during_speech: int
    during_silence: int


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What `speech_leak` found; `leaks` is true when any p-value is below `alpha`."""

    differences: tuple[Difference, ...]
    alpha: float

    @property
    def leaks(self) -> bool:
        return any(difference.p_value < self.alpha for difference in self.differences)

    @property
    def smallest_p(self) -> float:
        return min((difference.p_value for difference in self.differences), default=1.0)


def interval_summary(times: Times) -> IntervalSummary | None:
    """Percentiles of the intervals between `times` (seconds, sorted); None for fewer than two."""
    if len(times) < 2:
        return None
    p1, p50, p99 = np.percentile(np.diff(times) * 1000, (1, 50, 99))
    return IntervalSummary(round(float(p1), 3), round(float(p50), 3), round(float(p99), 3))


def distinct_sizes(sizes: Sequence[int]) -> list[int]:
    """Every size that occurs, ascending."""
    return sorted(set(sizes))


def rate_over_time(times: Times, begin: float, end: float) -> tuple[Times, Times]:
    """Cells per second in steps of one second from `begin`: the steps' edges, and the rates.

    The last step is as short (at least 0.5 s) or as long (below 1.5 s) as `end` makes it.
    """
    steps = max(1, round(end - begin))
    edges = np.append(begin + np.arange(steps, dtype=np.float64), end)
    counts, _ = np.histogram(times, edges)
    return edges, np.asarray(counts / np.diff(edges), dtype=np.float64)


def speech_leak(
    times: Times,
    sizes: Sequence[int],
    speech: Ranges,
    entropy: Entropy,
    *,
    begin: float,
    end: float,
    alpha: float = ALPHA,
    block: float = BLOCK,
    first_look: int = FIRST_LOOK,
) -> LeakReport:
    """Test whether one direction of a line tells speech from silence, with threshold alpha = 0.001.

    `times` and `sizes` are the cells as captured, `speech` the (from, to) ranges in which somebody really
    spoke, all on one clock; only [begin, end) counts, which should lie within the call.  Four two-sample
    Kolmogorov-Smirnov statistics compare speech with silence:

    - *intervals* between consecutive cells, each belonging to the moment it ends at;
    - *deviations*: how far each interval lies from the median one (far more sensitive to extra jitter);
    - *counts*: cells in windows of 200 ms (a sender that falls silent has no intervals to compare);
    - *sizes* of the cells.

    Neighbouring intervals are correlated, so the textbook significance of D would be wrong.  It is found by
    permutation instead: time is cut into blocks (500 ms), the blocks of the *speech marking* are put into a
    random order while the cells stay as they are, and p is the share of such orders whose D is at least the
    real one (counting the real one); `first_look` orders are tried, and 2 / alpha when p is below 0.02
    then.  A line fails when any p-value is below alpha; each call of this function thus gives a false alarm
    at most about 4 times in 1000. It needs some ten seconds of each kind.

    When the speech was scheduled by tossing a coin for every block
    (`relay.lab.speech.build_random_speech`), the test is exact, whatever disturbs the cells' times and for
    how long, as long as that does not depend on the speech.  With other speech it is valid for disturbances
    that last less than a block.
    """
    if alpha >= _SECOND_LOOK_BELOW:
        raise MisuseError("this test is made for small alphas")
    times = np.asarray(times, dtype=np.float64)
    inside = (times >= begin) & (times < end)
    seen, seen_sizes = times[inside], np.asarray(sizes, dtype=np.float64)[inside]
    marking = _Marking(speech, begin, end, block)
    gaps = np.diff(seen)
    centre = float(np.median(gaps)) if len(gaps) else 0.0
    windows = np.arange(begin, end, _COUNT_WINDOW)
    counts, _ = np.histogram(seen, np.append(windows, windows[-1] + _COUNT_WINDOW))
    samples: list[tuple[str, Times, Times]] = [
        ("intervals", gaps, seen[1:]),
        ("deviations", np.abs(gaps - centre), seen[1:]),
        ("counts", counts[:-1].astype(np.float64), windows[:-1] + _COUNT_WINDOW / 2),
        ("sizes", seen_sizes, seen),
    ]
    return LeakReport(
        tuple(
            _difference(name, values, at, marking, alpha, first_look, entropy) for name, values, at in samples
        ),
        alpha,
    )


class _Marking:
    """Speech or silence for every step of time, and its blocks in any order."""

    def __init__(self, speech: Ranges, begin: float, end: float, block: float) -> None:
        self._begin = begin
        self._per_block = round(block / _STEP)
        self._blocks = int((end - begin) / block + 1e-6)
        if self._blocks < 2:
            raise MisuseError("a capture shorter than two blocks cannot be tested")
        middles = begin + (np.arange(self._blocks * self._per_block) + 0.5) * _STEP
        self._speaking = np.zeros(len(middles), dtype=np.bool_)
        for first, last in speech:
            self._speaking |= (middles >= first) & (middles < last)

    def orders(self, count: int, entropy: Entropy) -> NDArray[np.int64]:
        """The true order of blocks, then `count` random ones (Fisher and Yates by sorting random numbers)."""
        random = np.frombuffer(entropy.token(8 * count * self._blocks), dtype=np.uint64)
        shuffled = np.argsort(random.reshape(count, self._blocks), axis=1)
        return np.vstack([np.arange(self._blocks), shuffled])

    def labels(self, at: Times, orders: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For every order (row) and moment (column): speech?  Beyond the last block its last step holds."""
        step = np.clip(((at - self._begin) / _STEP).astype(np.int64), 0, len(self._speaking) - 1)
        moved = orders[:, step // self._per_block] * self._per_block + step % self._per_block
        labels: NDArray[np.bool_] = self._speaking[moved]
        return labels


def _difference(
    name: str, values: Times, at: Times, marking: _Marking, alpha: float, first_look: int, entropy: Entropy
) -> Difference:
    """D of the true order (always the first row) and its rank among random ones."""
    truth, p_value, statistic = marking.labels(at, marking.orders(0, entropy)), 1.0, 0.0
    if len(values):
        for permutations in (first_look, math.ceil(2 / alpha)):
            labels = marking.labels(at, marking.orders(permutations, entropy))
            statistics = _kolmogorov_smirnov(values, labels)
            statistic = float(statistics[0])
            # D is a ratio of counts: equal values may differ in the last bit.
            p_value = float(np.mean(statistics >= statistic - 1e-12))
            if p_value > _SECOND_LOOK_BELOW:
                break
    spoken = int(truth.sum())
    return Difference(name, round(statistic, 4), round(p_value, 6), spoken, len(values) - spoken)


def _kolmogorov_smirnov(values: Times, labels: NDArray[np.bool_]) -> Times:
    """The largest distance between the two empirical distributions, for every row of labels."""
    if not len(values):
        return np.zeros(len(labels))
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    last_of_ties = np.append(ordered[1:] != ordered[:-1], True)
    found = np.zeros(len(labels))
    for begin in range(0, len(labels), 512):
        chosen = labels[begin : begin + 512][:, order]
        spoken = np.cumsum(chosen, axis=1, dtype=np.int32)[:, last_of_ties]
        everything = (np.flatnonzero(last_of_ties) + 1).astype(np.float64)
        in_speech = spoken[:, -1:].astype(np.float64)
        in_silence = len(values) - in_speech
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(spoken / in_speech - (everything - spoken) / in_silence).max(axis=1)
        found[begin : begin + 512] = np.nan_to_num(distance)
    return found
