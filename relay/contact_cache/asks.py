"""The questions of a pull, as they are put to a peer and to our own store alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from relay.contact_cache.entry import Summary

SHORT_KEY_SIZE = 16
"""Bytes of a key by which points name it to one another: nobody finds two keys that begin alike."""

_KEY_BITS = 256


@dataclass(frozen=True, slots=True)
class AskPeers:
    """Which other contact points do you know?"""


@dataclass(frozen=True, slots=True)
class AskDigests:
    """Digest and count of each of the `CHILDREN` parts of a kind."""

    kind: int


@dataclass(frozen=True, slots=True)
class AskSummary:
    """One page of the summaries of all entries of a prefix, in the order of their keys."""

    kind: int
    bits: int
    prefix: int
    page: int = 0


@dataclass(frozen=True, slots=True)
class AskWanted:
    """The entries whose keys begin so."""

    kind: int
    keys: tuple[bytes, ...]


Ask = AskPeers | AskDigests | AskSummary | AskWanted


def key_range(bits: int, prefix: int) -> tuple[bytes, bytes]:
    """The first and the last key of a prefix."""
    low = prefix << (_KEY_BITS - bits)
    return low.to_bytes(32), (low + (1 << (_KEY_BITS - bits)) - 1).to_bytes(32)


def in_order(summaries: Sequence[Summary], bits: int, prefix: int) -> bool:
    """Whether all keys lie in the prefix and each sorts after the one before."""
    first, last = (key[:SHORT_KEY_SIZE] for key in key_range(bits, prefix))
    keys = [summary.key[:SHORT_KEY_SIZE] for summary in summaries]
    inside = not keys or first <= keys[0] <= keys[-1] <= last
    return inside and all(before < after for before, after in pairwise(keys))
