"""Who is crossed with whom, here and over the slots of a trunk."""

from typing import Any

import pytest

from relay.core import Counters
from relay.media_reflector import JoinRefused, LineCrossed
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.crossing import CROSSED_EVERY, GOES_ON_WITHIN, LATEST_AGAIN, SOONEST_AGAIN
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.forwarding.face import DownKeys, Elsewhere, Expired, Stranger, Upcall
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender, opener
from relay.rtp.cell import BODY_SIZE, LinkType

CODE = b"join code of 16 "
AGAIN = b"waits here: 16.."
PEER = bytes(range(32))
World = Any


def _body(mark: bytes) -> bytes:
    return mark.ljust(BODY_SIZE, b".")


def test_a_third_line_under_the_same_code_is_refused_and_told_another_moment(world: World) -> None:
    world.crossed_pair()
    mallory = world.agent("mallory", slot=7, code=CODE)
    world.run(1.0)
    (refused,) = [event for event in mallory.events if isinstance(event, JoinRefused)]
    assert SOONEST_AGAIN <= refused.seconds <= LATEST_AGAIN
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
    bob.speak = lambda: _body(b"from bob")
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


def test_a_new_code_takes_the_place_of_the_old_one(world: World) -> None:
    alice, bob = world.crossed_pair()
    carol = world.agent("carol", slot=5, code=b"another code .16")
    world.run(0.3)
    alice.line.join(b"another code .16")
    world.run(0.3)
    assert alice.line.crossed
    assert carol.line.crossed
    bob.events.clear()
    world.run(0.3)
    assert not bob.bodies
    assert world.reflector.occupancy.crossed == 1


def test_leaving_under_another_code_changes_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    body = Control(Operation.LEAVE, b"another code .16").to_body(world.entropy)
    world.receive(alice.line._epochs.sender.seal(LinkType.CONTROL, body), "alice")
    assert world.reflector.occupancy.crossed == 1


def test_a_lost_crossed_is_said_again(world: World) -> None:
    alice = world.agent("alice", code=CODE)
    bob = world.agent("bob", slot=9, code=CODE)
    eaten: list[bytes] = []

    def loses(cell: bytes, to_reflector: bool) -> bool:
        if not to_reflector and world.count("crossings") and len(eaten) < 6:
            eaten.append(cell)
            return True
        return False

    world.loses = loses
    world.run(0.8)
    assert len(eaten) == 6
    assert alice.line.crossed
    assert bob.line.crossed
    settled = world.count("control_sent")
    world.run(1.0)
    resumptions = world.count("resumptions_sent")
    assert world.count("control_sent") - settled <= resumptions


# Trunks.


