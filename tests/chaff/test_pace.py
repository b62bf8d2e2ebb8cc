"""The grid of departures: even, whatever the clock reads, and never a burst."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chaff import Pace
from relay.core import SeededEntropy

TICK = 0.020

slots = st.floats(min_value=0.0, max_value=TICK, exclude_max=True)
# A year of uptime, in seconds.
moments = st.floats(min_value=0.0, max_value=3.2e7)


@given(slot=slots, now=moments)
def test_the_last_departure_is_at_or_before_now_and_the_next_one_after(slot: float, now: float) -> None:
    pace = Pace(TICK, slot)
    assert pace.departure(pace.index(now)) <= now < pace.following(now)
    assert pace.following(now) - now <= TICK + 1e-6


@given(slot=slots, index=st.integers(min_value=0, max_value=1_600_000_000))
def test_a_departure_comes_up_once(slot: float, index: int) -> None:
    """At the very moment of a departure the next one is a tick later, or a cell would leave twice."""
    pace = Pace(TICK, slot)
    assert pace.index(pace.departure(index)) == index
    assert pace.following(pace.departure(index)) == pace.departure(index + 1)


@given(slot=slots, start=moments)
def test_departures_do_not_drift(slot: float, start: float) -> None:
    pace = Pace(TICK, slot)
    now = start
    for _ in range(200):
        now = pace.following(now)
    assert now - pace.following(start) == pytest.approx(199 * TICK, abs=1e-6)


@given(slot=slots, start=moments, sleep=st.floats(min_value=0.0, max_value=86_400.0))
def test_what_was_missed_is_skipped_not_sent_in_a_burst(slot: float, start: float, sleep: float) -> None:
    pace = Pace(TICK, slot)
    woken = start + sleep
    sent = 0
    now = woken
    while (now := pace.following(now)) <= woken + 1.0:
        sent += 1
    assert abs(sent - 50) <= 1


@given(slots, st.integers(min_value=-5, max_value=5))
def test_a_slot_lies_within_the_tick(slot: float, turns: int) -> None:
    assert 0.0 <= Pace(TICK, slot + turns * TICK).slot < TICK


def test_slots_are_drawn_uniformly_from_the_tick() -> None:
    """Kolmogorov-Smirnov distance of 2,000 seeded draws, against 1.63 / sqrt(n) (one percent)."""
    entropy = SeededEntropy("slots")
    count = 2_000
    drawn = sorted(Pace.at_random(TICK, entropy).slot / TICK for _ in range(count))
    assert max(abs(value - rank / count) for rank, value in enumerate(drawn)) < 1.63 / math.sqrt(count)


def test_a_blurred_departure_is_put_off_by_less_than_the_blur_and_by_nothing_else() -> None:
    pace = Pace(0.020, 0.005, blur=0.002)
    entropy = SeededEntropy("blur")
    put_off = [pace.blurred(index, entropy) - pace.departure(index) for index in range(4000)]
    assert all(0.0 <= moment < 0.002 + 1e-9 for moment in put_off)
    assert abs(sum(put_off) / len(put_off) - 0.001) < 0.0001
    assert Pace(0.020, 0.005).blurred(7, entropy) == Pace(0.020, 0.005).departure(7)
