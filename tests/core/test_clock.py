"""Clocks: the machine's go forward, the manual one moves only when told to."""

import time

import pytest

from relay.core import ManualClock, SystemClock


def test_the_system_clock_reads_the_machine() -> None:
    clock = SystemClock()
    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall() - time.time()) < 5.0


def test_a_manual_clock_stands_until_it_is_moved() -> None:
    clock = ManualClock(monotonic=10.0, wall=20.0)
    assert (clock.monotonic(), clock.wall()) == (10.0, 20.0)
    clock.advance(1.5)
    assert (clock.monotonic(), clock.wall()) == (11.5, 21.5)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-0.1)