class Trunk:
    """One slot of a trunk, played by hand: the far end is the test."""

    def __init__(self, world: World, slots: int = 1) -> None:
        self.world = world
        self.counters = Counters(("told",))
        self.free_slots: list[Line] = []
        self.asked: list[tuple[bytes, bytes]] = []
        self.freed: list[tuple[int, bytes]] = []
        self.handled: list[Upcall] = []
        self.told: list[Control] = []
        self.watched = 0
        self.mine: tuple[type, ...] = ()
        for number in range(slots):
            self.free_slots.append(self._open(number))

    def _open(self, number: int) -> Line:
        chain = EpochChain(bytes([number + 1]) * 32)
        found = self.world.forwarding.add_line(number, chain.current.up, self.world.now)
        line = Line(found, number, chain, trunk=True)
        keys = chain.current.down
        down = DownKeys(keys.ssrc, keys.key, keys.salt, 7, 7)
        self.world.forwarding.settle(found, down, self.world.place("far end"), advance=False)
        self.world.reflector.adopt(line)
        self.sender = CellSender(chain.current.up.ssrc, self.world.entropy, chain.current.up)
        self.ear = opener(keys)
        return line

    def take(self, code: bytes, identity: bytes, now: float) -> Line | None:
        self.asked.append((code, identity))
        return self.free_slots.pop() if self.free_slots and identity == PEER else None

    def free(self, line: Line, code: bytes) -> None:
        self.freed.append((line.number, code))

    def handle(self, upcall: Stranger | Elsewhere | Expired, now: float) -> bool:
        self.handled.append(upcall)
        return isinstance(upcall, self.mine)

    def obey(self, slot: Line, control: Control, now: float) -> bool:
        self.told.append(control)
        return control.operation is Operation.ALIVE

    def watch(self, now: float) -> None:
        self.watched += 1

    # The far end.

    def say(self, control: Control) -> None:
        cell = self.sender.seal(LinkType.CONTROL, control.to_body(self.world.entropy))
        self.world.receive(cell, "far end")
        # The data plane hands up one control cell of a line in a tick.
        self.world.run(0.02)

    def send(self, body: bytes) -> None:
        self.world.receive(self.sender.seal(LinkType.END_TO_END, body), "far end")

    def heard(self) -> list[bytes]:
        """Link type and body of every cell that left for the far end since the last call."""
        cells = [cell for cell, place in self.world.stray if place == "far end"]
        self.world.stray = [(cell, place) for cell, place in self.world.stray if place != "far end"]
        payloads = [self.ear.unprotect(cell) for cell in cells]
        assert all(isinstance(payload, bytes) for payload in payloads)
        return [payload for payload in payloads if isinstance(payload, bytes)]


@pytest.fixture
def trunk(world: World) -> Trunk:
    trunk = Trunk(world)
    world.reflector._trunks = world.reflector._crossings._trunks = trunk
    return trunk


def _controls(payloads: list[bytes]) -> list[Control]:
    found = [Control.from_body(payload[1:]) for payload in payloads if payload[0] == LinkType.CONTROL]
    return [control for control in found if control is not None]


def test_a_call_goes_through_a_trunk_once_the_far_end_says_so(world: World, trunk: Trunk) -> None:
    alice = world.agent("alice")
    world.run(0.2)
    alice.line.join(CODE, via=PEER)
    world.run(0.5)
    assert trunk.asked == [(CODE, PEER)], "once, though it is said again and again"
    assert not alice.line.crossed
    assert _controls(trunk.heard()) == [], "the switch says JOIN itself"
    trunk.say(Control(Operation.CROSSED, CODE))
    world.run(0.3)
    assert alice.line.crossed
    alice.line.submit(_body(b"to the far end"))
    world.run(0.1)
    assert bytes([LinkType.END_TO_END]) + _body(b"to the far end") in trunk.heard()
    trunk.send(_body(b"from the far end"))
    world.run(0.1)
    assert _body(b"from the far end") in alice.bodies
    alice.line.leave()
    world.run(0.1)
    assert trunk.freed == [(1, CODE)]
    assert world.reflector.occupancy.crossed == 0
    assert not alice.line.lost


def test_occupancy_counts_no_trunk_slots_as_lines(world: World, trunk: Trunk) -> None:
    assert world.reflector.occupancy.lines == 0
    world.agent("alice")
    world.run(0.2)
    assert world.reflector.occupancy.lines == 1


def test_a_trunk_that_is_full_or_not_there_is_a_refusal(world: World, trunk: Trunk) -> None:
    lines = []
    for number, identity in enumerate((PEER, PEER, bytes(32))):
        line = world.agent(f"agent {number}", slot=2 + number)
        world.run(0.2)
        line.line.join(bytes([number]) * 16, via=identity)
        lines.append(line)
    world.run(0.5)
    assert [agent.saw(JoinRefused) for agent in lines] == [False, True, True]
    assert len(trunk.asked) == 3
    assert world.count("joins_refused") == 2


def test_without_trunks_every_way_over_one_is_refused(world: World) -> None:
    alice = world.agent("alice")
    world.run(0.2)
    alice.line.join(CODE, via=PEER)
    world.run(0.5)
    assert alice.saw(JoinRefused)


