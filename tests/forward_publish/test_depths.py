"""How short prefixes have to be, and where their pages begin."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.forward_publish.depths import Counts, depth_of, entries_under, place_of
from relay.forward_publish.entries import key_range


def counted(keys: list[bytes]) -> Counts:
    counts = np.zeros(1 << 14, dtype=np.int32)
    for key in keys:
        counts[int.from_bytes(key[:2]) >> 2] += 1
    return counts


def test_every_prefix_of_the_depth_holds_64() -> None:
    assert depth_of(np.zeros(1 << 14, dtype=np.int32)) == 0
    assert depth_of(np.full(1 << 14, 64, dtype=np.int32)) == 14
    assert depth_of(np.full(1 << 14, 63, dtype=np.int32)) == 13
    halves = np.zeros(1 << 14, dtype=np.int32)
    halves[0], halves[-1] = 64, 63
    assert depth_of(halves) == 0
    halves[-1] = 64
    assert depth_of(halves) == 1
    lonely = np.full(1 << 14, 1000, dtype=np.int32)
    lonely[4711] = 0
    assert depth_of(lonely) == 13


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 200_000))
def test_depth_is_the_deepest_for_which_that_holds(seed: int, entries: int) -> None:
    counts = np.bincount(np.random.default_rng(seed).integers(0, 1 << 14, entries), minlength=1 << 14).astype(
        np.int32
    )
    depth = depth_of(counts)
    assert depth == 0 or counts.reshape(1 << depth, -1).sum(axis=1).min() >= 64
    assert depth == 14 or counts.reshape(1 << (depth + 1), -1).sum(axis=1).min() < 64


@settings(max_examples=50)
@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=60, unique=True),
    st.integers(0, 6),
    st.data(),
)
def test_a_page_begins_where_the_one_before_ended(keys: list[bytes], bits: int, data: st.DataObject) -> None:
    keys.sort()
    counts = counted(keys)
    prefix = data.draw(st.integers(0, 2**bits - 1))
    first, last = key_range(bits, prefix)
    under = [key for key in keys if first <= key <= last]
    assert entries_under(counts, bits, prefix) == len(under)
    for skipped in range(len(under) + 3):
        place = place_of(counts, bits, prefix, skipped)
        if place is None:
            assert skipped
            assert skipped >= len(under)
            continue
        begin = bisect_left(under, place.first) + place.offset
        assert begin == skipped
        assert place.first >= first


@pytest.mark.parametrize("page", [0, 1, 97, 195])
def test_of_many_entries_only_a_few_are_passed_over(page: int) -> None:
    counts = np.full(1 << 14, 7, dtype=np.int32)
    place = place_of(counts, 0, 0, page * 512)
    assert place is not None
    assert place.offset < 7
