"""An agent's end of a line: what it sends, what it ignores, what it tells its owner."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import MisuseError
from relay.media_reflector import LineHeard, LineLost, LossCause
from relay.media_reflector.client import LOST_AFTER, OPENING_TIMEOUT
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.link import CellSender
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, LinkType

CODE = b"join code of 16 "
World = Any


def _say(world: World, agent: Any, body: bytes) -> bytes:
    """A control cell as the reflector would seal it: under the current epoch, later than all others."""
    keys = world.held(agent).chain.current.down
    sender = CellSender(keys.ssrc, world.entropy, keys)
    sender._sequence_number = (
        int.from_bytes(agent.received[-1][1][2:4]) + 1 + agent.line.counters["unknown_control"]
    ) & 0xFFFF
    return sender.seal(LinkType.CONTROL, body)


def test_the_handshake_is_repeated_under_a_running_header(world: World) -> None:
    line = world.client()
    cells = [line.next_cell(world.now + 0.02 * number) for number in range(5)]
    assert {len(cell) for cell in cells} == {CELL_SIZE}
    assert len({cell[12:] for cell in cells}) == 1
    numbers = [int.from_bytes(cell[2:4]) for cell in cells]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_a_handshake_that_nobody_answers_is_given_up(world: World) -> None:
    line = world.client()
    for number in range(int(OPENING_TIMEOUT / 0.02) + 2):
        line.next_cell(world.now + 0.02 * number)
    (event,) = line.events()
    assert isinstance(event, LineLost)
    assert "handshake" in event.reason
    assert line.lost
    assert len(line.next_cell(world.now + 6.0)) == CELL_SIZE, "cells go on until the owner closes the line"


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
    line = world.client()
    world.receive(line.next_cell(world.now), "a")
    world.run(0.02)
    answer = world.stray[0][0]
    assert line.receive(answer[:40] + bytes([answer[40] ^ 1]) + answer[41:], world.now) == []
    assert line.receive(answer[:8] + bytes(4) + answer[12:], world.now) == []
    assert line.counters["not_authentic"] == 2
    assert len(line.receive(answer, world.now)) == 1
    assert line.opened


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=BODY_SIZE, max_size=BODY_SIZE), operation=st.integers(0, 255))
def test_a_reflector_that_talks_nonsense_breaks_nothing(world: World, body: bytes, operation: int) -> None:
    """Any control, at any time, under any of the keys that the agent listens to."""
    if "alice" not in world.agents:
        world.crossed_pair()
    alice = world.agents["alice"]
    chain = world.held(alice).chain
    for keys in (chain.current.down, chain.current.challenge(), chain.following.down):
        sender = CellSender(keys.ssrc, world.entropy, keys)
        sender._sequence_number = (world.steps * 7 + operation) & 0x7FFF
        alice.line.receive(sender.seal(LinkType.CONTROL, bytes((operation,)) + body[1:]), world.now)
    assert len(alice.line.next_cell(world.now)) == CELL_SIZE
    world.steps += 1


def test_unknown_operations_are_counted(world: World) -> None:
    alice, _ = world.crossed_pair()
    for body in (
        bytes([99]) + bytes(BODY_SIZE - 1),
        Control(Operation.JOIN, CODE).to_body(world.entropy),
        Control(Operation.CHALLENGE, bytes(16)).to_body(world.entropy),
    ):
        assert alice.line.receive(_say(world, alice, body), world.now) == []
    assert alice.line.counters["unknown_control"] == 3


def test_a_reflector_that_goes_first_is_not_followed(world: World) -> None:
    """Under the following epoch before the agent is there: no honest one does that."""
    alice, _ = world.crossed_pair()
    keys = world.held(alice).chain.following.down
    sender = CellSender(keys.ssrc, world.entropy, keys)
    for control in (Control(Operation.DRAINING), Control(Operation.CHALLENGE, bytes(16))):
        body = control.to_body(world.entropy)
        assert alice.line.receive(sender.seal(LinkType.CONTROL, body), world.now) == []
    assert alice.line.receive(sender.seal(LinkType.END_TO_END, bytes(BODY_SIZE)), world.now) == []
    assert alice.line.counters["unknown_control"] == 3
    assert not alice.line.draining
    world.run(0.5)
    assert not alice.line.lost


def test_a_rekeying_that_nobody_asked_for_changes_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    body = Control(Operation.REKEYED, bytes(range(32))).to_body(world.entropy)
    alice.line.receive(_say(world, alice, body), world.now)
    assert alice.line.counters["rekeys"] == 0
    assert not alice.line._epochs.ahead


def test_silence_counts_from_the_first_cell_or_the_last_one_heard(world: World) -> None:
    alice = world.agent("alice")
    assert alice.line.silence(world.now) == 0.0
    world.loses = lambda cell, to_reflector: True
    world.run(1.0)
    assert alice.line.silence(world.now) == pytest.approx(1.0, abs=0.02)
    world.loses = lambda cell, to_reflector: False
    world.run(0.5)
    assert alice.line.silence(world.now) < 0.021
    world.loses = lambda cell, to_reflector: True
    world.run(LOST_AFTER - 0.1)
    assert not alice.line.lost
    alice.line.move()
    assert alice.line.silence(world.now) == 0.0


def test_a_handshake_does_not_move_to_another_network(world: World) -> None:
    """Whoever watches both would see one SSRC, one ticket number and one ciphertext."""
    alice = world.agent("alice")
    world.loses = lambda cell, to_reflector: True
    world.run(0.1)
    sent = len(alice.sent)
    assert sent > 3
    alice.move("elsewhere")
    world.run(0.5)
    assert len(alice.sent) == sent
    assert alice.line.closed
    assert alice.line.lost
    (lost,) = alice.line.events()
    assert isinstance(lost, LineLost)
    assert lost.cause is LossCause.MOVED
    assert "address" in lost.reason
    alice.line.move()
    assert alice.line.events() == [], "once"
    with pytest.raises(MisuseError):
        alice.line.next_cell(world.now)


def test_closing_during_the_handshake(world: World) -> None:
    line = world.client()
    line.next_cell(world.now)
    line.close()
    assert len(line.next_cell(world.now)) == CELL_SIZE
    assert line.closed


def test_misuse(world: World) -> None:
    line = world.client()
    with pytest.raises(MisuseError):
        line.submit(b"short")
    with pytest.raises(MisuseError):
        line.join(b"short")
    with pytest.raises(MisuseError):
        line.join(CODE, via=b"short")
    line.close()
    line.next_cell(world.now)
    with pytest.raises(MisuseError):
        line.next_cell(world.now)


def test_a_line_that_is_heard_again_says_so_each_time(world: World) -> None:
    alice, _ = world.crossed_pair()
    for _ in range(2):
        before = len(alice.events)
        world.loses = lambda cell, to_reflector: True
        world.run(LOST_AFTER + 0.3)
        assert alice.line.lost
        world.loses = lambda cell, to_reflector: False
        world.run(1.0)
        assert not alice.line.lost
        told = [type(event) for event in alice.events[before:] if isinstance(event, LineLost | LineHeard)]
        assert told == [LineLost, LineHeard]
