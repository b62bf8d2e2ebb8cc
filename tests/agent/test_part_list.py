"""The list of a vault's parts: what it takes for the latest, for an old one, for one that never was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import encode

from relay.agent.part_list import MARK_SIZE, MOST_NAMES, Fault, PartList
from relay.core import PeerError, SeededEntropy

NAMES = st.sampled_from(["contacts.json", "identity.key", "zids"])


def new(seed: int = 1) -> PartList:
    return PartList.new(SeededEntropy(seed))


def test_what_was_written_last_is_whole_and_what_was_before_is_old() -> None:
    listed, marks = new(), []
    for _ in range(3):
        marks.append(listed.mark("zids"))
        assert len(marks[-1]) == MARK_SIZE
        listed = listed.written("zids", marks[-1])
    assert [listed.fault("zids", mark) for mark in marks] == [Fault.OLDER, Fault.OLDER, None]


def test_one_that_is_not_listed_yet_counts_and_one_beyond_that_does_not() -> None:
    listed = new()
    first = listed.mark("zids")
    once = listed.written("zids", first)
    ahead = once.mark("zids")
    twice = once.written("zids", ahead)
    assert once.fault("zids", ahead) is None, "whoever wrote it was killed then"
    assert once.fault("zids", twice.mark("zids")) is Fault.AHEAD, "the list was put back"


def test_what_was_removed_does_not_come_back() -> None:
    listed = new()
    mark = listed.mark("zids")
    removed = listed.written("zids", mark).removed("zids")
    assert removed.names == frozenset()
    again = removed.written("zids", removed.mark("zids"))
    assert again.fault("zids", mark) is Fault.OLDER


def test_parts_of_another_vault_or_of_before_an_import_are_old_ones() -> None:
    mine, other = new(1), new(2)
    assert mine.written("zids", mine.mark("zids")).fault("zids", other.mark("zids")) is Fault.OLDER
    assert mine.fault("zids", bytes(MARK_SIZE)) is Fault.OLDER
    assert mine.fault("zids", b"") is Fault.OLDER


def test_one_that_was_never_listed_is_counted_before_the_next_which_is_not_taken_for_it() -> None:
    listed = new()
    for kept in (listed, listed.written("zids", listed.mark("zids"))):
        unlisted = kept.mark("zids")
        counted = kept.counted("zids", unlisted)
        assert counted.names == kept.names
        assert counted.written("zids", counted.mark("zids")).fault("zids", unlisted) is Fault.OLDER
        for other in (b"", bytes(MARK_SIZE), new(2).mark("zids"), counted.counted("zids", b"").mark("zids")):
            assert kept.counted("zids", other) is kept


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=20))
def test_it_comes_back_as_it_went_and_counts_its_changes(changes: list[tuple[str, bool]]) -> None:
    listed, there = new(), set[str]()
    for name, writes in changes:
        before = listed
        if writes:
            listed = listed.written(name, listed.mark(name))
            there.add(name)
        else:
            listed = listed.removed(name)
            there.discard(name)
        assert listed.revision == before.revision + 1
        assert listed.names == there
        assert PartList.from_bytes(listed.to_bytes()) == listed


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        encode([2, 0, bytes(8), {}]),
        encode([1, -1, bytes(8), {}]),
        encode([1, 0, bytes(7), {}]),
        encode([1, 0, bytes(8), {"zids": [-1, True]}]),
        encode([1, 0, bytes(8), {f"{number:04}": [1, True] for number in range(MOST_NAMES + 1)}]),
    ],
)
def test_what_is_no_list_is_damage(content: bytes) -> None:
    with pytest.raises(PeerError):
        PartList.from_bytes(content)
