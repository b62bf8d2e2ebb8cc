"""How many entries of one kind lie under each prefix, and the digests of those: in memory, always current.

Depth of buckets and synchronisation ask for these all the time; a database would count a million rows for each answer.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from relay.contact_cache.digests import CHILD_BITS, CHILDREN, SetDigests

COUNT_BITS = 14
"""The finest buckets that are ever asked for."""


class Tally:
    """Counts by the first 14 bits of the keys, digests by the first 12."""

    __slots__ = ("_counts", "_digests", "_total", "_view")

    def __init__(self) -> None:
        self._counts = np.zeros(1 << COUNT_BITS, dtype=np.int32)
        self._view = self._counts.view()
        self._view.flags.writeable = False
        self._digests = SetDigests()
        self._total = 0

    @property
    def counts(self) -> npt.NDArray[np.int32]:
        """2^14 counts that go on changing: a view, not a copy, and not to be written."""
        return self._view

    @property
    def total(self) -> int:
        return self._total

    def children(self) -> Sequence[tuple[bytes, int]]:
        """Digest and count of each of the 4096 prefixes of 12 bits, in order."""
        counts = self._counts.reshape(CHILDREN, -1).sum(axis=1).tolist()
        return list(zip(self._digests.digests(), counts, strict=True))

    def add(self, key: bytes, digest: bytes) -> None:
        """Count an entry in; `digest` is its `entry_digest`."""
        place = _place(key)
        self._digests.add(place >> (COUNT_BITS - CHILD_BITS), digest)
        self._counts[place] += 1
        self._total += 1

    def add_many(self, keys: Sequence[bytes], digests: Sequence[bytes]) -> None:
        """The same as `add` for each pair, many times faster."""
        places = np.array([_place(key) for key in keys], dtype=np.int64)
        self._digests.add_many(places >> (COUNT_BITS - CHILD_BITS), digests)
        np.add.at(self._counts, places, 1)
        self._total += len(keys)

    def remove(self, key: bytes, digest: bytes) -> None:
        """Take out what was added with these very values.

        Where another program of a cluster brought it, it was never added here, and there may be nothing to take out.
        """
        place = _place(key)
        if not self._counts[place]:
            return
        self._digests.remove(place >> (COUNT_BITS - CHILD_BITS), digest)
        self._counts[place] -= 1
        self._total -= 1


def _place(key: bytes) -> int:
    return int.from_bytes(key[:2]) >> (16 - COUNT_BITS)
