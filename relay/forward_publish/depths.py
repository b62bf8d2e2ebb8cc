"""Of which buckets both halves hold at least 64 entries, and where the pages of a bucket begin.

The contact point's half; what a client makes of it is in `relay.forward_publish.bucket`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from relay.forward_publish.entries import LEAST_IN_BUCKET, MOST_PREFIX_BITS, key_range

Counts = npt.NDArray[np.int32]
"""How many entries lie under each of the 2^14 longest prefixes."""


class Place(NamedTuple):
    """Where a page begins: so many entries behind the first whose key is `first` or higher."""

    first: bytes
    offset: int


def is_wide(counts: Counts, bits: int, prefix: int) -> bool:
    """Whether both halves of a bucket hold at least 64 entries, and may be asked for; one of 14 bits has no halves."""
    return bits < MOST_PREFIX_BITS and all(
        entries_under(counts, bits + 1, half) >= LEAST_IN_BUCKET for half in (2 * prefix, 2 * prefix + 1)
    )


def entries_under(counts: Counts, bits: int, prefix: int) -> int:
    """How many entries lie under a prefix."""
    return int(_part(counts, bits, prefix).sum())


def place_of(counts: Counts, bits: int, prefix: int, skipped: int) -> Place | None:
    """Where to begin reading so that `skipped` entries of the prefix are passed over; None where it has no more.

    By the counts most of them are passed over without being read: the last page of 100,000 listings costs a store no
    more than the first.
    """
    if not skipped:
        return Place(key_range(bits, prefix)[0], 0)
    reached = np.cumsum(_part(counts, bits, prefix), dtype=np.int64)
    cell = int(np.searchsorted(reached, skipped, side="right"))
    if cell == len(reached):
        return None
    span = len(reached)
    before = int(reached[cell - 1]) if cell else 0
    return Place(key_range(MOST_PREFIX_BITS, prefix * span + cell)[0], skipped - before)


def _part(counts: Counts, bits: int, prefix: int) -> Counts:
    span = 1 << (MOST_PREFIX_BITS - bits)
    return counts[prefix * span : (prefix + 1) * span]
