"""What one contact point is told of a key: what it bore out for this key, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.forward_publish import MOST_PREFIX_BITS, KnownBuckets

NOW, LATER = 1000.0, 2000.0
HERE, THERE = "a" * 56, "b" * 56
KEY, OTHER = bytes(32), bytes(31) + b"\x01"


def halved(bits: int, until: float = LATER) -> KnownBuckets:
    """So many bits were borne out for `KEY`."""
    known = KnownBuckets()
    for at in range(bits):
        known.halve(HERE, KEY, at, until, NOW)
    return known


def test_at_first_the_whole_store_is_asked_for() -> None:
    assert KnownBuckets().bits(HERE, KEY, NOW) == 0


def test_what_was_borne_out_bit_by_bit_counts_for_that_key_at_that_contact_point_alone() -> None:
    known = halved(MOST_PREFIX_BITS)
    assert known.bits(HERE, KEY, NOW) == MOST_PREFIX_BITS
    assert known.bits(HERE, OTHER, NOW) == 0, "the key that is next to it"
    assert known.bits(THERE, KEY, NOW) == 0


def test_what_lies_deeper_counts_only_below_what_counts() -> None:
    known = KnownBuckets()
    known.halve(HERE, KEY, 1, LATER, NOW)
    assert known.bits(HERE, KEY, NOW) == 0
    known.halve(HERE, KEY, 0, NOW, NOW)
    known.halve(HERE, KEY, 1, LATER, NOW)
    assert known.bits(HERE, KEY, NOW) == 0, "what expires now is not remembered, nor what was shown below it"
    assert len(known) == 0


def test_it_counts_as_long_as_what_was_seen() -> None:
    known = halved(1)
    known.halve(HERE, KEY, 1, LATER - 1.0, NOW)
    known.halve(HERE, KEY, 2, LATER, NOW)
    assert known.bits(HERE, KEY, LATER - 1.5) == 3
    assert known.bits(HERE, KEY, LATER - 1.0) == 1
    assert known.bits(HERE, KEY, LATER) == 0


def test_what_is_shown_anew_takes_the_place_of_what_was_shown() -> None:
    known = halved(3)
    known.halve(HERE, KEY, 1, LATER + 5.0, NOW)
    assert known.bits(HERE, KEY, NOW) == 2


def test_what_is_not_there_any_more_is_forgotten() -> None:
    known = halved(3)
    known.halve(HERE, OTHER, 0, LATER, NOW)
    known.forget(HERE, KEY)
    known.forget(THERE, KEY)
    assert (known.bits(HERE, KEY, NOW), known.bits(HERE, OTHER, NOW)) == (0, 1)


def test_keys_of_periods_that_are_over_take_no_room() -> None:
    known = halved(3)
    known.halve(HERE, OTHER, 0, 2 * LATER, LATER)
    assert len(known) == 1


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from([HERE, THERE]), st.sampled_from([KEY, OTHER]), st.integers(0, 3)
        ),
        max_size=40,
    )
)
def test_no_lookup_of_one_key_begins_differently_for_another(
    steps: list[tuple[bool, str, bytes, int]],
) -> None:
    """With what was shown for others, and without it."""
    known, alone = KnownBuckets(), KnownBuckets()
    for borne_out, onion, key, bits in steps:
        for one in (known, alone) if (onion, key) == (HERE, KEY) else (known,):
            one.halve(onion, key, bits, LATER, NOW) if borne_out else one.forget(onion, key)
    assert known.bits(HERE, KEY, NOW) == alone.bits(HERE, KEY, NOW)
