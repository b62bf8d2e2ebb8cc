"""Which parts to ask about, what a pull may cost, and what peers may bring."""

import pytest

from relay.contact_cache.digests import CHILDREN
from relay.contact_cache.pull_budget import DAY, Allowances, PullBudget, cover
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


def test_learned_peers_bring_a_quarter_each_and_half_together_in_a_day() -> None:
    allowances = Allowances({1: 1000, 2: 100})
    now = 400 * DAY + 5.0

    def left(peer: str, kind: int = 1) -> int:
        return allowances.left(peer, seed=False, now=now)[kind]

    assert (left("a"), left("a", 2)) == (250, 25)
    allowances.note("a", {1: 200}, seed=False, now=now)
    assert (left("a"), left("b"), left("a", 2)) == (50, 250, 25)
    allowances.note("b", {1: 250}, seed=False, now=now)
    assert (left("b"), left("c")) == (0, 50)
    # Seeds are trusted with all of it, and take from nobody's share.
    assert allowances.left("seed", seed=True, now=now) == {1: 1000, 2: 100}
    allowances.note("seed", {1: 1000}, seed=True, now=now)
    assert left("c") == 50
    now += DAY
    assert left("a") == 250
