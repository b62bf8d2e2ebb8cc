"""An agent's end of a line: what it sends, what it ignores, what it tells its owner."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import MisuseError
from relay.media_reflector import JoinRefused, LineClient, LineLost
from relay.media_reflector.client import CROSSING_TIMEOUT, JOIN_EVERY, OPENING_TIMEOUT
from relay.media_reflector.control import Control, Operation
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, LinkType

CODE = b"join code of 16 "
World = Any


def test_the_handshake_is_repeated_under_a_running_header(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    cells = [line.next_cell(world.now + 0.02 * number) for number in range(5)]
    assert {len(cell) for cell in cells} == {CELL_SIZE}
    assert len({cell[12:] for cell in cells}) == 1
    numbers = [int.from_bytes(cell[2:4]) for cell in cells]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_a_handshake_that_nobody_answers_is_given_up(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    for number in range(int(OPENING_TIMEOUT / 0.02) + 2):
        line.next_cell(world.now + 0.02 * number)
    (event,) = line.events()
    assert isinstance(event, LineLost)
    assert "handshake" in event.reason
    assert line.lost
    assert len(line.next_cell(world.now + 6.0)) == CELL_SIZE, "cells go on until the owner closes the line"


def test_join_is_repeated_every_ten_ticks_until_crossed(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    world.run(2.0)
    joins = world.count("cells_received") - world.count("not_crossed")
    assert joins == pytest.approx(2.0 * 50 / JOIN_EVERY, abs=1)
    world.agent("bob", slot=9, code=CODE)
    world.run(0.5)
    assert alice.line.crossed
    settled = world.count("control_sent")
    world.run(2.0)
    assert world.count("control_sent") == settled


def test_a_lost_crossed_is_said_again(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    bob = world.agent("bob", slot=9, code=CODE)
    while world.count("crossings") == 0:
        world.step()
    for line in world.reflector._lines.values():
        line.control = None
    world.run(0.5)
    assert alice.line.crossed
    assert bob.line.crossed


def test_submitted_bodies_wait_behind_control_and_are_replaced_by_newer_ones(world: World) -> None:
    alice, bob = world.crossed_pair()
    alice.line.submit(b"1" * BODY_SIZE)
    alice.line.submit(b"2" * BODY_SIZE)
    assert alice.line.counters["bodies_replaced"] == 1
    world.run(0.1)
    assert b"2" * BODY_SIZE in bob.bodies
    assert b"1" * BODY_SIZE not in bob.bodies


def test_what_is_not_the_reflectors_cell_is_counted_and_ignored(world: World) -> None:
    alice, bob = world.crossed_pair()
    line, cell = alice.line, alice.received[-1][1]
    before = line.counters.snapshot()
    assert line.receive(cell[:100], world.now) == []
    assert line.receive(bytes(CELL_SIZE), world.now) == []
    assert line.receive(bob.received[-1][1], world.now) == []
    assert line.receive(cell, world.now) == []
    grown = {name: n - before[name] for name, n in line.counters.snapshot().items() if n != before[name]}
    assert grown == {"wrong_size": 2, "unknown_ssrc": 1, "replayed": 1}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200) | st.binary(min_size=158, max_size=158).map(lambda rest: b"\x80\x6f" + rest)
)
def test_noise_never_raises_and_never_opens(world: World, data: bytes) -> None:
    alice = world.agents.get("alice") or world.agent("alice")
    assert alice.line.receive(data, world.now) == []
    assert not alice.line.opened


def test_garbage_before_the_answer_does_not_spoil_it(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    world.reflector.receive(line.next_cell(world.now), "a", world.now)
    world.run(0.02)
    answer = world.stray[0][0]
    assert line.receive(answer[:40] + bytes([answer[40] ^ 1]) + answer[41:], world.now) == []
    assert line.receive(answer[:8] + bytes(4) + answer[12:], world.now) == []
    assert line.counters["not_authentic"] == 2
    assert len(line.receive(answer, world.now)) == 1
    assert line.opened


def test_unknown_operations_are_counted(world: World) -> None:
    alice, _ = world.crossed_pair()
    (held,) = [line for line in world.reflector._lines.values() if line.address == "alice"]
    cell = held.sender.seal(LinkType.CONTROL, bytes([99]) + bytes(BODY_SIZE - 1))
    assert alice.line.receive(cell, world.now) == []
    cell = held.sender.seal(LinkType.CONTROL, Control(Operation.JOIN, CODE).to_body(world.entropy))
    assert alice.line.receive(cell, world.now) == []
    assert alice.line.counters["unknown_control"] == 2


def test_crossed_under_an_old_code_is_ignored(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    world.run(0.1)
    (held,) = world.reflector._lines.values()
    alice.line.join(b"a newer code 16 ")
    for operation in (Operation.CROSSED, Operation.REFUSED):
        cell = held.sender.seal(LinkType.CONTROL, Control(operation, CODE).to_body(world.entropy))
        assert alice.line.receive(cell, world.now) == []
    assert not alice.line.crossed


def test_the_crossing_waits_at_most_two_minutes(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    world.run(CROSSING_TIMEOUT + 1)
    assert [event for event in alice.events if isinstance(event, JoinRefused)] == [
        JoinRefused("the other line did not come in time")
    ]


def test_closing_during_the_handshake(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    line.next_cell(world.now)
    line.close()
    assert len(line.next_cell(world.now)) == CELL_SIZE
    assert line.closed


def test_misuse(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    with pytest.raises(MisuseError):
        line.submit(b"short")
    with pytest.raises(MisuseError):
        line.join(b"short")
    line.close()
    line.next_cell(world.now)
    with pytest.raises(MisuseError):
        line.next_cell(world.now)
