"""What one contact point is told of a key: a division of all keys, by what it has shown."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.forward_publish import MOST_PREFIX_BITS, Bucket, EntryKind, KnownBuckets, prefix_of

NOW, LATER = 1000.0, 2000.0
LOW, HIGH = bytes(32), b"\xff" * 32


def shown(bits: int, prefix: int) -> Bucket:
    """A bucket; what is in it was judged already."""
    return Bucket(EntryKind.RECORD, bits, prefix, (), 0, 1, MOST_PREFIX_BITS)


def test_at_first_the_whole_store_is_asked_for() -> None:
    assert KnownBuckets().bits(LOW, NOW) == 0


def test_a_bucket_that_was_borne_out_is_asked_for_by_halves_and_no_further() -> None:
    known = KnownBuckets()
    assert known.halve(shown(0, 0), LATER, NOW)
    assert (known.bits(LOW, NOW), known.bits(HIGH, NOW)) == (1, 1)
    assert known.halve(shown(1, 1), LATER, NOW)
    assert (known.bits(LOW, NOW), known.bits(HIGH, NOW)) == (1, 2), "one bucket says nothing of another"


def test_what_was_not_borne_out_changes_nothing() -> None:
    known = KnownBuckets()
    assert not known.halve(shown(0, 0), 0.0, NOW)
    assert not known.halve(shown(0, 0), NOW, NOW)
    assert known.bits(LOW, NOW) == 0


def test_what_lies_deeper_counts_only_below_what_counts() -> None:
    known = KnownBuckets()
    known.halve(shown(1, 0), LATER, NOW)
    assert known.bits(LOW, NOW) == 0
    known.halve(shown(0, 0), LATER, NOW)
    assert known.bits(LOW, NOW) == 2


def test_it_counts_as_long_as_what_was_seen() -> None:
    known = KnownBuckets()
    known.halve(shown(0, 0), LATER, NOW)
    known.halve(shown(1, 0), LATER - 1.0, NOW)
    assert known.bits(LOW, LATER - 1.5) == 2
    assert known.bits(LOW, LATER - 1.0) == 1
    assert known.bits(LOW, LATER) == 0


def test_where_a_half_was_thin_both_are_asked_for_together_again() -> None:
    known = KnownBuckets()
    for place in (shown(0, 0), shown(1, 0), shown(1, 1)):
        known.halve(place, LATER, NOW)
    known.join(shown(2, 3))
    assert (known.bits(LOW, NOW), known.bits(HIGH, NOW)) == (2, 1)
    known.join(shown(2, 2))
    known.join(shown(0, 0))
    assert (known.bits(LOW, NOW), known.bits(HIGH, NOW)) == (2, 1), "there is nothing to join"


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 13), st.integers(0, 2**13 - 1), st.booleans()), max_size=40),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_how_many_bits_are_told_says_nothing_but_them(
    steps: list[tuple[int, int, bool]], key: bytes, other: bytes
) -> None:
    """Whatever was shown: keys that begin with the same bits are asked for with the same number of them."""
    known = KnownBuckets()
    for bits, seed, borne_out in steps:
        place = shown(bits, prefix_of(key, bits) if seed % 2 else seed % 2**bits)
        known.halve(place, LATER, NOW) if borne_out else known.join(place)
    bits = known.bits(key, NOW)
    assert bits <= MOST_PREFIX_BITS
    if prefix_of(other, bits) == prefix_of(key, bits):
        assert known.bits(other, NOW) == bits
    beside = (int.from_bytes(key) ^ (1 << 255 - bits)).to_bytes(32)
    assert known.bits(beside, NOW) == bits, "the next bit does not matter"
