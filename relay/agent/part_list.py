"""The list of a vault's parts: which there are, and how often each was written.

With it a part that is gone is told from one that never was, and one that somebody put back from an earlier day from the
one that was kept last.  Sans-IO; `relay.agent.sealed_files` keeps it, as a part of its own, twice.

Whoever puts back everything at once, the list too, is not found out: that takes a counter outside of the disk.  Who
puts back a part with the lists of then, or damages the newer list and undoes the last write, is found out by other
parts alone, which are two generations on; who damages both lists, by that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from relay.core import Entropy, PeerError
from relay.wire import decode, encode

MOST_NAMES = 1000
MARK_SIZE = 16
"""Bytes before a part's content: half for which vault it is of, half for its generation."""

_HALF = MARK_SIZE // 2
_LARGEST = 1 << 16


class Fault(StrEnum):
    """What is wrong with a part that can be opened; for people."""

    OLDER = "is an older one than was kept last"
    AHEAD = "is a newer one than the list of parts knows of, which is an older one then"


class _Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    generation: int
    there: bool
    """Not any more, where it is false: the generations of whatever takes its place go on from there."""


class _List(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    revision: int
    beginning: bytes
    parts: dict[str, _Part]


_Parts: TypeAlias = Mapping[str, _Part]


@dataclass(frozen=True, slots=True)
class PartList:
    """One state of it; `revision` grows with every change.  `beginning` is a number of the vault's own, drawn when it
    was made, also by an import."""

    beginning: bytes = field(repr=False)
    revision: int = 0
    parts: _Parts = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def new(cls, entropy: Entropy) -> "PartList":
        return cls(entropy.token(_HALF))

    @classmethod
    def from_bytes(cls, content: bytes) -> "PartList":
        """Raises `PeerError`."""
        read = decode(content, _List, limit=_LARGEST)
        numbers = (read.revision, *(part.generation for part in read.parts.values()))
        sound = read.version == 1 and len(read.beginning) == _HALF and min(numbers) >= 0
        if not sound or len(read.parts) > MOST_NAMES:
            raise PeerError("damaged part")
        return cls(read.beginning, read.revision, MappingProxyType(read.parts))

    def to_bytes(self) -> bytes:
        return encode(_List(1, self.revision, self.beginning, dict(sorted(self.parts.items()))))

    @property
    def names(self) -> frozenset[str]:
        """What is kept now."""
        return frozenset(name for name, part in self.parts.items() if part.there)

    def mark(self, name: str) -> bytes:
        """What the next content of a part begins with."""
        return self.beginning + (self._generation(name) + 1).to_bytes(_HALF)

    def fault(self, name: str, mark: bytes) -> Fault | None:
        """What is wrong with a part whose content begins with `mark`.

        It is written before the list is: whoever is killed in between leaves it one ahead.
        """
        generation, known = int.from_bytes(mark[_HALF:]), self._generation(name)
        if mark[:_HALF] != self.beginning or generation < known:
            return Fault.OLDER
        return Fault.AHEAD if generation > known + 1 else None

    def written(self, name: str, mark: bytes) -> "PartList":
        generation = max(self._generation(name), int.from_bytes(mark[_HALF:]))
        return self._with(name, _Part(generation, there=True))

    def counted(self, name: str, mark: bytes) -> "PartList":
        """With a part that was put in its place by somebody who was killed then, whether it is kept or not: else the
        next one would have the same generation, and this one could take its place."""
        generation = int.from_bytes(mark[_HALF:])
        if mark[:_HALF] != self.beginning or generation != self._generation(name) + 1:
            return self
        return self._with(name, _Part(generation, there=name in self.names))

    def removed(self, name: str) -> "PartList":
        return self._with(name, _Part(self._generation(name) + 1, there=False))

    def _generation(self, name: str) -> int:
        part = self.parts.get(name)
        return part.generation if part is not None else 0

    def _with(self, name: str, part: _Part) -> "PartList":
        parts = MappingProxyType({**self.parts, name: part})
        return PartList(self.beginning, self.revision + 1, parts)
