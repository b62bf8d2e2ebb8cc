"""Chance as an argument.  The only module that asks the operating system for randomness."""

import hashlib
import math
import secrets
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Entropy(Protocol):
    """Where a component gets its chance from: production hands over `SystemEntropy`."""

    def token(self, size: int) -> bytes:
        """`size` uniformly random bytes."""
        ...

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A uniform float in [low, high)."""
        ...

    def exponential(self, mean: float) -> float:
        """An exponentially distributed float: the gap between two events of a Poisson process."""
        ...

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`, each equally likely."""
        ...

    def draw(self, options: Iterable[T], count: int | None = None) -> list[T]:
        """`count` of `options` at most, or all, in random order; none of them twice."""
        ...


class _FromBytes:
    """Every distribution, derived from uniform bytes alone."""

    __slots__ = ()

    def token(self, size: int) -> bytes:
        raise NotImplementedError

    def below(self, bound: int) -> int:
        if bound < 1:
            raise ValueError("bound must be at least 1")
        bits = (bound - 1).bit_length()
        size = (bits + 7) // 8
        while True:
            value = int.from_bytes(self.token(size)) >> (8 * size - bits) if bits else 0
            if value < bound:
                return value

    def _unit(self) -> float:
        return (int.from_bytes(self.token(7)) >> 3) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._unit()

    def exponential(self, mean: float) -> float:
        return -mean * math.log1p(-self._unit())

    def choice(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def draw(self, options: Iterable[T], count: int | None = None) -> list[T]:
        left = list(options)
        most = len(left) if count is None else max(0, min(count, len(left)))
        return [left.pop(self.below(len(left))) for _ in range(most)]


class SystemEntropy(_FromBytes):
    """The operating system's CSPRNG."""

    __slots__ = ()

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)


class SeededEntropy(_FromBytes):
    """Repeatable chance for tests and the lab: SHAKE-256 of a seed and a counter.  Never in production."""

    __slots__ = ("_counter", "_seed")

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed).encode()
        self._counter = 0

    def token(self, size: int) -> bytes:
        self._counter += 1
        block = self._seed + b"/" + str(self._counter).encode()
        return hashlib.shake_256(block).digest(size)
