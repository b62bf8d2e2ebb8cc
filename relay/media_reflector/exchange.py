"""The exchange: crosses the two lines that sent the same join code.

It knows lines by the objects it was handed and codes by their bytes, and forgets a code with its second line.
"""

from enum import Enum, auto
from typing import Generic, TypeVar

WAITING_LIMIT = 120.0
"""Seconds that a code waits for its other line."""

L = TypeVar("L")


class Outcome(Enum):
    """What became of a JOIN."""

    WAITING = auto()
    CROSSED = auto()
    REFUSED = auto()


class Exchange(Generic[L]):
    """Join codes and the lines behind them.  Bounded by the number of lines: each holds one code at most."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[L, float]] = {}
        """In order of arrival, which is the order of expiry."""
        self._crossed: dict[bytes, tuple[L, L]] = {}
        self._codes: dict[L, bytes] = {}

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def crossings(self) -> int:
        return len(self._crossed)

    def join(self, line: L, code: bytes, now: float) -> tuple[Outcome, L | None]:
        """Let `line` in under `code`; (outcome, the other line once there are two).  Idempotent.

        A line that is under another code leaves that one first.
        """
        self.expire(now)
        if (pair := self._crossed.get(code)) is not None:
            if line not in pair:
                return Outcome.REFUSED, None
            return Outcome.CROSSED, pair[1] if pair[0] is line else pair[0]
        if self._codes.get(line) == code:
            return Outcome.WAITING, None
        self.leave(line)
        self._codes[line] = code
        if code not in self._waiting:
            self._waiting[code] = (line, now)
            return Outcome.WAITING, None
        other = self._waiting.pop(code)[0]
        self._crossed[code] = (other, line)
        return Outcome.CROSSED, other

    def leave(self, line: L) -> L | None:
        """Forget the code that `line` is under; gives the line it was crossed with."""
        code = self._codes.pop(line, None)
        if code is None:
            return None
        self._waiting.pop(code, None)
        pair = self._crossed.pop(code, None)
        if pair is None:
            return None
        other = pair[1] if pair[0] is line else pair[0]
        self._codes.pop(other, None)
        return other

    def code_of(self, line: L) -> bytes | None:
        return self._codes.get(line)

    def other_of(self, line: L) -> L | None:
        """The line that `line` is crossed with."""
        pair = self._crossed.get(self._codes.get(line, b""))
        if pair is None:
            return None
        return pair[1] if pair[0] is line else pair[0]

    def knows(self, code: bytes) -> bool:
        """Whether some line is under `code`."""
        return code in self._waiting or code in self._crossed

    def expire(self, now: float) -> None:
        """Forget codes whose other line did not come in time."""
        while self._waiting:
            code, (line, since) = next(iter(self._waiting.items()))
            if now - since < WAITING_LIMIT:
                break
            del self._waiting[code]
            del self._codes[line]
