"""The privacy test catches leaky senders in half a minute of cells, and leaves honest ones alone.

The leaky controls: a sender that falls silent with its speaker, one whose sizes follow the voice, and one
that merely becomes 0.3 ms less punctual while somebody speaks.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.core import MisuseError, SeededEntropy
from relay.lab.metrics import LeakReport, distinct_sizes, interval_summary, rate_over_time, speech_leak

SECONDS = 30.0
SPEECH = [(0.7, 3.9), (5.1, 8.0), (9.6, 12.2), (13.4, 15.8), (17.9, 21.0), (22.4, 24.1), (25.5, 28.8)]


def speaking(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    marked = np.zeros(len(times), dtype=bool)
    for begin, end in SPEECH:
        marked |= (times >= begin) & (times < end)
    return marked


def honest(generator: np.random.Generator, jitter: float = 0.0003) -> NDArray[np.float64]:
    """One cell every 20 ms with independent scheduling jitter."""
    ticks = np.arange(0.005, SECONDS, 0.020)
    return np.sort(ticks + np.abs(generator.normal(0, jitter, len(ticks))))


def bursty(generator: np.random.Generator) -> NDArray[np.float64]:
    """Heavy jitter in bursts of 60 to 250 ms, as a busy machine makes it; it knows nothing of speech."""
    ticks = np.arange(0.005, SECONDS, 0.020)
    load = np.zeros(len(ticks))
    position = 0
    while position < len(ticks):
        length = int(generator.integers(3, 13))
        load[position : position + length] = generator.exponential(0.002)
        position += length
    return np.sort(ticks + load * generator.random(len(ticks)))


def judge(
    times: NDArray[np.float64], sizes: list[int], seed: int = 1, permutations: int = 1999
) -> LeakReport:
    return speech_leak(times, sizes, SPEECH, SeededEntropy(seed), begin=0, end=SECONDS)


def p_values(report: LeakReport) -> dict[str, float]:
    return {difference.name: difference.p_value for difference in report.differences}


def test_an_honest_sender_passes() -> None:
    times = honest(np.random.default_rng(1))
    report = judge(times, [160] * len(times))
    assert not report.leaks
    assert p_values(report)["sizes"] == 1.0
    assert {d.during_speech + d.during_silence for d in report.differences if d.name == "sizes"} == {1500}


@pytest.mark.parametrize("seed", range(5))
def test_voice_activated_sending_is_caught(seed: int) -> None:
    times = honest(np.random.default_rng(seed))
    times = times[speaking(times)]
    report = judge(times, [160] * len(times), seed)
    assert report.leaks
    assert p_values(report)["counts"] < 0.001


@pytest.mark.parametrize("seed", range(5))
def test_sizes_that_follow_the_voice_are_caught(seed: int) -> None:
    generator = np.random.default_rng(seed)
    times = honest(generator)
    grown = speaking(times) & (generator.random(len(times)) < 0.15)
    report = judge(times, [160 + int(more) for more in grown], seed)
    assert report.leaks
    assert p_values(report)["sizes"] < 0.001


@pytest.mark.parametrize("seed", range(10))
def test_a_third_of_a_millisecond_of_extra_jitter_is_caught(seed: int) -> None:
    generator = np.random.default_rng(seed)
    times = honest(generator)
    times = np.sort(times + speaking(times) * np.abs(generator.normal(0, 0.0003, len(times))))
    assert judge(times, [160] * len(times), seed).leaks


def test_false_alarms_are_as_rare_as_stated() -> None:
    """200 senders with heavy jitter that does not know of speech, each compared four ways at 1 %.

    Eight alarms are expected at most; twenty would come by chance less than once in ten thousand times.
    """
    alarms = 0
    for seed in range(200):
        times = bursty(np.random.default_rng(seed))
        report = speech_leak(
            times,
            [160] * len(times),
            SPEECH,
            SeededEntropy(seed),
            begin=0,
            end=SECONDS,
            alpha=0.01,
            first_look=199,
        )
        alarms += report.leaks
    assert alarms < 20


def test_slow_disturbances_raise_no_alarm_when_a_coin_schedules_the_speech() -> None:
    """A machine that is busy for seconds on end: only the coin makes the test valid then."""
    alarms = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        ticks = np.arange(0.005, 20.0, 0.020)
        busy = np.repeat(generator.random(6), 200)[: len(ticks)] ** 3
        times = np.sort(ticks + 0.004 * busy * generator.random(len(ticks)))
        coin = [(float(k), k + 1.0) for k in range(20) if generator.random() < 0.5]
        report = speech_leak(
            times,
            [160] * len(times),
            coin,
            SeededEntropy(seed),
            begin=0,
            end=20,
            block=1.0,
            alpha=0.01,
            first_look=199,
        )
        alarms += report.leaks
    assert alarms < 12


def test_a_generous_threshold_is_refused() -> None:
    with pytest.raises(MisuseError):
        speech_leak(np.zeros(0), [], SPEECH, SeededEntropy(1), begin=0, end=SECONDS, alpha=0.05)


def test_a_capture_that_is_too_short_is_refused() -> None:
    with pytest.raises(MisuseError):
        speech_leak(np.array([0.1]), [160], SPEECH, SeededEntropy(1), begin=0, end=0.6)


def test_no_cells_at_all_are_no_crash() -> None:
    report = judge(np.zeros(0), [])
    assert not report.leaks


def test_figures_of_a_line() -> None:
    times = np.arange(100, dtype=np.float64) * np.float64(0.02)
    summary = interval_summary(times)
    assert summary is not None
    assert (summary.p1, summary.p50, summary.p99) == (20.0, 20.0, 20.0)
    assert interval_summary(times[:1]) is None
    assert distinct_sizes([160, 160, 161]) == [160, 161]
    edges, rates = rate_over_time(times + 0.001, 0.0, 2.0)
    assert list(edges) == [0.0, 1.0, 2.0]
    assert list(rates) == [50, 50]
    edges, rates = rate_over_time(times + 0.001, 0.0, 1.2)
    assert list(edges) == [0.0, 1.2]
    assert rates == pytest.approx([50])
