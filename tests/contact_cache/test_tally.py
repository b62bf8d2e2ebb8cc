"""Counts and digests by prefix, one by one and by thousands."""

import numpy as np
import pytest

from relay.contact_cache.digests import EMPTY_DIGEST, entry_digest
from relay.contact_cache.tally import Tally
from relay.core import SeededEntropy


def pairs(count: int) -> list[tuple[bytes, bytes]]:
    entropy = SeededEntropy("tally")
    return [(key, entry_digest(key, 1, b"body")) for key in (entropy.token(32) for _ in range(count))]


def test_keys_are_counted_where_their_first_bits_say() -> None:
    tally = Tally()
    tally.add(b"\x00\x03" + bytes(30), bytes(16))
    tally.add(b"\x00\x04" + bytes(30), bytes(16))
    tally.add(b"\xff\xff" + bytes(30), bytes(16))
    assert np.flatnonzero(tally.counts).tolist() == [0, 1, 2**14 - 1]
    assert [(place, count) for place, (_, count) in enumerate(tally.children()) if count] == [
        (0, 2),
        (4095, 1),
    ]
    assert tally.total == 3


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    some = pairs(3000)
    slow, fast = Tally(), Tally()
    for key, digest in some:
        slow.add(key, digest)
    fast.add_many([key for key, _ in some[:1]], [digest for _, digest in some[:1]])
    fast.add_many([key for key, _ in some[1:]], [digest for _, digest in some[1:]])
    assert fast.children() == slow.children()
    assert (fast.counts == slow.counts).all()
    assert fast.total == slow.total == 3000


def test_what_was_taken_out_leaves_nothing() -> None:
    some = pairs(200)
    tally = Tally()
    for key, digest in some:
        tally.add(key, digest)
    for key, digest in reversed(some):
        tally.remove(key, digest)
    assert set(tally.children()) == {(EMPTY_DIGEST, 0)}
    assert not tally.counts.any()
    assert tally.total == 0


def test_what_was_never_counted_cannot_be_taken_out() -> None:
    tally = Tally()
    tally.remove(bytes(32), bytes(16))
    assert tally.total == 0
    assert not tally.counts.any()


def test_counts_are_not_for_writing() -> None:
    counts = Tally().counts
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 1
