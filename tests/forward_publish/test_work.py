"""Proof of work: for one slot, found in small steps, dearer where there is less room."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.forward_publish import MOST_WORK, ContactPointLimits, EntryKind
from relay.forward_publish.work import (
    BASE_BITS,
    MOST_BITS,
    WORK_SIZE,
    bits_wanted,
    do_work,
    grind,
    work_bits,
)


@dataclass(frozen=True)
class Slot:
    """As much of an entry as work is for."""

    kind: int = 1
    key: bytes = bytes(32)
    revision: int = 5
    body: bytes = b"slot"


def test_what_is_found_is_enough_and_the_least() -> None:
    for bits in (0, 1, 8, BASE_BITS):
        work = do_work(Slot(), bits)
        assert len(work) == WORK_SIZE
        assert work_bits(Slot(), work) >= bits
        nonce = int.from_bytes(work)
        assert all(work_bits(Slot(), less.to_bytes(WORK_SIZE)) < bits for less in range(nonce))


def test_work_is_for_one_slot_alone() -> None:
    work = do_work(Slot(), 16)
    for other in (
        replace(Slot(), kind=2),
        replace(Slot(), key=b"\1" * 32),
        replace(Slot(), revision=6),
        replace(Slot(), body=b"another"),
    ):
        assert work_bits(other, work) < 16


def test_it_is_done_in_steps() -> None:
    steps = list(grind(Slot(), 13))
    assert steps[-1] is not None
    assert set(steps[:-1]) <= {None}
    assert len(steps) == int.from_bytes(steps[-1]) // 256 + 1


@pytest.mark.parametrize(
    ("count", "bits"),
    [(0, 12), (500, 12), (549, 12), (550, 13), (599, 13), (600, 14), (950, 21), (999, 21), (1000, 22)],
)
def test_a_fuller_store_wants_more(count: int, bits: int) -> None:
    assert bits_wanted(count, 1000) == bits <= MOST_BITS


def test_the_last_entry_for_which_there_is_room_costs_21_bits() -> None:
    """By default, and as docs/protocol.md says; agents find that much."""
    limits = ContactPointLimits()
    for kind in EntryKind:
        most = limits.entries(kind)
        assert bits_wanted(most - 1, most, limits.work_bits) == 21 <= MOST_WORK


@given(st.integers(1, 10**7), st.data())
def test_it_never_wants_less_for_more(limit: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, limit))
    assert BASE_BITS <= bits_wanted(count, limit) <= bits_wanted(count + 1, limit)
    assert bits_wanted(count, limit) <= BASE_BITS + 10
