"""Where a line goes on, as decisions in virtual time: losses in, branches out."""

from collections.abc import Callable

import pytest

from relay.agent.failover import (
    MEET_WITHIN,
    PATIENCE,
    RETURN_WITHIN,
    Failover,
    GiveUp,
    Keep,
    Open,
    Output,
    Place,
    Release,
)
from relay.chaff import Scatter
from relay.core import Entropy, SeededEntropy


class Drawn(Scatter):
    """Moves after one second, releases after six."""

    def move(self, entropy: Entropy) -> float:
        return 1.0

    def release(self, entropy: Entropy) -> float:
        return 6.0


LOST = 100.0
MOVED = LOST + 1.0
SETTLED = LOST + 6.0


def make(*, meets: bool = True) -> Failover:
    core = Failover(SeededEntropy("failover"), Drawn())
    core.meets = meets
    core.opened(0)
    core.crossed(0)
    return core


def lost(*, meets: bool = True) -> Failover:
    core = make(meets=meets)
    core.lost(0, LOST)
    return core


def at(core: Failover, now: float) -> list[Output]:
    """What is decided at `now`, having looked at every deadline before it."""
    found: list[Output] = []
    while (deadline := core.deadline()) is not None and deadline < now:
        core.tick(deadline)
        found += core.outputs()
    core.tick(now)
    return found + list(core.outputs())


def test_nothing_is_due_on_a_line_that_is_heard() -> None:
    core = make()
    assert core.deadline() is None
    core.tick(1e9)
    assert core.outputs() == []
    assert core.speaking == 0


def test_a_dead_reflector_is_left_for_its_backup_at_the_time_that_was_drawn() -> None:
    core = lost()
    assert core.deadline() == MOVED
    assert at(core, MOVED - 0.001) == []
    assert at(core, MOVED) == [Open(1, Place.HERE)]
    assert at(core, MOVED + PATIENCE - 0.001) == []
    assert at(core, MOVED + PATIENCE) == [Open(2, Place.BACKUP)]
    core.opened(2)
    assert core.speaking == 0, "until somebody may be there"
    core.crossed(2)
    assert core.speaking == 2
    core.failed(1, MOVED + 5.0)
    assert core.outputs() == [Release(1)]
    assert at(core, SETTLED) == [Release(0), Keep(2)]
    assert (core.present, core.speaking, core.deadline()) == (2, 2, None)


def test_a_reflector_that_started_anew_is_gone_back_to_and_its_backup_left_in_peace() -> None:
    core = lost()
    at(core, MOVED)
    core.opened(1)
    core.crossed(1)
    assert core.speaking == 1
    assert at(core, SETTLED) == [Release(0), Keep(1)]


def test_without_a_ticket_to_come_back_with_the_backup_is_next_at_once() -> None:
    core = lost()
    at(core, MOVED)
    core.failed(1, MOVED)
    assert at(core, MOVED) == [Release(1), Open(2, Place.BACKUP)]


@pytest.mark.parametrize("heard", [0.5, 0.999])
def test_a_short_outage_moves_nothing(heard: float) -> None:
    core = lost()
    core.heard(0, LOST + heard)
    assert core.deadline() is None
    assert at(core, SETTLED) == []
    core.lost(0, SETTLED + 1.0)
    assert core.deadline() == SETTLED + 2.0, "the next one is a loss of its own"


@pytest.mark.parametrize("meets", [True, False])
def test_a_line_that_is_heard_again_stays_and_what_was_opened_closes_later(meets: bool) -> None:
    core = lost(meets=meets)
    at(core, MOVED + PATIENCE)
    core.opened(2)
    core.heard(0, LOST + RETURN_WITHIN)
    assert core.speaking == 0
    assert at(core, SETTLED - 0.001) == []
    assert at(core, SETTLED) == [Release(1), Release(2)]
    assert core.present == 0


def test_no_place_is_tried_after_a_line_came_back_unless_it_goes_again() -> None:
    core = lost()
    at(core, MOVED)
    core.heard(0, MOVED + 0.1)
    assert at(core, MOVED + 1.0) == []
    core.lost(0, MOVED + 1.7)
    assert at(core, MOVED + 1.7) == [Open(2, Place.BACKUP)]


def test_a_line_heard_too_late_is_not_gone_back_to() -> None:
    core = lost()
    at(core, MOVED + PATIENCE)
    core.opened(2)
    core.crossed(2)
    core.heard(0, LOST + RETURN_WITHIN + 0.01)
    assert core.speaking == 2
    assert Keep(2) in at(core, SETTLED)


