"""What a contact point sees of a population follows the policy."""

import numpy as np

from relay.core import SeededEntropy
from relay.lab.flow_population import Policy, Scenario, simulate


def test_every_token_is_in_one_cluster_and_every_flow_comes_up_and_goes_down() -> None:
    for policy in Policy:
        scenario = Scenario(agents=20, contacts=10, policy=policy, outages=0.0, losses=0.0)
        seen = simulate(scenario, SeededEntropy(1))
        assert seen.sizes.sum() == scenario.tokens
        assert list(np.bincount(seen.owners, weights=seen.sizes)) == [10.0] * 20
        for _, clusters in (seen.ups, seen.downs):
            assert sorted(clusters) == list(range(len(seen.owners)))
        if policy is Policy.ONE_FLOW:
            assert set(seen.sizes) == {10.0}
        else:
            assert max(seen.sizes) <= 8.0


def test_who_is_always_there_is_seen_to_come_and_go_by_losses_alone() -> None:
    scenario = Scenario(agents=10, contacts=8, days=3, always=True, outages=0.0, losses=0.0)
    seen = simulate(scenario, SeededEntropy(2))
    assert len(seen.ups[0]) == len(seen.downs[0]) == 0
    together = Scenario(
        agents=1, contacts=40, days=3, always=True, outages=0.0, losses=2.0, policy=Policy.TOGETHER
    )
    seen = simulate(together, SeededEntropy(3))
    assert len(seen.downs[0]) % len(seen.owners) == 0


def test_an_agent_that_is_stopped_lets_its_flows_go_over_the_time_it_has() -> None:
    for falling in (0.0, 300.0):
        scenario = Scenario(agents=1, contacts=60, outages=0.0, losses=0.0, falling=falling)
        moments = simulate(scenario, SeededEntropy(4)).downs[0]
        assert (np.ptp(moments) > 100.0) == (falling > 0.0)
