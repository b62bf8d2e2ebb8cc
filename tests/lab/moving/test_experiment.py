"""Lines whose reflector is killed: what the figures catch, and one small run of the whole thing."""

import math

import pytest

from relay.agent.failover import PATIENCE
from relay.agent.line import START_UP
from relay.chaff import Scatter
from relay.core import SeededEntropy, SystemClock, SystemEntropy
from relay.lab.moving.experiment import Outcome, run
from relay.lab.moving.lines import Move

NOTICED = 1.5
LINES = 500


def outcome(in_call: Scatter, idle: Scatter) -> Outcome:
    """As lines would have moved on machines that do nothing else."""
    entropy = SeededEntropy("moves")
    moves = []
    for number in range(LINES):
        policy = idle if number % 3 == 0 else in_call
        began = NOTICED + policy.move(entropy) + PATIENCE + START_UP
        moves.append(Move(number % 3 != 0, NOTICED, began, began + 0.05, began + 0.9))
    return Outcome(("native", "native"), tuple(moves), 0.0, LINES, LINES // 3, 1.0)


def test_what_ships_is_uniform_and_alike() -> None:
    found = outcome(Scatter(), Scatter())
    assert found.uniform > 0.01
    assert found.alike > 0.01
    assert found.lost_share == 0.0
    assert len(found.moved) == LINES


@pytest.mark.parametrize("leaky", [Scatter(moving=0.0), Scatter(moving=1.5)])
def test_lines_in_a_call_that_move_sooner_are_caught(leaky: Scatter) -> None:
    assert outcome(leaky, Scatter()).alike < 1e-6


def test_a_policy_that_is_not_uniform_is_caught() -> None:
    assert outcome(Scatter(moving=2.0), Scatter(moving=2.0)).uniform < 1e-6


def test_a_line_that_never_arrived_is_counted() -> None:
    found = outcome(Scatter(), Scatter())
    found.moves[0].opened = math.nan
    found.moves[1].crossed = math.nan
    assert found.lost_share == pytest.approx(2 / LINES)


@pytest.mark.alone
@pytest.mark.timeout(150)
async def test_every_line_goes_on_at_the_backup_when_its_reflector_is_killed() -> None:
    found = await run(20, 20, SystemClock(), SystemEntropy())
    assert found.lost_share == 0.0
    assert found.moved.max() < 5.0
    assert (found.lines_there, found.crossed_there) == (60, 20)
    assert found.steady_share > 0.9
    assert found.uniform > 0.001
    assert found.alike > 0.001
