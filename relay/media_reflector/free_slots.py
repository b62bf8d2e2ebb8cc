"""The free slots of a trunk, drawn at random in constant time, however many there are and however many are taken.

What makes a slot free or taken happens elsewhere (lines leave, codes expire, the far end takes one), and who asks for
a slot of a full trunk must not cost a look at each.  So a slot that is found taken is put aside, and looked at again a
few at a time.
"""

from collections import OrderedDict
from collections.abc import Callable

from relay.core import Entropy
from relay.media_reflector.line import Line

LOOKS_AT_ONCE = 64
"""Slots put aside that one call of `watch` looks at."""


class FreeSlots:
    """Slots in two halves, ours and the far end's.  `is_free` has the last word on each."""

    def __init__(self, is_free: Callable[[Line], bool], entropy: Entropy) -> None:
        self._is_free = is_free
        self._entropy = entropy
        self._free: tuple[list[Line], list[Line]] = [], []
        self._aside: OrderedDict[Line, int] = OrderedDict()
        """Those that were taken when last looked at, and the half that each is of; longest ago first."""

    def add(self, slot: Line, half: int) -> None:
        """A new slot, of half 0 or 1."""
        self._free[half].append(slot)

    def draw(self, first: int) -> Line | None:
        """A free slot, each of half `first` as likely as any other; of the other half only when there is none."""
        for half in (first, 1 - first):
            free = self._free[half]
            while free:
                number = self._entropy.below(len(free))
                slot, free[number] = free[number], free[-1]
                free.pop()
                self._aside[slot] = half
                if self._is_free(slot):
                    return slot
        return None

    def freed(self, slot: Line) -> None:
        """It may be taken again, and need not wait to be looked at."""
        half = self._aside.pop(slot, None)
        if half is not None:
            self._free[half].append(slot)

    def watch(self) -> None:
        """Call it every tenth of a second."""
        for _ in range(min(LOOKS_AT_ONCE, len(self._aside))):
            slot, half = self._aside.popitem(last=False)
            if self._is_free(slot):
                self._free[half].append(slot)
            else:
                self._aside[slot] = half
