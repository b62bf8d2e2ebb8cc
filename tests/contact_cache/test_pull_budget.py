"""Which parts to ask about, what a pull may cost, and what peers may bring."""

import pytest

from relay.contact_cache.digests import CHILDREN
from relay.contact_cache.pull_budget import PullBudget, cover, places_left
from relay.core import SeededEntropy

PAGE = 8160


def counts(each: int) -> list[int]:
    return [each] * CHILDREN


def test_nothing_that_differs_is_nothing_to_ask_about() -> None:
    assert cover(set(), counts(5), counts(5), PAGE) == []


@pytest.mark.parametrize(
    ("theirs", "mine", "parts"), [(1, 1, 1), (2, 2, 2), (0, 244, 128), (244, 244, 128), (9000, 0, CHILDREN)]
)
def test_parts_fill_pages_on_both_sides(theirs: int, mine: int, parts: int) -> None:
    found = cover(set(range(CHILDREN)), counts(theirs), counts(mine), PAGE)
    assert len(found) == parts
    assert sum(part.differing for part in found) == CHILDREN
    assert sum(part.claimed for part in found) == theirs * CHILDREN


def test_every_child_that_differs_is_in_one_part_and_parts_are_not_asked_for_nothing() -> None:
    entropy = SeededEntropy("cover")
    theirs = [entropy.below(400) for _ in range(CHILDREN)]
    mine = [entropy.below(400) for _ in range(CHILDREN)]
    differing = {entropy.below(CHILDREN) for _ in range(30)}
    found = cover(differing, theirs, mine, PAGE)
    covered: list[int] = []
    for part in found:
        width = CHILDREN >> part.bits
        inside = range(part.prefix * width, (part.prefix + 1) * width)
        assert part.differing == len(differing & set(inside)) > 0
        assert max(sum(theirs[child] for child in inside), sum(mine[child] for child in inside)) <= PAGE
        covered += inside
    assert differing <= set(covered)
    assert len(covered) == len(set(covered))


def test_impossible_counts_do_no_harm() -> None:
    assert len(cover(set(range(CHILDREN)), counts(2**32 - 1), counts(0), PAGE)) == CHILDREN


def test_what_a_pull_costs_in_vain_is_stated() -> None:
    budget = PullBudget()
    assert budget.in_vain((10_000, 1_000, 100)) == 33
    assert budget.in_vain((1_000_000, 200_000, 10_000)) == 325
    assert budget.in_vain((0, 0, 0)) == 25


@pytest.mark.parametrize(
    ("alone", "by_all", "left"),
    [(0, 0, 250), (200, 200, 50), (0, 450, 50), (250, 250, 0), (0, 500, 0), (251, 700, 0)],
)
def test_learned_peers_hold_a_quarter_each_and_half_together(alone: int, by_all: int, left: int) -> None:
    assert places_left(1000, alone, by_all) == left
