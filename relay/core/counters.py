"""Counts by reason, in place of logging what hostile peers send."""

from collections.abc import Iterable, Mapping

from relay.core.errors import MisuseError


class Counters:
    """A fixed set of named counts.

    The names are given once, so that no peer can make the set grow.  Counting under another name is a bug
    (`MisuseError`).
    """

    __slots__ = ("_counts",)

    def __init__(self, names: Iterable[str]) -> None:
        self._counts = dict.fromkeys(names, 0)

    def count(self, name: str, amount: int = 1) -> None:
        try:
            self._counts[name] += amount
        except KeyError:
            raise MisuseError("a counter name that was not declared") from None

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> Mapping[str, int]:
        """The counts now, as a copy."""
        return dict(self._counts)
