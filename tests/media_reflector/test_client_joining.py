"""A join code on its way: said again and again, until it is crossed, refused, or too old."""

from typing import Any

import pytest

from relay.media_reflector import JoinRefused, LineCrossed
from relay.media_reflector.client_joining import CROSSING_TIMEOUT, JOIN_EVERY, Joining
from relay.media_reflector.control import Control, Operation

CODE, OTHER = b"join code of 16 ", b"another code .16"
PEER = bytes(range(32))
World = Any


def test_join_is_repeated_every_ten_ticks_until_crossed() -> None:
    joining = Joining()
    assert joining.next_control() is None
    joining.ask(CODE, None)
    said = [joining.next_control() for _ in range(3 * JOIN_EVERY)]
    assert said == ([Control(Operation.JOIN, CODE)] + [None] * (JOIN_EVERY - 1)) * 3
    assert joining.answered(Control(Operation.CROSSED, CODE)) == LineCrossed()
    assert joining.crossed
    assert [joining.next_control() for _ in range(2 * JOIN_EVERY)] == [None] * 2 * JOIN_EVERY
    assert joining.answered(Control(Operation.CROSSED, CODE)) is None, "said once to the owner"


def test_over_a_trunk_the_other_reflector_is_named() -> None:
    joining = Joining()
    joining.ask(CODE, PEER)
    assert joining.next_control() == Control.join_via(CODE, PEER)


def test_a_refusal_ends_it_and_tells_when_to_try_again() -> None:
    joining = Joining()
    joining.ask(CODE, None)
    refused = joining.answered(Control.refused(CODE, 90))
    assert isinstance(refused, JoinRefused)
    assert refused.seconds == 90
    assert joining.next_control() is None
    assert joining.drop() is None


@pytest.mark.parametrize("control", [Control(Operation.CROSSED, CODE), Control.refused(CODE, 90)])
def test_what_is_said_of_an_old_code_is_nothing(control: Control) -> None:
    joining = Joining()
    joining.ask(CODE, None)
    joining.ask(OTHER, None)
    assert joining.answered(control) is None
    assert not joining.crossed
    assert joining.next_control() == Control(Operation.JOIN, OTHER)
    assert joining.drop() == OTHER
    assert joining.answered(control) is None


def test_a_refusal_after_the_crossing_is_the_end_of_the_crossing() -> None:
    joining = Joining()
    joining.ask(CODE, PEER)
    joining.answered(Control(Operation.CROSSED, CODE))
    refused = joining.answered(Control.refused(CODE, 90))
    assert isinstance(refused, JoinRefused)
    assert "trunk" in refused.reason
    assert not joining.crossed
    assert joining.next_control() is None


def test_the_other_line_has_two_minutes() -> None:
    joining = Joining()
    assert joining.watch(0.0) is None
    joining.ask(CODE, None)
    assert joining.watch(10.0) is None
    assert joining.watch(10.0 + CROSSING_TIMEOUT - 0.1) is None
    assert joining.watch(10.0 + CROSSING_TIMEOUT) == JoinRefused("the other line did not come in time")
    assert joining.watch(10.0 + CROSSING_TIMEOUT) is None


def test_on_a_line_join_leaves_room_for_bodies(world: World) -> None:
    world.agent("alice", code=CODE)
    world.run(2.0)
    said = world.count("cells_received") - world.count("not_crossed")
    assert said == pytest.approx(2.0 * 50 / JOIN_EVERY, abs=2)