def test_a_line_heard_too_late_is_better_than_none() -> None:
    core = lost()
    at(core, MOVED + PATIENCE)
    core.heard(0, LOST + RETURN_WITHIN + 0.01)
    for branch in (1, 2):
        core.failed(branch, SETTLED - 0.1)
    core.outputs()
    assert at(core, SETTLED) == []
    assert core.present == 0
    assert not core.over


@pytest.mark.parametrize(("spoke", "kept"), [(0, 0), (2, 2)])
def test_where_the_other_end_is_heard_decides_between_two_that_work(spoke: int, kept: int) -> None:
    """The two ends measure from moments that differ a little; they must not part over it."""
    core = lost()
    at(core, MOVED + PATIENCE)
    core.opened(2)
    core.crossed(2)
    core.heard(0, LOST + RETURN_WITHIN + (0.01 if spoke == 0 else -0.01))
    core.spoke(spoke, SETTLED - 0.1)
    at(core, SETTLED)
    assert core.present == kept


def test_the_backup_is_asked_too_where_the_other_end_does_not_come() -> None:
    core = lost()
    at(core, MOVED)
    core.opened(1)
    assert at(core, LOST + MEET_WITHIN - 0.001) == []
    assert at(core, LOST + MEET_WITHIN) == [Open(2, Place.BACKUP)]
    core.opened(2)
    core.crossed(2)
    assert core.speaking == 2
    assert Keep(2) in at(core, SETTLED)


def test_an_idle_line_has_nobody_to_wait_for() -> None:
    core = lost(meets=False)
    at(core, MOVED)
    core.opened(1)
    assert at(core, SETTLED) == [Release(0), Keep(1)]


def test_an_answer_that_comes_while_all_is_settled_is_waited_for() -> None:
    core = lost()
    at(core, MOVED + PATIENCE)
    assert at(core, SETTLED + 0.6) == []
    core.opened(2)
    assert at(core, SETTLED + 1.1) == [Release(0), Release(1), Keep(2)]


def test_with_nowhere_to_go_the_line_is_given_up_when_it_would_have_been_left() -> None:
    core = lost()
    at(core, MOVED)
    core.failed(1, MOVED)
    at(core, MOVED)
    core.failed(2, MOVED)
    assert at(core, SETTLED - 0.001) == [Release(2)]
    assert at(core, SETTLED) == [GiveUp()]
    assert core.over
    assert core.deadline() is None


def test_a_void_ticket_is_replaced_once_and_then_the_backup_is_tried() -> None:
    core = Failover(SeededEntropy("failover"), Drawn())
    core.failed(0, LOST)
    assert at(core, LOST) == [Open(1, Place.AFRESH)]
    core.failed(1, LOST + 3.0)
    assert at(core, LOST + 3.0) == [Release(1), Open(2, Place.BACKUP)]
    core.failed(2, LOST + 8.0)
    assert at(core, LOST + 9.0) == [Release(2), GiveUp()]


def test_a_fresh_ticket_opens_the_line() -> None:
    core = Failover(SeededEntropy("failover"), Drawn())
    core.failed(0, LOST)
    at(core, LOST)
    core.opened(1)
    core.crossed(1)
    assert core.speaking == 1
    assert Keep(1) in at(core, LOST + 5.0)
    core.lost(1, LOST + 50.0)
    assert at(core, LOST + 51.0) == [Open(2, Place.HERE)], "and is a line like any other"


def test_a_branch_that_dies_before_all_is_settled_is_no_choice() -> None:
    core = lost()
    at(core, MOVED)
    core.opened(1)
    core.lost(1, MOVED + 2.0)
    assert at(core, MOVED + 2.0) == [Release(1), Open(2, Place.BACKUP)]


@pytest.mark.parametrize("say", [Failover.opened, Failover.crossed])
def test_what_is_said_of_a_branch_that_is_gone_is_nothing(say: Callable[[Failover, int], None]) -> None:
    core = make()
    say(core, 7)
    core.spoke(7, LOST)
    core.failed(7, LOST)
    core.lost(7, LOST)
    core.heard(7, LOST)
    assert core.outputs() == []


def test_moving_times_are_the_policy_s_and_the_same_in_a_call_or_not() -> None:
    entropy = SeededEntropy("same")
    same = SeededEntropy("same")
    in_call, idle = Failover(entropy), Failover(same)
    in_call.meets = True
    for core in (in_call, idle):
        core.opened(0)
        core.lost(0, LOST)
    in_call.crossed(0)
    assert in_call.deadline() == idle.deadline()