def test_two_agents_who_ask_here_need_no_trunk(world: World, trunk: Trunk) -> None:
    alice, bob = world.agent("alice", code=CODE), world.agent("bob", slot=9)
    world.run(0.2)
    bob.line.join(CODE, via=PEER)
    world.run(0.3)
    assert alice.line.crossed
    assert bob.line.crossed
    assert trunk.asked == []


def test_the_far_end_refuses(world: World, trunk: Trunk) -> None:
    alice = world.agent("alice")
    world.run(0.2)
    alice.line.join(CODE, via=PEER)
    world.run(0.2)
    trunk.say(Control.refused(CODE, 77))
    world.run(0.1)
    (refused,) = [event for event in alice.events if isinstance(event, JoinRefused)]
    assert refused.seconds == 77
    assert trunk.freed == [], "the far end knows"
    assert world.reflector.occupancy.crossed == 0


def test_a_call_that_comes_over_a_trunk(world: World, trunk: Trunk) -> None:
    bob = world.agent("bob", code=CODE)
    world.run(0.3)
    trunk.say(Control(Operation.JOIN, CODE))
    world.run(0.3)
    assert bob.saw(LineCrossed)
    assert _controls(trunk.heard()) == [Control(Operation.CROSSED, CODE)]
    trunk.say(Control(Operation.JOIN, CODE))
    world.run(CROSSED_EVERY)
    assert _controls(trunk.heard()) == []
    trunk.say(Control(Operation.JOIN, CODE))
    world.run(0.1)
    assert _controls(trunk.heard()) == [Control(Operation.CROSSED, CODE)], "said again: it may have been lost"
    trunk.say(Control(Operation.LEAVE, CODE))
    world.run(0.1)
    assert world.reflector.occupancy.crossed == 0
    assert trunk.freed == [], "the far end knows"


def test_what_the_far_end_says_of_other_codes_is_nothing(world: World, trunk: Trunk) -> None:
    alice, bob = world.crossed_pair()
    trunk.say(Control(Operation.CROSSED, CODE))
    trunk.say(Control.refused(CODE, 5))
    trunk.say(Control(Operation.LEAVE, CODE))
    assert world.count("unknown_control") == 2
    assert world.reflector.occupancy.crossed == 1
    assert alice.line.crossed
    assert not bob.saw(JoinRefused)


def test_an_agent_cannot_play_the_far_end_of_a_trunk(world: World, trunk: Trunk) -> None:
    alice, mallory = world.agent("alice"), world.agent("mallory", slot=9)
    world.run(0.2)
    alice.line.join(CODE, via=PEER)
    world.run(0.2)
    body = Control(Operation.CROSSED, CODE).to_body(world.entropy)
    world.receive(mallory.line._epochs.sender.seal(LinkType.CONTROL, body), "mallory")
    world.run(0.1)
    assert not alice.line.crossed
    assert world.count("unknown_control") == 1


def test_a_slot_that_is_gone_uncrosses_its_call(world: World, trunk: Trunk) -> None:
    alice = world.agent("alice")
    world.run(0.2)
    slot = trunk.free_slots[-1]
    alice.line.join(CODE, via=PEER)
    world.run(0.2)
    world.reflector.dismiss(slot)
    world.reflector.dismiss(slot)
    world.run(0.1)
    assert alice.saw(JoinRefused)
    assert world.reflector.occupancy.crossed == 0
    assert world.reflector.occupancy.lines == 1
    assert world.forwarding.lines == 1


