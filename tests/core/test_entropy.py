"""Chance: uniform where it says so, within its bounds always, repeatable only from a seed."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import Entropy, SeededEntropy, SystemEntropy

SOURCES = [SystemEntropy(), SeededEntropy("entropy-test")]


@given(seed=st.integers(), bound=st.integers(min_value=1, max_value=2**80))
def test_below_stays_below(seed: int, bound: int) -> None:
    assert 0 <= SeededEntropy(seed).below(bound) < bound


@given(
    seed=st.integers(),
    low=st.floats(min_value=-1e6, max_value=1e6),
    width=st.floats(min_value=1e-3, max_value=1e6),
)
def test_uniform_stays_in_its_range(seed: int, low: float, width: float) -> None:
    value = SeededEntropy(seed).uniform(low, low + width)
    assert low <= value <= low + width


@given(seed=st.integers(), mean=st.floats(min_value=1e-3, max_value=1e6))
def test_exponential_is_finite_and_never_negative(seed: int, mean: float) -> None:
    value = SeededEntropy(seed).exponential(mean)
    assert value >= 0.0
    assert math.isfinite(value)


@given(seed=st.integers(), size=st.integers(min_value=0, max_value=300))
def test_tokens_have_the_size_asked_for(seed: int, size: int) -> None:
    assert len(SeededEntropy(seed).token(size)) == size
    assert len(SystemEntropy().token(size)) == size


@pytest.mark.parametrize("source", SOURCES, ids=["system", "seeded"])
def test_below_is_uniform(source: Entropy) -> None:
    """Chi-squared with 9 degrees of freedom; 40 is passed by chance less than once in 100,000 runs."""
    draws, bound = 10_000, 10
    counts = Counter(source.below(bound) for _ in range(draws))
    expected = draws / bound
    assert sum((counts[value] - expected) ** 2 / expected for value in range(bound)) < 40.0


@pytest.mark.parametrize("source", SOURCES, ids=["system", "seeded"])
def test_uniform_is_uniform(source: Entropy) -> None:
    """Kolmogorov-Smirnov distance; 2.5 / sqrt(n) is passed by chance about once in 100,000 runs."""
    draws = 4_000
    values = sorted(source.uniform(0.0, 1.0) for _ in range(draws))
    distance = max(abs(value - rank / draws) for rank, value in enumerate(values))
    assert distance < 2.5 / math.sqrt(draws)


@pytest.mark.parametrize("source", SOURCES, ids=["system", "seeded"])
def test_exponential_has_its_mean(source: Entropy) -> None:
    """The mean of n draws has the standard error mean divided by the root of n; five of them are allowed."""
    draws, mean = 4_000, 600.0
    average = sum(source.exponential(mean) for _ in range(draws)) / draws
    assert abs(average - mean) < 5 * mean / math.sqrt(draws)


@pytest.mark.parametrize("source", SOURCES, ids=["system", "seeded"])
def test_choice_takes_each_option(source: Entropy) -> None:
    options = ("a", "b", "c")
    assert {source.choice(options) for _ in range(200)} == set(options)


@pytest.mark.parametrize("source", SOURCES, ids=["system", "seeded"])
def test_drawing_gives_each_option_once_in_any_order(source: Entropy) -> None:
    orders = {tuple(source.draw("abc")) for _ in range(300)}
    assert orders == set(itertools.permutations("abc"))
    assert {tuple(source.draw("abc", 1)) for _ in range(300)} == {("a",), ("b",), ("c",)}
    assert len(source.draw("abc", 7)) == 3
    assert source.draw("abc", -1) == []


def test_the_systems_tokens_do_not_repeat() -> None:
    source = SystemEntropy()
    assert len({source.token(16) for _ in range(1_000)}) == 1_000


def test_a_seed_repeats_and_another_does_not() -> None:
    first, second, other = SeededEntropy(7), SeededEntropy(7), SeededEntropy(8)
    drawn = [first.token(16) for _ in range(4)]
    assert drawn == [second.token(16) for _ in range(4)]
    assert not set(drawn) & {other.token(16) for _ in range(4)}
    assert len(set(drawn)) == 4


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SystemEntropy().below(0)


def test_choosing_from_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SystemEntropy().choice(())
