"""Lines that take the place of others: what tickets handed out in cells can and cannot be multiplied into."""

from typing import Any

from relay.media_reflector import Ticket
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.handouts import DRAINING_PAUSE, RESUMED
from relay.media_reflector.opening import OPENING_EXPIRY
from relay.media_reflector.resumption import BackupMint
from relay.media_reflector.succession import OUT_AT_ONCE, OVERLAP
from tests.media_reflector.conftest import CODE

World = Any
Agent = Any
HANDED = 5.0
"""Seconds in which a fresh line got its first ticket."""
PEER = b"p" * 32
KEY = bytes(range(32))
CROWD = 40
"""Lines of a full reflector, in twenty calls."""
AGAIN = b"where they meet."
"""A join code for the place at which the two lines of a call come back."""


def _alice(world: World) -> tuple[Agent, Ticket]:
    alice = world.agent("alice")
    world.run(HANDED)
    return alice, alice.line.resumption


def test_one_fetched_ticket_never_keeps_more_than_two_lines(make_world: type) -> None:
    """Whoever opens a line with every ticket that they are handed, and closes none."""
    world: World = make_world(capacity=64)
    world.agent("mallory 0")
    used: set[bytes] = set()
    most = 0
    for _ in range(150):
        world.run(1.0)
        for agent in list(world.agents.values()):
            ticket = agent.line.resumption
            if ticket is not None and ticket.id not in used:
                used.add(ticket.id)
                world.agent(f"mallory {len(used)}", ticket=ticket, slot=len(used) % 20)
            if agent.line.lost:
                del world.agents[agent.name]
        most = max(most, world.reflector.occupancy.lines)
    assert len(used) >= 3
    assert most == 2
    assert world.count("lines_succeeded") >= 2


def test_a_line_ends_when_its_successor_has_stood_for_some_time(world: World) -> None:
    alice, ticket = _alice(world)
    again = world.agent("again", slot=8, ticket=ticket)
    world.run(OVERLAP - 0.5)
    assert again.line.opened
    assert not alice.line.lost
    assert world.reflector.occupancy.lines == 2
    world.run(3.0)
    assert alice.line.lost
    assert not again.line.lost
    assert world.reflector.occupancy.lines == 1
    world.run(RESUMED[1])
    assert again.line.resumption not in (None, ticket)


def test_a_line_that_is_heard_again_stays_when_the_new_one_closes(world: World) -> None:
    """An outage of the agent's own: it keeps the line that it had."""
    alice, ticket = _alice(world)
    again = world.agent("again", slot=8, ticket=ticket)
    world.run(4.0)
    again.line.close()
    world.run(OVERLAP + 40.0)
    assert not alice.line.lost
    assert world.reflector.occupancy.lines == 1
    (line,) = world.reflector._lines.values()
    assert line.successor is None
    assert world.count("resumptions_sent") >= 2
    assert alice.line.resumption.id != ticket.id, "the used one is not handed out again"


def test_until_its_address_is_proved_a_successor_ends_nothing(world: World) -> None:
    alice, ticket = _alice(world)
    line = world.client(ticket)
    world.receive(line.next_cell(world.now), "from nowhere")
    world.run(OVERLAP + 12.0)
    assert world.reflector.occupancy.opening == 0
    assert not alice.line.lost
    (held,) = world.reflector._lines.values()
    assert held.successor is None


def test_of_two_tickets_of_one_line_one_opens_at_a_time(world: World) -> None:
    alice, first = _alice(world)
    held = world.held(alice)
    second = world.office.resumption(world.now)
    world.reflector._succession.handed(held, second.id)
    one = world.agent("one", slot=8, ticket=first)
    world.run(0.5)
    other = world.agent("other", slot=9, ticket=second)
    world.run(2.0)
    assert one.line.opened
    assert not other.line.opened
    assert world.count("already_succeeded") > 0
    world.run(OVERLAP)
    assert world.office.find(second.id, world.now) is None, "it ended with the line"