def test_trunks_look_first_at_strangers_and_at_what_is_theirs(world: World, trunk: Trunk) -> None:
    alice = world.agent("alice")
    world.run(0.3)
    assert [type(upcall) for upcall in trunk.handled] == [Stranger]
    world.receive(alice.line.next_cell(world.now), "elsewhere")
    assert len(trunk.handled) == 1, "an agent's line is not theirs"
    payload = bytes([LinkType.CHAFF]) + bytes(BODY_SIZE)
    theirs = [Elsewhere(1, False, payload, world.place("far end")), Expired(1), Expired(999)]
    trunk.mine = (Elsewhere, Expired)
    world.reflector.handle(theirs, world.now)
    assert trunk.handled[1:] == theirs
    trunk.mine = (Stranger,)
    world.receive(world.client().next_cell(world.now), "somebody")
    assert world.reflector.occupancy.opening == 0


def test_a_call_over_a_broken_trunk_is_told(world: World, trunk: Trunk) -> None:
    alice = world.agent("alice")
    world.run(0.2)
    slot = trunk.free_slots[-1]
    alice.line.join(CODE, via=PEER)
    world.run(0.2)
    trunk.say(Control(Operation.CROSSED, CODE))
    world.run(0.3)
    assert alice.line.crossed
    world.reflector.give_up(slot)
    world.run(0.1)
    assert alice.saw(JoinRefused)
    assert not alice.line.crossed
    assert world.count("crossings_cut") == 1
    assert trunk.freed == [(1, CODE)]
    assert world.reflector.is_free(slot)


def _cut_while_draining(world: World, trunk: Trunk) -> Any:
    """Alice, whose call over the trunk broke off after the drain began, and was told."""
    alice = world.agent("alice", code=CODE)
    world.run(0.3)
    trunk.say(Control(Operation.JOIN, CODE))
    world.run(0.3)
    world.run(5.0)
    assert alice.line.crossed
    assert alice.line.resumption is not None
    world.reflector.drain()
    world.reflector.give_up(next(slot for slot in world.reflector._lines.values() if slot.trunk))
    world.run(0.1)
    assert alice.saw(JoinRefused)
    alice.events.clear()
    return alice


def test_while_it_drains_who_lost_the_far_end_waits_for_it_under_a_new_code(
    world: World, trunk: Trunk
) -> None:
    alice = _cut_while_draining(world, trunk)
    assert not world.reflector.drained, "before the agent said anything"
    alice.line.join(AGAIN)
    world.run(GOES_ON_WITHIN + 5.0)
    assert not alice.saw(JoinRefused)
    assert not world.reflector.drained
    trunk.say(Control(Operation.JOIN, AGAIN))
    world.run(0.3)
    assert alice.line.crossed
    alice.line.leave()
    world.run(0.2)
    assert world.reflector.drained


def test_while_it_drains_a_call_that_was_cut_long_ago_is_over(world: World, trunk: Trunk) -> None:
    alice = _cut_while_draining(world, trunk)
    world.run(GOES_ON_WITHIN + 0.2)
    assert world.reflector.drained
    alice.line.join(AGAIN)
    world.run(0.3)
    assert alice.saw(JoinRefused)
    assert world.reflector.drained


def test_while_it_drains_a_line_in_the_place_of_one_that_was_cut_goes_on_too(
    world: World, trunk: Trunk
) -> None:
    alice = _cut_while_draining(world, trunk)
    alice.silent = True
    back = world.agent("back", slot=8, ticket=alice.line.resumption, code=AGAIN)
    world.run(1.0)
    assert back.line.opened
    assert not back.saw(JoinRefused)
    trunk.say(Control(Operation.JOIN, AGAIN))
    world.run(0.3)
    assert back.line.crossed


def test_trunks_hear_what_is_said_on_their_slots_and_of_time(world: World, trunk: Trunk) -> None:
    world.crossed_pair()
    assert trunk.told == []
    trunk.say(Control(Operation.ALIVE))
    trunk.say(Control(Operation.LEAVE, CODE))
    assert [control.operation for control in trunk.told] == [Operation.ALIVE, Operation.LEAVE]
    assert world.count("unknown_control") == 0
    assert trunk.watched >= 5
