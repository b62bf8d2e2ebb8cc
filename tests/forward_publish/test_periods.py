"""Periods: where to look, which revisions, when something is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.forward_publish.periods import (
    CLOCK_SKEW,
    PERIOD,
    check_period,
    coarse_revision,
    current_period,
    highest_revision,
    latest_expiry,
    lookup_periods,
    lowest_revision,
    numbers_are_sound,
)

TIMES = st.floats(PERIOD, 5e9)


def test_the_current_period_comes_first_and_the_next_one_only_where_a_clock_may_be_there() -> None:
    noon = 20_000 * PERIOD + PERIOD / 2
    assert lookup_periods(noon) == (20_000, 19_999)
    assert lookup_periods(20_001 * PERIOD - CLOCK_SKEW - 1) == (20_000, 19_999)
    assert lookup_periods(20_001 * PERIOD - CLOCK_SKEW) == (20_000, 19_999, 20_001)
    assert lookup_periods(20_001 * PERIOD) == (20_001, 20_000)


@given(TIMES, st.floats(-CLOCK_SKEW, CLOCK_SKEW), st.floats(0, PERIOD - CLOCK_SKEW))
def test_what_was_published_within_a_day_is_found_though_clocks_differ(
    now: float, difference: float, age: float
) -> None:
    period = current_period(now + difference - age)
    assert period in lookup_periods(now)
    check_period(period, now)


@given(TIMES, st.floats(-2 * PERIOD, 4 * PERIOD))
def test_an_entry_is_of_use_from_its_period_to_the_end_of_the_next(now: float, later: float) -> None:
    period = current_period(now)
    reader = now + later
    if reader >= latest_expiry(period) + CLOCK_SKEW:
        with pytest.raises(PeerError, match="expired"):
            check_period(period, reader)
    elif int(reader + CLOCK_SKEW) < period * PERIOD:
        with pytest.raises(PeerError, match="future-dated"):
            check_period(period, reader)
    else:
        check_period(period, reader)


@given(st.floats(0, 5e9), st.floats(0, 2 * PERIOD), st.integers(0, 5000))
def test_revisions_never_fall_and_say_no_more_than_the_hour(now: float, later: float, step: int) -> None:
    assert coarse_revision(now) <= coarse_revision(now + later)
    assert coarse_revision(now, step) < coarse_revision(now, step + 1)
    assert coarse_revision(now) == coarse_revision(now // 3600 * 3600)
    assert coarse_revision(now, step) < coarse_revision(now + PERIOD), "whatever the step"
    period = current_period(now)
    assert lowest_revision(period) <= coarse_revision(now, step) <= highest_revision(period)
    assert numbers_are_sound(period, coarse_revision(now, step), latest_expiry(period))


def test_a_revision_of_one_period_never_blocks_the_next_one() -> None:
    assert coarse_revision(20_000 * PERIOD, 10**9) == highest_revision(20_000) < lowest_revision(20_001)
    assert not numbers_are_sound(20_000, lowest_revision(20_001), latest_expiry(20_000))
    assert not numbers_are_sound(20_000, lowest_revision(20_000) - 1, latest_expiry(20_000))
    assert not numbers_are_sound(20_000, lowest_revision(20_000), latest_expiry(20_000) - 1)
    assert not numbers_are_sound(2**36, lowest_revision(2**36), latest_expiry(2**36))
