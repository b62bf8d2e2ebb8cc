"""When an agent's line goes on to its following epoch, and what it says until the reflector has followed."""

import pytest

from relay.core import Counters, SeededEntropy
from relay.media_reflector.client_epochs import AgentEpochs, Era
from relay.media_reflector.client_moves import (
    OVERTAKEN,
    PROVE_EVERY,
    QUIET,
    REKEY_EVERY,
    REKEY_LATEST,
    REKEY_SOONEST,
    Moves,
)
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.link import CellSender

CHALLENGE = bytes(range(16))


class Line:
    """Moves over real epochs, without a reflector."""

    def __init__(self, seed: int = 1) -> None:
        entropy = SeededEntropy(seed)
        self.epochs = AgentEpochs(EpochChain(bytes(32), (1, 2)), CellSender(1, entropy), entropy)
        self.counters = Counters(("moves", "unasked_challenge"))
        self.moves = Moves(self.epochs, entropy, self.counters, 0.0)

    def say(self, now: float = 1.0, silence: float = 0.0, ticks: int = 12) -> list[Operation | None]:
        said = [self.moves.next_control(now, silence) for _ in range(ticks)]
        return [None if control is None else control.operation for control in said]


def test_a_line_that_stays_says_nothing() -> None:
    line = Line()
    assert set(line.say()) == {None}
    assert not line.epochs.ahead


def test_a_move_is_said_once_then_bodies_flow_until_the_challenge_comes() -> None:
    line = Line()
    line.moves.move()
    assert line.epochs.ahead
    assert line.say(ticks=6) == [Operation.ROAM] + [None] * 5
    line.moves.challenged(Era.FOLLOWING, CHALLENGE, 0.0)
    proof = line.moves.next_control(1.0, 0.0)
    assert proof == Control(Operation.PROVE, CHALLENGE)
    assert line.say(ticks=6) == [None] * (PROVE_EVERY - 1) + [Operation.PROVE] + [None] * 2 + [
        Operation.PROVE
    ]
    line.moves.challenged(Era.FOLLOWING, CHALLENGE, 0.0)
    assert line.say(ticks=2) == [None, None], "the same challenge again is no reason to hurry"
    line.moves.arrived(2.0)
    assert set(line.say(2.0)) == {None}
    assert not line.epochs.ahead
    assert line.counters["moves"] == 1


def test_a_challenge_that_was_not_asked_for_is_answered_on_a_quiet_line_only() -> None:
    line = Line()
    line.moves.challenged(Era.CURRENT_CHALLENGE, CHALLENGE, QUIET - 0.001)
    assert set(line.say()) == {None}
    assert line.counters["unasked_challenge"] == 1
    line.moves.challenged(Era.CURRENT_CHALLENGE, CHALLENGE, QUIET)
    assert line.epochs.ahead
    assert line.say(ticks=1) == [Operation.PROVE]
    assert line.counters["moves"] == 0


def test_a_reflector_that_is_further_on_is_followed() -> None:
    line = Line()
    line.moves.move()
    first = line.epochs.sender
    line.moves.challenged(Era.FOLLOWING_CHALLENGE, CHALLENGE, 0.0)
    assert line.epochs.ahead
    assert line.epochs.sender is not first, "one epoch further"


@pytest.mark.parametrize("seed", range(5))
def test_rekeying_is_due_at_a_random_time_of_about_an_hour(seed: int) -> None:
    line = Line(seed)
    assert set(line.say(REKEY_SOONEST - 1.0)) == {None}
    assert line.say(REKEY_LATEST)[0] is Operation.REKEY
    assert Line(seed).moves._rekey_at != Line(seed + 1).moves._rekey_at


def test_a_half_is_said_again_until_it_is_answered() -> None:
    line = Line()
    said = line.say(REKEY_LATEST, ticks=2 * REKEY_EVERY)
    assert said == ([Operation.REKEY] + [None] * (REKEY_EVERY - 1)) * 2
    assert set(line.say(REKEY_LATEST, silence=QUIET)) == {None}, "not into silence"


def test_a_move_forgets_a_half_that_was_said() -> None:
    line = Line()
    line.say(REKEY_LATEST, ticks=1)
    line.moves.move()
    assert not line.epochs.rekeying
    assert not line.moves.rekeyed(bytes(range(32)))


def test_the_epoch_before_is_forgotten_in_time() -> None:
    line = Line()
    line.moves.move()
    line.moves.arrived(10.0)
    line.say(10.0 + OVERTAKEN - 0.1)
    assert Era.BEFORE in line.epochs._ears
    line.say(10.0 + OVERTAKEN)
    assert Era.BEFORE not in line.epochs._ears
