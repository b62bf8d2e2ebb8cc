"""Slots, keys and prefixes, the same for all kinds of entries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.forward_publish import EntryKind, content_of, key_range, page_size, prefix_of
from relay.forward_publish.answers import ANSWER_SIZE, HEADING_SIZE
from relay.forward_publish.entries import check_prefix
from relay.wire import pad

KEYS = st.binary(min_size=32, max_size=32)


def test_slots_of_every_kind_fill_an_answer_exactly() -> None:
    assert [(kind.slot_size, page_size(kind)) for kind in EntryKind] == [(2040, 128), (510, 512), (4080, 64)]
    for kind in EntryKind:
        assert HEADING_SIZE + page_size(kind) * kind.slot_size == ANSWER_SIZE == 262144


@given(KEYS, st.integers(0, 14))
def test_a_key_lies_in_the_range_of_its_prefix_and_of_no_other(key: bytes, bits: int) -> None:
    prefix = prefix_of(key, bits)
    check_prefix(bits, prefix)
    first, last = key_range(bits, prefix)
    assert first <= key <= last
    assert (prefix_of(first, bits), prefix_of(last, bits)) == (prefix, prefix)
    assert int.from_bytes(last) - int.from_bytes(first) + 1 == 1 << (256 - bits)


@pytest.mark.parametrize(("bits", "prefix"), [(-1, 0), (15, 0), (0, 1), (3, 8), (3, -1)])
def test_what_is_no_prefix_is_refused(bits: int, prefix: int) -> None:
    with pytest.raises(PeerError, match="bad prefix"):
        check_prefix(bits, prefix)


def test_more_bits_than_are_ever_asked_are_our_own_mistake() -> None:
    for key, bits in ((bytes(32), 15), (bytes(32), -1), (bytes(31), 3)):
        with pytest.raises(MisuseError):
            prefix_of(key, bits)


@given(st.sampled_from(EntryKind), st.binary(max_size=500))
def test_content_comes_back_from_its_slot(kind: EntryKind, content: bytes) -> None:
    slot = pad(content, kind.slot_size)
    assert content_of(slot, kind) == content
    for wrong, reason in (
        (slot[:-1], "truncated"),
        (slot + b"\0", "oversized"),
        (slot[:-1] + b"\1", "non-canonical"),
        (b"\xff" * kind.slot_size, "non-canonical"),
    ):
        with pytest.raises(PeerError, match=reason):
            content_of(wrong, kind)
