"""Who rides with whom: never a token in two groups, never more than eight in one, sizes that tell nothing."""

from itertools import pairwise

import pytest

from relay.agent.regrouping import (
    EARLY,
    LATE,
    MOST_TOKENS,
    Group,
    Grouping,
    bound_periods,
    next_change,
    period_token,
    refresh_after,
    rise,
)
from relay.core import SeededEntropy
from relay.forward_publish import PERIOD

ONION = "a" * 56
PERIOD_NUMBER = 20_000
BEGIN = PERIOD_NUMBER * PERIOD


def names(first: int, last: int) -> set[str]:
    return {f"t{number}" for number in range(first, last)}


@pytest.mark.parametrize("seed", range(5))
def test_a_token_stays_in_one_group_whoever_comes_and_goes(seed: int) -> None:
    entropy, grouping = SeededEntropy(seed), Grouping()
    mates: dict[str, set[str]] = {}
    gone: set[str] = set()
    for step in range(60):
        wanted = {
            name for name in names(0, step + 25) if name not in gone and not _leaves(name, gone, entropy)
        }
        grouping.settle(wanted, (), entropy)
        assert {token for group in grouping.groups for token in group.members} >= wanted
        for group in grouping.groups:
            assert any(token in wanted for token in group.members)
            for token in group.members:
                mates.setdefault(token, set()).update(group.members)
    assert len(gone) > 40
    assert all(len(known) <= MOST_TOKENS for known in mates.values())
    assert all(mates[mate] == known for known in mates.values() for mate in known), "groups never overlap"


def _leaves(name: str, gone: set[str], entropy: SeededEntropy) -> bool:
    if leaves := entropy.below(20) == 0:
        gone.add(name)
    return leaves


def test_those_that_left_count_for_the_size_of_a_group() -> None:
    entropy, grouping = SeededEntropy(1), Grouping([Group(3, ["a", "b", "c"])])
    assert grouping.settle({"a", "d"}, (), entropy)
    assert grouping.groups[0].members == ["a", "b", "c"]
    assert grouping.groups[1].members == ["d"]
    assert not grouping.settle({"a", "d"}, (), entropy)
    assert not grouping.settle({"a", "b", "d"}, (), entropy), "it comes back to where it was"
    assert grouping.settle({"d"}, (), entropy)
    assert len(grouping.groups) == 1


def test_tokens_of_two_periods_never_share_a_flow() -> None:
    """Unlike those of one: the same tokens without their periods are put together, sooner or later."""
    periods = {name: (1 if name in names(0, 20) else 2) for name in names(0, 40)}
    for known, mixed in ((periods, False), (None, True)):
        entropy, grouping = SeededEntropy(7), Grouping()
        grouping.settle(names(0, 20), (), entropy, known)
        for number in range(20, 40):
            grouping.settle(names(0, number + 1), (), entropy, known)
        found = [{periods[token] for token in group.members} for group in grouping.groups]
        assert any(len(one) == 2 for one in found) == mixed
        assert {token for group in grouping.groups for token in group.members} == names(0, 40)


def test_the_next_change_is_when_what_is_bound_changes() -> None:
    entropy = SeededEntropy(8)
    for _ in range(20):
        seed, now = entropy.token(32), BEGIN + entropy.uniform(0.0, PERIOD)
        for _ in range(5):
            then = next_change(seed, ONION, now)
            assert bound_periods(seed, ONION, (now + then) / 2) == bound_periods(seed, ONION, now)
            assert bound_periods(seed, ONION, then) != bound_periods(seed, ONION, now)
            now = then


def test_a_token_that_strangers_know_rides_alone() -> None:
    entropy, grouping = SeededEntropy(2), Grouping()
    public = {"t3", "t17"}
    grouping.settle(names(0, 20), public, entropy)
    grouping.settle(names(0, 60), public, entropy)
    for group in grouping.groups:
        if public & set(group.members):
            assert len(group.members) == group.size == 1


def test_the_tokens_on_a_flow_say_little_of_how_many_contacts_there_are() -> None:
    entropy = SeededEntropy(3)
    means = []
    for contacts in (12, 50, 200):
        sizes = []
        for _ in range(4000 // contacts):
            grouping = Grouping()
            grouping.settle(names(0, contacts), (), entropy)
            sizes += [len(group.members) for group in grouping.groups]
        assert set(range(1, MOST_TOKENS + 1)) >= set(sizes)
        means.append(sum(sizes) / len(sizes))
    assert all(2.0 < mean < 5.0 for mean in means)
    assert all(abs(one - other) < 1.5 for one, other in pairwise(means))


def test_each_contact_point_and_period_has_a_token_of_its_own() -> None:
    seed = bytes(range(32))
    tokens = {
        period_token(each, onion, period).token
        for each in (seed, bytes(32))
        for onion in (ONION, "b" * 56)
        for period in (1, 2, 3)
    }
    assert len(tokens) == 12
    assert period_token(seed, ONION, 1) == period_token(bytes(range(32)), ONION, 1)


def test_the_current_token_is_always_bound_and_neighbours_come_and_go_by_themselves() -> None:
    entropy = SeededEntropy(4)
    begins, ends = [], []
    for _ in range(200):
        seed = entropy.token(32)
        for hour in range(24):
            assert PERIOD_NUMBER in bound_periods(seed, ONION, BEGIN + 3600.0 * hour)
        begins.append(next(t for t in range(0, 86400, 300) if _bound(seed, BEGIN - 86400 + t)) - 86400)
        ends.append(next(t for t in range(0, 86400, 300) if not _bound(seed, BEGIN + PERIOD + t)))
        assert not _bound(seed, BEGIN - EARLY[1] - 1.0)
        assert not _bound(seed, BEGIN + PERIOD + LATE[1])
    assert -EARLY[1] <= min(begins) < max(begins) <= -EARLY[0] + 300.0
    assert LATE[0] <= min(ends) < max(ends) <= LATE[1] + 300.0
    assert abs(_correlation(begins, ends)) < 0.2, "the one moment does not tell the other"
    assert max(begins) - min(begins) > 0.8 * (EARLY[1] - EARLY[0])


def _bound(seed: bytes, now: float) -> bool:
    return PERIOD_NUMBER in bound_periods(seed, ONION, now)


def _correlation(one: list[int], other: list[int]) -> float:
    a, b = sum(one) / len(one), sum(other) / len(other)
    covariance = sum((x - a) * (y - b) for x, y in zip(one, other, strict=True))
    return float(covariance / (sum((x - a) ** 2 for x in one) * sum((y - b) ** 2 for y in other)) ** 0.5)


def test_moments_are_spread() -> None:
    entropy = SeededEntropy(5)
    assert all(0.0 <= rise(entropy, first=True) < 2.0 for _ in range(100))
    rises = [rise(entropy, first=False) for _ in range(200)]
    assert min(rises) < 3.0
    assert 57.0 < max(rises) < 60.0
    renewals = [refresh_after(entropy, 3600.0) for _ in range(200)]
    assert 1800.0 <= min(renewals) < 1900.0
    assert 3150.0 < max(renewals) < 3240.0
