"""How often anybody is heard by the control plane: nobody who says the same again and again may drown who speaks up
once.

Ticks only go forward: what comes under one that is over counts in the latest (native/limit.rs says why).
"""

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

from relay.media_reflector.forwarding.face import EASE, PERIOD_TICKS

Key = TypeVar("Key", bound=Hashable)

_BEFORE_ALL = -(1 << 63)


class Limit(Generic[Key]):
    """Who was heard: in this tick, and how often lately."""

    __slots__ = ("_before", "_heard", "_per_tick", "_recent", "_repeaters", "_tick")

    def __init__(self, per_tick: int) -> None:
        """Half of `per_tick` for repeaters."""
        self._per_tick = per_tick
        self._tick = _BEFORE_ALL
        self._heard: set[Key] = set()
        self._repeaters = 0
        self._recent: Counter[Key] = Counter()
        self._before: Counter[Key] = Counter()

    def allows(self, key: Key, tick: int) -> bool:
        """Whether `key` may be heard in this tick."""
        if tick > self._tick:
            self._turn(tick)
        if len(self._heard) >= self._per_tick or key in self._heard:
            return False
        return self._repeaters < self._per_tick // 2 or not self._repeats(key)

    def heard(self, key: Key) -> None:
        """`key`, which `allows` let through just now, was heard."""
        self._repeaters += self._repeats(key)
        self._heard.add(key)
        self._recent[key] += 1

    def _repeats(self, key: Key) -> bool:
        return self._recent[key] + self._before[key] >= EASE

    def _turn(self, tick: int) -> None:
        last, now = self._tick // PERIOD_TICKS, tick // PERIOD_TICKS
        if now != last:
            self._before = self._recent if now == last + 1 else Counter()
            self._recent = Counter()
        self._tick = tick
        self._heard.clear()
        self._repeaters = 0


class Crowd(Generic[Key]):
    """How many lines of one address were heard in this tick: a trunk's slots, thousands of them, all have that of the
    far end."""

    __slots__ = ("_heard", "_most", "_tick")

    def __init__(self, most: int) -> None:
        self._most = most
        self._tick = _BEFORE_ALL
        self._heard: Counter[Key] = Counter()

    def allows(self, address: Key, tick: int) -> bool:
        """Whether one more line of `address` may be heard in this tick."""
        if tick > self._tick:
            self._tick = tick
            self._heard.clear()
        return self._heard[address] < self._most

    def heard(self, address: Key) -> None:
        """A line of `address`, which `allows` let through just now, was heard."""
        self._heard[address] += 1
