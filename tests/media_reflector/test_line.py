"""Slots: lines are spread over the tick."""

from relay.core import SeededEntropy
from relay.media_reflector.forwarding.face import SLOTS
from relay.media_reflector.line import Slots


def test_the_emptier_one_of_two_is_chosen() -> None:
    slots, entropy = Slots(), SeededEntropy("slots")
    taken = []
    for _ in range(2000):
        slot = slots.choose(entropy)
        slots.taken(slot)
        taken.append(slot)
    sizes = [taken.count(slot) for slot in range(SLOTS)]
    # Two choices keep the fullest slot within a few lines of the mean; one choice would not.
    assert max(sizes) - 2000 / SLOTS <= 5
    assert min(sizes) > 80


def test_a_freed_slot_is_filled_again() -> None:
    slots, entropy = Slots(), SeededEntropy("slots")
    for slot in range(SLOTS):
        for _ in range(10):
            slots.taken(slot)
    for _ in range(10):
        slots.freed(7)
    chosen = []
    for _ in range(400):
        slot = slots.choose(entropy)
        chosen.append(slot)
        slots.taken(slot)
        slots.freed(slot)
    assert chosen.count(7) > 20
