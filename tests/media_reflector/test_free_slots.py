"""Drawing free slots: each as likely as the other, ours before theirs, and never a look at all of them."""

from collections import Counter

import pytest

from relay.core import SeededEntropy
from relay.media_reflector.free_slots import LOOKS_AT_ONCE, FreeSlots
from relay.media_reflector.line import Line


class Bench:
    """Slots, of even and odd halves, of which some are taken; counts how often anybody looked."""

    def __init__(self, count: int) -> None:
        self.slots = [Line(number, 0, None, trunk=True) for number in range(count)]  # type: ignore[arg-type]
        self.taken: set[Line] = set()
        self.looks = 0
        self.free = FreeSlots(self._is_free, SeededEntropy("free slots"))
        for slot in self.slots:
            self.free.add(slot, slot.number % 2)

    def _is_free(self, slot: Line) -> bool:
        self.looks += 1
        return slot not in self.taken

    def take(self, half: int = 0) -> Line | None:
        slot = self.free.draw(half)
        if slot is not None:
            assert slot not in self.taken
            self.taken.add(slot)
        return slot


def test_all_are_found_one_half_before_the_other() -> None:
    bench = Bench(9)
    drawn = [bench.take(1) for _ in range(9)]
    halves = [slot.number % 2 for slot in drawn if slot is not None]
    assert halves == [1] * 4 + [0] * 5
    assert bench.take(1) is None


def test_each_is_as_likely_as_the_others() -> None:
    bench = Bench(10)
    drawn: Counter[int] = Counter()
    for _ in range(5000):
        slot = bench.take()
        assert slot is not None
        drawn[slot.number] += 1
        bench.taken.clear()
        bench.free.freed(slot)
    assert set(drawn) == {0, 2, 4, 6, 8}
    assert all(900 < count < 1100 for count in drawn.values())


def test_a_full_trunk_costs_nobody_a_look() -> None:
    bench = Bench(4096)
    bench.taken.update(bench.slots)
    assert bench.take() is None
    bench.looks = 0
    for _ in range(100):
        assert bench.take() is None
    assert bench.looks == 0
    bench.free.watch()
    assert bench.looks == LOOKS_AT_ONCE


def test_what_came_free_unsaid_is_found_in_time() -> None:
    bench = Bench(200)
    bench.taken.update(bench.slots)
    assert bench.take() is None
    bench.taken.remove(bench.slots[150])
    for _ in range(4):
        bench.free.watch()
    assert bench.take() is bench.slots[150]
    assert bench.take() is None


@pytest.mark.parametrize("said", [0, 1, 3])
def test_a_slot_that_is_freed_can_be_drawn_at_once_and_once(said: int) -> None:
    bench = Bench(3)
    slots = [bench.take() for _ in range(3)]
    assert slots[0] is not None
    bench.taken.remove(slots[0])
    for _ in range(said):
        bench.free.freed(slots[0])
    bench.free.watch()
    assert bench.take() is slots[0]
    assert bench.take() is None
