"""Digests of sets of entries that follow every change by one addition: points compare 4,096 of them, not their sets.

An entry's own digest, 16 bytes, is expanded to 64 numbers of 32 bits; a set is the sum of those, number by number, and
travels as 16 bytes of that sum's hash (the construction of Bellare and Micciancio, 1997, as in LtHash, 2019).  Adding
up the 16 bytes themselves would look as good and be worth little: whoever may add 64 entries of their own to one prefix
finds two sets with one sum modulo 2^128 in 2^18 steps (Wagner's generalized birthday, 2002), and so could keep somebody
else's record from ever being synchronised.  With sums of 2,048 bits and a million entries of their own the same takes
more than 2^110 steps.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CHILD_BITS = 12
"""Bits of the prefix that one digest stands for."""

CHILDREN = 1 << CHILD_BITS
DIGEST_SIZE = 16

EMPTY_DIGEST = bytes(DIGEST_SIZE)
"""The digest of no entries."""

_LANES = 64
_LANE_SIZE = 4
_ENTRY_DOMAIN = b"bayonne entry digest, version 1\x00"
_SET_DOMAIN = b"bayonne set digest, version 1\x00"
_AT_ONCE = 4096
"""Entries whose expansion is in memory at a time: 1 MiB."""


def child_of(key: bytes) -> int:
    """Which of the `CHILDREN` prefixes a key lies in."""
    return int.from_bytes(key[:2]) >> (16 - CHILD_BITS)


def entry_digest(key: bytes, revision: int, body: bytes) -> bytes:
    """16 bytes that stand for one entry; a store may keep them so that it need not read bodies again."""
    written = _ENTRY_DOMAIN + key + revision.to_bytes(8) + hashlib.sha256(body).digest()
    return hashlib.sha256(written).digest()[:DIGEST_SIZE]


class SetDigests:
    """Running digests of `parts` sets, each taking in and giving up entries by their `entry_digest`.

    The order of changes does not matter, and what was added and removed again leaves nothing.
    """

    __slots__ = ("_changed", "_digests", "_sums")

    def __init__(self, parts: int = CHILDREN) -> None:
        self._sums = np.zeros((parts, _LANES), dtype=np.uint32)
        self._digests = [EMPTY_DIGEST] * parts
        self._changed: set[int] = set()
        """Parts whose digest is to be computed again when somebody asks."""

    def add(self, part: int, digest: bytes) -> None:
        self._sums[part] += _expand([digest])[0]
        self._changed.add(part)

    def remove(self, part: int, digest: bytes) -> None:
        """Take out what was added to this very part."""
        self._sums[part] -= _expand([digest])[0]
        self._changed.add(part)

    def add_many(self, parts: npt.NDArray[np.int64], digests: Sequence[bytes]) -> None:
        """The same as `add` for each pair."""
        for start in range(0, len(digests), _AT_ONCE):
            some = parts[start : start + _AT_ONCE]
            order = np.argsort(some, kind="stable")
            touched, first = np.unique(some[order], return_index=True)
            lanes = _expand(digests[start : start + _AT_ONCE])[order]
            self._sums[touched] += np.add.reduceat(lanes, first, axis=0, dtype=np.uint32)
            self._changed.update(touched.tolist())

    def digests(self) -> Sequence[bytes]:
        """The digest of each part, `DIGEST_SIZE` bytes; a part without entries has `EMPTY_DIGEST`."""
        for part in self._changed:
            self._digests[part] = self._digest(part)
        self._changed.clear()
        return tuple(self._digests)

    def _digest(self, part: int) -> bytes:
        total = self._sums[part]
        if not total.any():
            return EMPTY_DIGEST
        return hashlib.sha256(_SET_DOMAIN + total.astype(">u4").tobytes()).digest()[:DIGEST_SIZE]


def _expand(digests: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """One row of lanes for each digest."""
    size = _LANES * _LANE_SIZE
    expanded = b"".join(hashlib.shake_256(digest).digest(size) for digest in digests)
    return np.frombuffer(expanded, dtype=">u4").reshape(-1, _LANES).astype(np.uint32)
