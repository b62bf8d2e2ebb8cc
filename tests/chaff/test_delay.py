"""Start delay and staggered teardown: uniform, bounded, and independent of one another."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chaff import StaggeredTeardown, StartDelay
from relay.core import Entropy, SeededEntropy

seconds = st.floats(min_value=0.0, max_value=3600.0)


@given(seed=st.integers(), maximum=seconds)
def test_a_start_delay_lies_in_its_range(seed: int, maximum: float) -> None:
    assert 0.0 <= StartDelay(maximum).draw(SeededEntropy(seed)) <= maximum


@given(seed=st.integers(), maximum=seconds, minimum=seconds)
def test_a_teardown_leaves_time_to_say_goodbye(seed: int, maximum: float, minimum: float) -> None:
    drawn = StaggeredTeardown(maximum, minimum).draw(SeededEntropy(seed))
    assert minimum <= drawn <= max(minimum, maximum)


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (StartDelay(60.0).draw, 0.0, 60.0),
        (StaggeredTeardown(120.0).draw, 0.0, 120.0),
        (StaggeredTeardown(15.0, 2.0).draw, 2.0, 15.0),
    ],
)
def test_both_are_uniform(draw: Callable[[Entropy], float], low: float, high: float) -> None:
    """Kolmogorov-Smirnov distance of 2,000 seeded draws, against 1.63 / sqrt(n) (one percent)."""
    entropy = SeededEntropy("delays")
    count = 2_000
    drawn = sorted((draw(entropy) - low) / (high - low) for _ in range(count))
    assert max(abs(value - rank / count) for rank, value in enumerate(drawn)) < 1.63 / math.sqrt(count)


def test_the_two_lines_of_a_call_draw_independently() -> None:
    """The correlation of the two teardowns over 1,000 seeded calls is that of chance: below 4 / sqrt(n)."""
    entropy = SeededEntropy("calls")
    policy = StaggeredTeardown(120.0)
    count = 1_000
    pairs = [(policy.draw(entropy), policy.draw(entropy)) for _ in range(count)]
    mean = 60.0
    variance = 120.0**2 / 12
    correlation = sum((a - mean) * (b - mean) for a, b in pairs) / count / variance
    assert abs(correlation) < 4 / math.sqrt(count)


def test_no_delay_is_no_delay() -> None:
    assert StartDelay(0.0).draw(SeededEntropy(1)) == 0.0