def test_a_lines_tickets_end_with_it(world: World) -> None:
    alice, ticket = _alice(world)
    alice.line.close()
    world.run(0.2)
    late = world.agent("late", slot=8, ticket=ticket)
    world.run(1.0)
    assert not late.line.opened
    assert world.reflector._succession._holders == {}


def test_only_the_latest_tickets_are_out(world: World) -> None:
    alice, _ = _alice(world)
    held = world.held(alice)
    tickets = [world.office.resumption(world.now) for _ in range(4)]
    for ticket in tickets:
        world.reflector._succession.handed(held, ticket.id)
        world.reflector._succession.handed(held, ticket.id)
    good = [world.office.find(ticket.id, world.now) is not None for ticket in tickets]
    assert good == [False] * (4 - OUT_AT_ONCE) + [True] * OUT_AT_ONCE
    assert len(world.reflector._succession._holders) == OUT_AT_ONCE


def test_after_a_restart_there_is_nobody_to_take_the_place_of(world: World) -> None:
    _, ticket = _alice(world)
    keys = world.office.sealing_keys()
    world.start()
    assert world.office.restore(keys)
    world.agents.clear()
    again = world.agent("again", ticket=ticket)
    world.run(OVERLAP + 3.0)
    assert again.line.opened
    assert not again.line.lost
    assert again.line.resumption is not None, "and tickets come as soon as on any line"


# A reflector that is full, or drains.


def _come_back(world: World, agents: list[Agent], code: bytes | None = None) -> list[Agent]:
    """The ways of these agents are dead, and each opens another line with the ticket it was handed."""
    for agent in agents:
        agent.silent = True
    return [
        world.agent(f"{agent.name} again", slot=agent.slot + 1, ticket=agent.line.resumption, code=code)
        for agent in agents
    ]


def test_at_a_full_reflector_lost_lines_come_back_and_nothing_else(make_world: type) -> None:
    world: World = make_world(capacity=2)
    lost = list(world.crossed_pair())
    world.run(HANDED)
    ticket = world.ticket()
    back = _come_back(world, lost[:1])
    world.run(0.5)
    assert back[0].line.opened
    new = world.agent("new", slot=15, ticket=ticket)
    world.run(OVERLAP + 1.0)
    assert not new.line.opened
    assert world.count("no_capacity") > 0
    assert world.reflector.occupancy.lines == 2


