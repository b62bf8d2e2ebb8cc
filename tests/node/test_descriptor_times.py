"""When a descriptor goes out: well before it runs out, soon after it says something else, not at once and not often."""

import functools
import itertools
from collections.abc import Callable

import pytest

from relay.core import SeededEntropy
from relay.media_reflector import Descriptor, ReflectorKeys
from relay.media_reflector.descriptor import VALIDITY
from relay.node.descriptor_times import (
    AFTER_CHANGE,
    AFTER_START,
    GAP,
    RENEWED,
    RETRY_MOST,
    URGENT_GAP,
    DescriptorTimes,
)

KEYS = ReflectorKeys.generate(SeededEntropy("times"))
WALL = 1_800_000_000.0
HERE, THERE = ("192.0.2.1", 7210), ("192.0.2.2", 7210)

Says = Callable[[float], Descriptor]


@functools.lru_cache
def told(address: tuple[str, int] = HERE, *, wall: float = WALL, **says: int | bool) -> Descriptor:
    return KEYS.descriptor("a" * 56, [address], wall, capacity=100, **says)  # type: ignore[arg-type]


def played(
    says: Says,
    seconds: float,
    times: DescriptorTimes | None = None,
    *,
    taken: bool = True,
    began: float = 0.0,
    every: int = 1,
) -> list[float]:
    """When it was published, looked at `every` few seconds."""
    times, found = times or DescriptorTimes(SeededEntropy(7)), []
    for second in range(0, int(seconds), every):
        now = began + second
        times.look(says(now), now)
        if times.due(now):
            found.append(now)
            if taken:
                times.done(says(now), now)
            else:
                times.failed(now)
    return found


def gaps(moments: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(moments)]


def test_what_stays_the_same_is_renewed_long_before_it_runs_out() -> None:
    moments = played(lambda now: told(wall=WALL + now // 3600 * 3600), 2 * 86400, every=20)
    assert AFTER_START[0] <= moments[0] <= AFTER_START[1] + 20
    assert all(RENEWED[0] <= gap <= RENEWED[1] + 20 for gap in gaps(moments))
    assert len(set(gaps(moments))) > 5, "and at no time that could be told beforehand"
    assert 4 * RENEWED[1] < VALIDITY


@pytest.mark.parametrize("change", [told(THERE), told(draining=True)])
def test_what_agents_must_not_miss_is_told_soon_and_not_at_once(change: Descriptor) -> None:
    moments = played(lambda now: told() if now < 5000 else change, 6000)
    assert len(moments) == 2
    assert AFTER_CHANGE[0] <= moments[1] - 5000 <= AFTER_CHANGE[1] + 1


def test_what_lines_bring_about_is_told_no_oftener_than_every_ten_minutes() -> None:
    moments = played(lambda now: told(occupancy=int(now // 60) % 4), 6 * 3600)
    assert all(gap >= GAP for gap in gaps(moments))
    assert len(moments) > 6 * 3600 / (GAP + AFTER_CHANGE[1] + 60) - 2


def test_no_reload_and_no_drain_makes_it_go_out_oftener_than_twice_a_minute() -> None:
    moments = played(lambda now: told(THERE if int(now) % 2 else HERE, draining=int(now) % 3 == 0), 3600)
    assert min(gaps(moments)) >= URGENT_GAP


def test_a_drain_does_not_wait_for_what_is_less_urgent() -> None:
    def says(now: float) -> Descriptor:
        return told(occupancy=int(now >= 100), draining=now >= 200)

    moments = played(says, 1000)
    assert len(moments) == 2
    assert 200 + AFTER_CHANGE[0] <= moments[1] <= 200 + AFTER_CHANGE[1] + 1


def test_changes_do_not_go_out_at_one_distance_from_what_caused_them() -> None:
    delays = set()
    for seed in range(20):
        times = DescriptorTimes(SeededEntropy(seed))
        moments = played(lambda now: told() if now < 300 else told(THERE), 360, times)
        delays.add(moments[1] - 300)
    assert len(delays) > 10


def test_where_nobody_takes_it_it_is_tried_less_and_less() -> None:
    times = DescriptorTimes(SeededEntropy(7))
    moments = played(lambda _: told(), 20_000, times, taken=False)
    assert moments[1] - moments[0] < 20
    assert max(gaps(moments)) <= RETRY_MOST + 1
    assert 20 < len(moments) < 50
    assert not times.is_out(told())
    after = played(lambda _: told(), 2 * RETRY_MOST, times, began=20_000)
    assert len(after) == 1
    assert times.is_out(told(wall=WALL + 3600)), "dates apart"
    assert not times.is_out(told(THERE))


def test_other_contact_points_are_told_anew() -> None:
    times = DescriptorTimes(SeededEntropy(7))
    played(lambda _: told(), 100, times)
    times.elsewhere()
    assert not times.is_out(told())
    assert len(played(lambda _: told(), 100, times, began=100)) == 1
