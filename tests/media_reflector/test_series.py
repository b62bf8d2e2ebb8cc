"""Descriptors one after the other: what says something else is dated later, whatever the clock and the process do."""

import itertools
from collections.abc import Iterator

from relay.core import SeededEntropy
from relay.media_reflector import Descriptor, ReflectorKeys, ReflectorReference, verify_descriptor
from relay.media_reflector.descriptor import CLOCK_SKEW, VALIDITY
from relay.media_reflector.series import HOUR, MOST_LATER, DescriptorSeries

KEYS = ReflectorKeys.generate(SeededEntropy("series"))
ONION = "a" * 56
REFERENCE = ReflectorReference(ONION, KEYS.public_identity)
WALL = 1_800_000_000.0
START = int(WALL) // HOUR * HOUR


def told(wall: float, **says: bool | int) -> Descriptor:
    return KEYS.descriptor(ONION, [("192.0.2.1", 7210)], wall, capacity=100, **says)  # type: ignore[arg-type]


def read(signed: bytes, wall: float) -> Descriptor:
    return verify_descriptor(signed, REFERENCE, wall)


def changing() -> Iterator[dict[str, bool | int]]:
    return itertools.cycle(({"occupancy": 1}, {"occupancy": 2}, {"draining": True}, {}))


def test_the_first_one_of_an_hour_says_the_hour_and_no_more() -> None:
    series = DescriptorSeries(KEYS.sign)
    first = series.signed(told(WALL))
    assert first == series.signed(told(START + HOUR - 1)) == KEYS.sign(told(WALL))
    assert read(first, WALL).valid_from == series.last == START
    assert read(series.signed(told(WALL + HOUR)), WALL + HOUR).valid_from == START + HOUR


def test_what_says_something_else_in_the_same_hour_is_dated_later() -> None:
    series, dates = DescriptorSeries(KEYS.sign), []
    for says, _ in zip(changing(), range(10), strict=False):
        found = read(series.signed(told(WALL, **says)), WALL)
        assert found.occupancy == says.get("occupancy", 0)
        assert found.draining == says.get("draining", False)
        assert found.valid_until - found.valid_from == VALIDITY
        dates.append(found.valid_from)
    assert dates == [START + number for number in range(10)], "the seconds count, and say no time"


def test_a_new_process_goes_on_where_the_old_one_ended() -> None:
    old = DescriptorSeries(KEYS.sign)
    for says in ({}, {"occupancy": 1}, {"draining": True}):
        old.signed(told(WALL, **says))
    new = DescriptorSeries(KEYS.sign, old.last)
    assert read(new.signed(told(WALL)), WALL).valid_from == old.last + 1
    # And what a process says that remembers nothing would count as older.
    assert read(DescriptorSeries(KEYS.sign).signed(told(WALL)), WALL).valid_from < old.last


def test_what_somebody_has_a_later_one_of_is_overtaken() -> None:
    series = DescriptorSeries(KEYS.sign)
    first = read(series.signed(told(WALL)), WALL).valid_from
    series.overtake(3)
    second = series.signed(told(WALL))
    assert read(second, WALL).valid_from == first + 4
    assert series.signed(told(WALL)) == second, "once"


def test_no_number_of_changes_and_no_wrong_clock_makes_a_date_that_nobody_takes() -> None:
    series = DescriptorSeries(KEYS.sign, last=START + 400 * 86400)
    for says, _ in zip(changing(), range(5), strict=False):
        series.overtake(10_000)
        assert read(series.signed(told(WALL, **says)), START).valid_from == START + MOST_LATER
    assert MOST_LATER < CLOCK_SKEW
    after = read(series.signed(told(WALL + HOUR)), WALL + HOUR)
    assert after.valid_from == START + HOUR, "and in the next hour all is well"