def test_a_full_reflector_takes_all_its_lines_back_at_once(make_world: type) -> None:
    """Of a part of them, most would come back without the other end of their call, and be seen to look elsewhere."""
    world: World = make_world(capacity=CROWD)
    lost = [world.agent(f"agent {n}", slot=n % 19, code=bytes([n // 2]) * 16) for n in range(CROWD)]
    world.run(HANDED)
    assert world.reflector.occupancy.crossed == CROWD // 2
    back: list[Agent] = []
    for number in sorted(range(CROWD), key=lambda n: n * 7 % CROWD):
        back += _come_back(world, [lost[number]], bytes([100 + number // 2]) * 16)
        world.run(2.5 / CROWD)
    world.run(1.0)
    assert all(agent.line.crossed for agent in back)
    assert world.reflector.occupancy.lines == 2 * CROWD
    assert world.count("no_capacity") == 0
    world.run(OVERLAP)
    assert world.reflector.occupancy.lines == CROWD
    assert not any(agent.line.lost for agent in back)


def test_a_line_that_opens_in_vain_gives_its_place_back(make_world: type) -> None:
    world: World = make_world(capacity=1)
    alice, ticket = _alice(world)
    held = world.held(alice)
    world.receive(world.client(ticket).next_cell(world.now), "from nowhere")
    assert held.successor is not None
    world.run(OPENING_EXPIRY + 0.5)
    assert held.successor is None
    assert not alice.line.lost


def test_while_it_drains_lost_lines_come_back_and_go_on_with_their_call(world: World) -> None:
    lost = list(world.crossed_pair())
    idle = world.agent("idle", slot=17)
    world.run(HANDED)
    ticket = world.ticket()
    world.reflector.drain()
    world.run(0.5)
    back = _come_back(world, lost, AGAIN)
    (late,) = _come_back(world, [idle], b"a new call's 16.")
    new = world.agent("new", slot=15, ticket=ticket)
    world.run(1.0)
    assert all(agent.line.crossed for agent in back), "under the code of the place, which nobody waited under"
    assert late.line.opened
    assert not late.line.crossed
    assert world.count("joins_refused") == 1, "who was in no call begins none"
    assert not new.line.opened
    assert world.count("draining") > 0
    world.run(OVERLAP + DRAINING_PAUSE)
    assert all(agent.line.draining for agent in (*back, late)), "they are told as the others were"
    assert all(agent.line.crossed for agent in back)
    assert not world.reflector.drained


def test_an_answer_that_was_lost_when_a_drain_began_is_given_again(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    world.loses = lambda cell, to_reflector: not to_reflector
    world.run(0.1)
    assert world.reflector.occupancy.opening == 1
    world.reflector.drain()
    world.loses = lambda cell, to_reflector: False
    world.run(0.5)
    assert alice.line.opened


# The lines of a peer's backup tickets.


def _guest_world(make_world: type, capacity: int) -> tuple[World, BackupMint]:
    world: World = make_world(capacity=capacity)
    world.office._keys.leave(PEER, KEY, world.now)
    world.office.accept_peers([PEER])
    return world, BackupMint(KEY, b"i" * 32, world.entropy, world.now)


def test_a_peers_tickets_fill_half_of_a_reflector_and_no_more(make_world: type) -> None:
    world, mint = _guest_world(make_world, 8)
    guests = [world.agent(f"guest {n}", slot=n, ticket=mint.ticket(world.now)) for n in range(6)]
    world.run(1.0)
    assert sum(guest.line.opened for guest in guests) == 4
    assert world.count("no_share") > 0
    world.agent("fetched", slot=15)
    world.run(0.5)
    assert world.agents["fetched"].line.opened
    gone = next(guest for guest in guests if guest.line.opened)
    gone.line.close()
    world.run(1.0)
    assert sum(guest.line.opened for guest in guests) == 5, "its place went to the next one"


def test_coming_back_does_not_get_a_guest_out_of_its_peers_share(make_world: type) -> None:
    world, mint = _guest_world(make_world, 4)
    for number in range(2):
        world.agent(f"guest {number}", slot=number, ticket=mint.ticket(world.now))
    world.run(HANDED)
    again = world.agent("again", slot=8, ticket=world.agents["guest 0"].line.resumption)
    world.run(OVERLAP + 1.0)
    assert again.line.opened
    assert world.reflector.occupancy.lines == 2
    late = world.agent("late", slot=9, ticket=mint.ticket(world.now))
    world.run(1.0)
    assert not late.line.opened
    assert world.reflector._openings._guests == {PEER: 2}
    for agent in world.agents.values():
        agent.silent = True
    world.run(45.0)
    assert world.reflector._openings._guests == {}


def test_a_backup_ticket_is_the_same_after_coming_back(make_world: type) -> None:
    mint = BackupMint(KEY, b"i" * 32, make_world().entropy, 1000.0)
    world: World = make_world(backup=mint)
    alice = world.agent("alice")
    world.run(9.0)
    handed = alice.line.backup
    again = world.agent("again", slot=8, ticket=alice.line.resumption)
    world.run(RESUMED[1] + 5.0)
    assert again.line.backup is not None
    assert again.line.backup[1].id == handed[1].id


def test_a_close_of_the_old_line_ends_nothing_else(world: World) -> None:
    alice, ticket = _alice(world)
    again = world.agent("again", slot=8, ticket=ticket)
    world.run(0.5)
    held = world.held(alice)
    world.reflector._obey(held, Control(Operation.CLOSE), world.now)
    world.run(OVERLAP + 1.0)
    assert not again.line.lost
    assert world.count("lines_succeeded") == 0
