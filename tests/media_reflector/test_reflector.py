"""The reflector with honest agents: open, cross, talk, part, expire; and its own clock through all of it."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from relay.media_reflector import JoinRefused, LineClient, LineCrossed, LineLost, LineOpened
from relay.media_reflector.reflector import LINE_EXPIRY, OPENING_EXPIRY, SLOTS
from relay.rtp.cell import BODY_SIZE, CELL_SIZE

CODE = b"join code of 16 "
World = Any


def _body(mark: bytes) -> bytes:
    return mark.ljust(BODY_SIZE, b".")


def test_two_lines_open_cross_and_carry_bodies_both_ways(world: World) -> None:
    alice, bob = world.crossed_pair()
    assert alice.saw(LineOpened)
    assert bob.saw(LineCrossed)
    alice.line.submit(_body(b"from alice"))
    bob.line.submit(_body(b"from bob"))
    world.run(0.1)
    assert _body(b"from alice") in bob.bodies
    assert _body(b"from bob") in alice.bodies
    assert world.count("crossings") == 1


def test_bodies_keep_their_order_and_none_is_lost_on_a_calm_network(world: World) -> None:
    alice, bob = world.crossed_pair()
    numbers = iter(range(10_000))
    alice.speak = lambda: _body(b"n%d" % next(numbers))
    world.run(10.0)
    heard = [int(body.rstrip(b".")[1:]) for body in bob.bodies if body.startswith(b"n")]
    assert heard == list(range(len(heard)))
    assert len(heard) >= 498


def test_every_cell_has_one_size_and_a_continuous_header(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.run(1.0)
    for cells in (alice.sent, alice.received):
        assert {len(cell) for _, cell in cells} == {CELL_SIZE}
        assert len({cell[8:12] for _, cell in cells}) == 1, "one SSRC per direction"
        numbers = [int.from_bytes(cell[2:4]) for _, cell in cells]
        stamps = [int.from_bytes(cell[4:8]) for _, cell in cells]
        assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
        assert all((b - a) & 0xFFFFFFFF == 960 for a, b in pairwise(stamps))


def test_bits_in_are_never_bits_out(world: World) -> None:
    alice, bob = world.crossed_pair()
    alice.speak = lambda: _body(b"the same body again and again")
    world.run(1.0)
    up = {cell[12:] for _, cell in alice.sent[10:]}
    down = {cell[12:] for _, cell in bob.received}
    assert not up & down
    assert len(down) == len(bob.received)


def test_lines_are_told_apart_and_see_nothing_of_each_other(world: World) -> None:
    alice, bob = world.crossed_pair()
    carol = world.agent("carol", slot=5)
    alice.speak = lambda: _body(b"for bob only")
    world.run(1.0)
    assert carol.line.opened
    assert not carol.bodies
    assert _body(b"for bob only") in bob.bodies


def test_a_third_line_under_the_same_code_is_refused_and_counted(world: World) -> None:
    world.crossed_pair()
    mallory = world.agent("mallory", slot=7, code=CODE)
    world.run(1.0)
    assert mallory.saw(JoinRefused)
    assert not mallory.line.crossed
    assert mallory.line.opened
    assert world.count("joins_refused") == 1
    assert world.reflector.occupancy.crossed == 1


def test_nobody_comes_in_time(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    world.run(119.0)
    assert not alice.saw(JoinRefused)
    world.run(2.0)
    assert alice.saw(JoinRefused)
    assert not alice.line.lost
    bob = world.agent("bob", slot=9, code=CODE)
    world.run(1.0)
    assert not bob.line.crossed, "the code died with its waiting time"


def test_leave_uncrosses_and_the_line_stays(world: World) -> None:
    alice, bob = world.crossed_pair()
    bob.speak = lambda: _body(b"bob")
    world.run(0.2)
    alice.line.leave()
    world.run(0.2)
    alice.events.clear()
    world.run(1.0)
    assert not alice.bodies
    assert world.reflector.occupancy.crossed == 0
    assert world.reflector.occupancy.lines == 2
    assert not alice.line.lost
    alice.line.join(b"another code .16")
    bob.line.join(b"another code .16")
    world.run(0.5)
    assert alice.line.crossed
    assert bob.line.crossed


def test_the_last_bodies_before_leaving_still_arrive(world: World) -> None:
    alice, bob = world.crossed_pair()
    alice.line.submit(_body(b"hang up"))
    world.run(0.02)
    alice.line.leave()
    world.run(0.2)
    assert _body(b"hang up") in bob.bodies


def test_close_ends_the_line_at_once_and_is_said_three_times(world: World) -> None:
    alice, bob = world.crossed_pair()
    received, sent = len(alice.received), len(alice.sent)
    alice.line.close()
    world.run(0.3)
    assert alice.line.closed
    assert len(alice.sent) == sent + 3
    assert len(alice.received) <= received + 1
    assert world.count("lines_closed") == 1
    assert world.reflector.occupancy.lines == 1
    assert not bob.line.lost
    assert world.count("unknown_ssrc") == 2, "the two spare farewells, and nothing came back for them"


def test_a_lost_farewell_does_no_harm(world: World) -> None:
    alice, _ = world.crossed_pair()
    alice.silent = True
    alice.line.close()
    alice.line.next_cell(world.now)
    world.reflector.receive(alice.line.next_cell(world.now), "alice", world.now)
    assert world.count("lines_closed") == 1


def test_a_silent_agent_gets_cells_for_thirty_seconds_and_then_none(world: World) -> None:
    alice, _ = world.crossed_pair()
    alice.silent = True
    start = len(alice.received)
    world.run(LINE_EXPIRY - 1)
    assert len(alice.received) - start == pytest.approx((LINE_EXPIRY - 1) * 50, abs=1)
    world.run(2.0)
    rest = len(alice.received)
    world.run(1.0)
    assert len(alice.received) == rest
    assert world.count("lines_expired") == 1


def test_an_agent_notices_a_silent_reflector_after_one_and_a_half_seconds(world: World) -> None:
    alice, _ = world.crossed_pair()
    line, start = alice.line, world.now
    elapsed = 0.0
    while not line.lost:
        elapsed += 0.020
        line.next_cell(start + elapsed)
    assert 1.4 < elapsed < 1.6
    assert [type(event) for event in line.events()] == [LineLost]
    assert line.events() == []


def test_an_opening_that_is_never_proved_expires(world: World) -> None:
    alice = world.agent("alice")
    world.emit(alice)
    alice.silent = True
    assert world.reflector.occupancy.opening == 1
    world.run(OPENING_EXPIRY + 0.1)
    assert world.reflector.occupancy.opening == 0
    assert world.count("openings_expired") == 1


def test_the_handshake_survives_loss_of_every_first_try(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    now = world.now
    answers: list[bytes] = []
    for number in range(10):
        now += 0.020
        cell = line.next_cell(now)
        if number >= 3:
            world.reflector.receive(cell, "a", now)
        answers += [cell for cell, _ in world.reflector.tick(now)]
        if number >= 7 and not line.opened:
            line.receive(answers[-1], now)
    assert line.opened
    assert world.reflector.occupancy.lines == 1
    assert world.count("handshake_refused") == 0


def test_exactly_one_cell_leaves_per_tick_and_line_whatever_arrives(world: World) -> None:
    """Bursts, silence, garbage, control: the departures of a line do not move by a slot."""
    alice, bob = world.crossed_pair()
    mark = len(bob.received)
    calm = 3.0
    world.run(calm)
    for _ in range(200):
        world.step()
        for _ in range(5):
            alice.line.submit(_body(b"burst"))
            world.emit(alice)
        world.reflector.receive(world.entropy.token(CELL_SIZE), "nobody", world.now)
    alice.silent = True
    world.run(2.0)
    alice.silent = False
    world.run(1.0)
    times = [round((at - 1000.0) * 1000) for at, _ in bob.received[mark:]]
    assert {b - a for a, b in pairwise(times)} == {20}
    assert len({at % 20 for at in times}) == 1, "always the same slot"
    assert world.count("queue_full") > 500


def test_a_standstill_is_skipped_not_made_up_for(world: World) -> None:
    world.crossed_pair()
    world.now += 3.0
    per_line = Counter(destination for _, destination in world.reflector.tick(world.now))
    assert per_line == {"alice": 1, "bob": 1}
    assert world.count("departures_missed") == pytest.approx(2 * 149, abs=2)
    world.now += 0.001
    assert len(world.reflector.tick(world.now)) <= 1


def test_a_burst_does_not_delay_the_call_for_ever(world: World) -> None:
    alice, bob = world.crossed_pair()
    numbers = iter(range(10_000))
    alice.speak = lambda: b"%010d" % next(numbers) + world.now.hex().encode().ljust(BODY_SIZE - 10, b" ")
    for _ in range(3):
        world.emit(alice)
    world.run(8.0)
    sent_at = float.fromhex(bob.bodies[-1][10:].strip().decode())
    assert world.now - sent_at < 0.065
    assert world.count("queue_trimmed") == 1


def test_slots_spread_the_lines(make_world: type) -> None:
    world: World = make_world(capacity=300)
    for number in range(100):
        world.agent(f"agent {number}", slot=number % 20)
    world.run(0.2)
    sizes = [len(slot) for slot in world.reflector._slots]
    assert sum(sizes) == 100
    assert max(sizes) <= 3 * 100 / SLOTS


def test_capacity_is_a_limit_and_the_ticket_survives_it(make_world: type) -> None:
    world: World = make_world(capacity=2)
    alice, bob = world.agent("alice"), world.agent("bob", slot=5)
    world.run(0.2)
    carol = world.agent("carol", slot=7)
    world.run(0.2)
    assert not carol.line.opened
    assert world.count("no_capacity") > 0
    alice.line.close()
    world.run(0.3)
    assert carol.line.opened
    assert bob.line.opened


def test_next_deadline_is_the_next_occupied_slot(world: World) -> None:
    assert world.reflector.next_deadline(world.now) == pytest.approx(world.now + 0.020, abs=0.0011)
    alice = world.agent("alice")
    world.run(0.1)
    at = alice.received[-1][0]
    assert world.reflector.next_deadline(world.now) == pytest.approx(at + 0.020, abs=0.0011)
