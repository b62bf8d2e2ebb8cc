"""The contact point that follows owners over a period's end: at a loss as shipped, and right with every control."""

import pytest

from relay.agent.regrouping import LATE
from relay.core import SeededEntropy
from relay.lab.period_change import Change, Renewal, change_period, lost_for
from relay.lab.token_succession import Succession, follow


def attacked(renewal: Renewal, runs: int = 2) -> Succession:
    return follow(Change(40, 12, renewal), SeededEntropy(f"{renewal}"), runs=runs)


def test_as_shipped_a_new_token_says_nothing_of_the_old_ones() -> None:
    found = attacked(Renewal.SHIPPED, runs=4)
    assert 0.45 < found.figures.auc < 0.55
    assert found.figures.average_precision < 1.5 * found.figures.chance
    assert found.figures.recall < 0.02
    assert found.named < 5.0 * found.by_chance


def test_renewal_at_once_is_caught() -> None:
    found = attacked(Renewal.AT_ONCE)
    assert found.figures.auc > 0.98
    assert found.figures.recall > 0.95
    assert found.figures.average_precision > 0.7


def test_successors_that_come_when_their_predecessors_go_are_named() -> None:
    found = attacked(Renewal.EACH)
    assert found.named > 0.8
    assert found.figures.average_precision > 10.0 * found.figures.chance


def test_who_looks_once_a_minute_is_known_by_the_second() -> None:
    found = attacked(Renewal.MINUTE)
    assert found.figures.auc > 0.9
    assert found.figures.average_precision > 5.0 * found.figures.chance


def test_groups_of_two_periods_tie_them_together_for_certain() -> None:
    found = attacked(Renewal.MIXED)
    assert found.figures.recall > 0.04
    assert found.figures.average_precision > 3.0 * found.figures.chance


def test_a_token_stays_until_its_contact_has_looked_for_the_next() -> None:
    assert lost_for(LATE[0], SeededEntropy(1)) == (0.0, 0.0)
    share, seconds = lost_for(3600.0, SeededEntropy(1))
    assert 0.05 < share < 0.15
    assert 1200.0 < seconds < 3600.0


@pytest.mark.parametrize("renewal", list(Renewal))
def test_every_token_has_one_successor_and_no_flow_two_owners(renewal: Renewal) -> None:
    gone, come = change_period(Change(10, 8, renewal), SeededEntropy(3))
    assert sorted(gone.contacts) == sorted(come.contacts) == list(range(len(gone.at)))
    owners: dict[int, int] = {}
    for tokens in (gone, come):
        for flow, owner in zip(tokens.flows.tolist(), tokens.owners.tolist(), strict=True):
            assert owners.setdefault(flow, owner) == owner
    shared = set(gone.flows.tolist()) & set(come.flows.tolist())
    assert bool(shared) == (renewal is Renewal.MIXED)
    if renewal is Renewal.SHIPPED:
        assert gone.at.min() > come.at.max() - 12 * 3600.0
