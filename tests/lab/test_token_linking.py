"""The contact point that links tokens: caught where the policy is off, at a loss where flows tell nothing."""

from dataclasses import replace

from relay.core import SeededEntropy
from relay.lab.flow_population import TOKEN_DAYS, Policy, Scenario
from relay.lab.token_linking import curve, registrations_auc, watch

QUIET = Scenario(agents=25, contacts=12, days=4, always=True, outages=0.0, losses=2.0)
"""Nothing but single flows is ever lost: all that could be linked is what the policy itself betrays."""


def test_without_a_common_loss_the_shipped_policy_betrays_nothing() -> None:
    row = watch(QUIET, SeededEntropy(1))
    assert TOKEN_DAYS < 1.5, "tokens do not last longer"
    assert 0.4 < row.auc < 0.6
    assert row.recall < 0.1
    assert row.average_precision < 3 * row.chance


def test_the_adversary_catches_every_control() -> None:
    for policy in (Policy.ONE_FLOW, Policy.TOGETHER, Policy.MOVED):
        row = watch(replace(QUIET, policy=policy), SeededEntropy(2))
        assert row.auc > 0.99, policy
        assert row.precision > 0.95, policy
        assert row.recall > 0.95, policy


def test_tokens_that_are_moved_from_flow_to_flow_tie_their_groups_together_within_days() -> None:
    recalls = [
        watch(replace(QUIET, policy=Policy.MOVED, days=days), SeededEntropy(3)).recall for days in (1, 2, 4)
    ]
    assert recalls[0] < 0.1
    assert recalls[1] > 0.8
    assert recalls[2] > 0.98
    kept = watch(replace(QUIET, policy=Policy.KEPT, days=4), SeededEntropy(3))
    assert 0.4 < kept.auc < 0.6


def test_agents_that_come_and_go_are_linked_by_it_and_the_more_there_are_the_less() -> None:
    rows = curve([10, 200], [4], SeededEntropy(4), Scenario(falling=60.0))
    assert [row.scenario.tokens for row in rows] == [40, 800]
    assert all(row.figures.auc > 0.95 for row in rows), "this is a curve, not a zero"
    assert rows[0].figures.average_precision > 0.95
    crowded = Scenario(agents=200, contacts=12, spread=600.0, rising=5.0, falling=300.0)
    found = [watch(crowded, SeededEntropy(seed)).average_precision for seed in range(4)]
    assert sum(found) / len(found) < 0.6


def test_an_agent_that_is_always_there_is_linked_by_its_outages_alone() -> None:
    quiet, often = (
        watch(replace(QUIET, outages=outages, agents=40), SeededEntropy(6)) for outages in (0.2, 4.0)
    )
    assert quiet.auc < 0.75 < 0.9 < often.auc


def test_registrations_betray_nothing_unless_one_timer_serves_all() -> None:
    scenario = Scenario(agents=15, contacts=8)
    assert 0.45 < registrations_auc(scenario, SeededEntropy(7)) < 0.55
    assert registrations_auc(scenario, SeededEntropy(7), together=True) > 0.95


def test_runs_are_averaged_and_a_single_agent_cannot_be_told_from_anybody() -> None:
    (row,) = curve([8], [4], SeededEntropy(8), Scenario(always=True), runs=3)
    assert 0.0 < row.figures.chance < 1.0
    assert row.errors.auc > 0.0
    assert row.runs == 3
    assert watch(Scenario(agents=1, contacts=4), SeededEntropy(9)).auc == 0.5
