"""Of which buckets both halves hold 64 entries, and where pages begin."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.forward_publish.depths import Counts, entries_under, is_wide, place_of
from relay.forward_publish.entries import key_range


def counted(keys: list[bytes]) -> Counts:
    counts = np.zeros(1 << 14, dtype=np.int32)
    for key in keys:
        counts[int.from_bytes(key[:2]) >> 2] += 1
    return counts


def test_a_bucket_is_wide_whose_halves_both_hold_64() -> None:
    counts = np.zeros(1 << 14, dtype=np.int32)
    assert not is_wide(counts, 0, 0)
    counts[0], counts[-1] = 64, 63
    assert not is_wide(counts, 0, 0)
    counts[-1] = 64
    assert is_wide(counts, 0, 0)
    assert not is_wide(counts, 1, 0), "all of its lower half"
    counts[1 << 12] = 64
    assert is_wide(counts, 1, 0)
    assert not is_wide(counts, 1, 1)


def test_a_bucket_is_as_wide_as_it_is_whatever_lies_elsewhere() -> None:
    counts = np.zeros(1 << 14, dtype=np.int32)
    counts[4710:4712] = 64
    assert is_wide(counts, 13, 2355)
    assert not any(is_wide(counts, 13, prefix) for prefix in (2354, 2356))
    assert not is_wide(counts, 12, 2355 >> 1)
    assert not is_wide(np.full(1 << 14, 1000, dtype=np.int32), 14, 4711), "nobody asks with more bits"


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
