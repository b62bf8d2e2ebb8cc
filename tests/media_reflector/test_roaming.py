"""Roaming and rekeying: a new place gets nothing but challenges, the old path goes on, no bits tie one to the other."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.media_reflector import LineLost, LossCause
from relay.media_reflector.client_moves import QUIET, REKEY_LATEST, REKEY_SOONEST
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.roaming import REKEY_PAUSE, REKEYS_AT_ONCE, Roaming
from relay.rtp.cell import BODY_SIZE, LinkType

World = Any
Agent = Any


def _body(mark: bytes) -> bytes:
    return mark.ljust(BODY_SIZE, b".")


def _ssrcs(cells: list[bytes]) -> set[bytes]:
    return {cell[8:12] for cell in cells}


def _numbered(agent: Agent, mark: bytes = b"number ") -> None:
    numbers = iter(range(1_000_000))
    agent.speak = lambda: _body(mark + b"%d" % next(numbers))


def _heard(agent: Agent, mark: bytes = b"number ") -> list[int]:
    return [int(body.rstrip(b".")[len(mark) :]) for body in agent.bodies if body.startswith(mark)]


def _say(agent: Agent, world: World, control: Control) -> bytes:
    """A cell in which the agent says `control`."""
    body = control.to_body(world.entropy)
    cell: bytes = agent.line._epochs.sender.seal(LinkType.CONTROL, body)
    return cell


# Moving.


def test_a_call_goes_on_at_another_address(world: World) -> None:
    alice, bob = world.crossed_pair()
    world.run(3.0)
    world.delay = 0.03
    _numbered(alice, b"from alice ")
    _numbered(bob, b"from bob ")
    world.run(1.0)
    alice.move("cafe")
    world.run(2.0)
    assert not alice.line.lost
    assert alice.line.crossed
    assert world.count("roams") == 1
    assert not alice.line._epochs.ahead
    sent = set(_heard(alice, b"from bob "))
    missing = set(range(min(sent), max(sent) + 1)) - sent
    # What was on its way to the old address is lost, and what left for it until the proof was there.
    assert len(missing) <= 10
    # The other way loses nothing but what control cells displace: cells of the following epoch are passed on at once.
    heard = _heard(bob, b"from alice ")
    assert len(set(range(heard[-1] + 1)) - set(heard)) <= 8


def test_a_new_address_gets_one_challenge_for_each_cell_until_it_echoed(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.stray.clear()
    alice.silent = True
    alice.line.move()
    sent = 0
    for _ in range(25):
        world.receive(alice.line.next_cell(world.now), "cafe")
        sent += 1
        world.run(0.02)
        assert len([place for _, place in world.stray if place == "cafe"]) <= sent
    assert len(world.stray) == sent, "each may be lost"
    assert world.count("roams") == 0
    # Whoever is there says it back, and only then the line's own cells come.
    alice.line.receive(world.stray[-1][0], world.now)
    world.receive(alice.line.next_cell(world.now), "cafe")
    assert world.count("roams") == 1
    world.stray.clear()
    world.run(1.0)
    assert [place for _, place in world.stray] == ["cafe"] * 50


def test_the_old_path_goes_on_until_the_new_one_is_proved(world: World) -> None:
    alice, bob = world.crossed_pair()
    _numbered(bob)
    alice.silent = True
    alice.line.move()
    before = len(alice.received)
    for _ in range(50):
        world.receive(alice.line.next_cell(world.now), "cafe")
        world.run(0.02)
    assert len(alice.received) - before == 50, "at the old address, one in every tick"
    assert not bob.line.lost


def test_the_two_paths_share_no_ssrc_no_key_and_no_bits(world: World) -> None:
    alice, bob = world.crossed_pair()
    world.run(1.0)
    alice.speak = bob.speak = lambda: _body(b"the same body again and again")
    world.run(1.0)
    old_up, old_down = alice.sent[:], alice.received[:]
    alice.move("cafe")
    world.run(1.0)
    # What the two networks see: all that was sent from or to the one address, all of the other.
    new_up = [cell for _, cell in alice.sent[len(old_up) :]]
    new_down = [cell for _, cell in alice.received[len(old_down) :]]
    old = [cell for _, cell in old_up + old_down] + [cell for cell, place in world.stray if place == "alice"]
    assert len(new_up) == 50
    assert len(new_down) >= 48
    assert not _ssrcs(old) & _ssrcs(new_up + new_down)
    assert not {cell[12:] for cell in old} & {cell[12:] for cell in new_up + new_down}
    # Sequence numbers and timestamps start anew.
    for before, after in ((old_up[-1][1], new_up[0]), (old_down[-1][1], new_down[0])):
        assert abs(int.from_bytes(after[2:4]) - int.from_bytes(before[2:4])) > 20
        steps = (int.from_bytes(after[4:8]) - int.from_bytes(before[4:8])) & 0xFFFFFFFF
        assert steps > 960 * 1000 or steps % 960


def test_the_leaky_control_is_caught(world: World) -> None:
    """A line that goes on elsewhere as it was: the check above finds its SSRC in both places."""
    alice, _ = world.crossed_pair()
    old = [cell for _, cell in alice.sent + alice.received]
    mark = len(alice.sent)
    alice.place = "cafe"
    world.run(0.1)
    assert _ssrcs(old) & _ssrcs([cell for _, cell in alice.sent[mark:]])


def test_moving_there_and_back_and_on(world: World) -> None:
    alice, bob = world.crossed_pair()
    seen: list[set[bytes]] = []
    for number, place in enumerate(["cafe", "alice", "train", "cafe", "home"]):
        mark = len(alice.sent), len(alice.received)
        alice.move(place)
        world.run(0.5)
        assert not alice.line._epochs.ahead
        assert world.count("roams") == number + 1
        cells = alice.sent[mark[0] :] + alice.received[mark[1] :]
        assert not any(ssrcs & _ssrcs([cell for _, cell in cells]) for ssrcs in seen)
        seen.append(_ssrcs([cell for _, cell in cells]))
    _numbered(bob)
    world.run(0.5)
    assert len(_heard(alice)) > 20


def test_moving_again_before_the_first_move_was_proved(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.delay = 0.05
    alice.move("tunnel")
    world.run(0.06)
    alice.move("cafe")
    world.run(0.5)
    assert not alice.line._epochs.ahead
    assert not alice.line.lost
    assert world.held(alice).address == world.place("cafe")


@pytest.mark.parametrize("lost", ["challenges", "the first proof", "the first cells at the new place"])
def test_moving_survives_loss(world: World, lost: str) -> None:
    alice, _ = world.crossed_pair()
    eaten: list[bytes] = []

    def loses(cell: bytes, to_reflector: bool) -> bool:
        away = alice.place == "cafe" and cell[8:12] not in known
        wanted = to_reflector == (lost == "the first proof")
        if away and wanted and len(eaten) < 8:
            if lost == "the first proof" and alice.line._moves._proof is None:
                return False
            eaten.append(cell)
            return True
        return False

    known = _ssrcs([cell for agent in world.agents.values() for _, cell in agent.sent + agent.received])
    if lost == "the first cells at the new place":
        known.add(world.held(alice).chain.current.challenge().ssrc.to_bytes(4))
    world.loses = loses
    alice.move("cafe")
    world.run(1.2)
    assert len(eaten) == 8
    assert not alice.line.lost
    assert not alice.line._epochs.ahead
    assert world.held(alice).address == world.place("cafe")


def test_a_move_to_where_nobody_answers_ends_the_line(world: World) -> None:
    alice, _ = world.crossed_pair()
    alice.move("tunnel")
    world.loses = lambda cell, to_reflector: True
    world.run(1.4)
    assert not alice.line.lost
    world.run(0.2)
    assert alice.line.lost
    assert [event.cause for event in alice.events if isinstance(event, LineLost)] == [LossCause.SILENT]


# An address that changes behind the agent's back.


def test_a_translator_that_changes_its_mind_is_followed(world: World) -> None:
    alice, bob = world.crossed_pair()
    _numbered(bob)
    world.delay = 0.03
    world.run(0.5)
    before = {cell[8:12] for _, cell in alice.sent + alice.received}
    alice.place = "another port"
    world.run(1.0)
    assert world.count("roams") == 1
    assert alice.line.counters["moves"] == 0
    assert not alice.line.lost
    mark = len(alice.received), len(alice.sent)
    world.run(0.5)
    assert not before & _ssrcs([cell for _, cell in alice.received[mark[0] :] + alice.sent[mark[1] :]])


def test_a_path_that_still_works_is_not_given_up_for_a_challenge(world: World) -> None:
    """The agent's cells come from elsewhere, but the old way back still works: nothing needs to change."""
    alice, _ = world.crossed_pair()
    for _ in range(50):
        world.emit(alice)
        world.receive(alice.line.next_cell(world.now), "another port")
        world.run(0.02)
        for challenge, place in world.stray:
            if place == "another port":
                alice.line.receive(challenge, world.now)
        world.stray.clear()
    assert world.count("challenges_sent") > 30
    assert alice.line.counters["unasked_challenge"] > 30
    assert world.count("roams") == 0


# Somebody on the path.


class Copier:
    """Copies every cell of an agent and is faster with it, under a source of its own choice."""

    def __init__(self, world: World, agent: Agent, source: str) -> None:
        self.world, self.agent, self.source = world, agent, source
        self.copied = 0
        world.loses = self.pass_on
        self.answer: Callable[[bytes], None] = lambda cell: None

    def pass_on(self, cell: bytes, to_reflector: bool) -> bool:
        if to_reflector and cell == self.agent.sent[-1][1]:
            self.copied += 1
            self.world.receive(cell, self.source)
        return False

    @property
    def caught(self) -> list[bytes]:
        """What came to the forged source."""
        return [cell for cell, place in self.world.stray if place == self.source]


def test_a_copier_gains_nothing_and_kills_nothing(world: World) -> None:
    alice, bob = world.crossed_pair()
    _numbered(bob)
    world.run(1.0)
    received, bodies = len(alice.received), len(_heard(alice))
    copier = Copier(world, alice, "victim")
    world.run(3.0)
    assert copier.copied == 150
    assert 0 < len(copier.caught) <= copier.copied, "challenges, one for one at most"
    assert world.count("roams") == 0
    assert len(alice.received) - received == 150, "the old path has its cell in every tick"
    assert len(_heard(alice)) - bodies >= 149
    assert not alice.line.lost
    # The copies are the agent's own words: the call goes on whoever carries them.
    world.loses = lambda cell, to_reflector: False
    alice.move("cafe")
    world.run(0.5)
    assert world.count("roams") == 1


def test_what_a_copier_catches_tells_nothing_of_the_next_path(world: World) -> None:
    alice, _ = world.crossed_pair()
    copier = Copier(world, alice, "copier")
    world.run(1.0)
    caught = copier.caught
    assert len(caught) > 20
    world.loses = lambda cell, to_reflector: False
    mark = len(alice.sent), len(alice.received)
    alice.move("cafe")
    world.run(0.5)
    next_path = [cell for _, cell in alice.sent[mark[0] :] + alice.received[mark[1] :]]
    assert len(next_path) > 40
    assert not _ssrcs(caught) & _ssrcs(next_path)


def test_challenges_under_the_following_epoch_would_tell(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaky control of the test above."""
    original = Roaming.challenge
    monkeypatch.setattr(
        Roaming,
        "challenge",
        lambda self, line, source, following: original(self, line, source, following=True),
    )
    alice, _ = world.crossed_pair()
    copier = Copier(world, alice, "copier")
    world.run(1.0)
    world.loses = lambda cell, to_reflector: False
    mark = len(alice.received)
    alice.move("cafe")
    world.run(0.5)
    assert _ssrcs(copier.caught) & _ssrcs([cell for _, cell in alice.received[mark:]])


def test_a_copier_who_carries_challenges_to_the_agent_does_not_become_its_path(world: World) -> None:
    """Forged as if they came from the reflector.  The agent still hears its own cells and does not answer."""
    alice, bob = world.crossed_pair()
    _numbered(bob)
    world.run(1.0)
    received = len(alice.received)
    copier = Copier(world, alice, "copier")
    for _ in range(100):
        world.run(0.02)
        for cell in copier.caught:
            alice.line.receive(cell, world.now)
        world.stray.clear()
    assert copier.copied == 100
    assert world.count("roams") == 0
    assert len(alice.received) - received == 100
    assert alice.line.counters["unasked_challenge"] > 50


def test_an_agent_that_answered_such_challenges_would_lose_its_path(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: without that rule the copier gets the line's cells."""
    monkeypatch.setattr("relay.media_reflector.client_moves.QUIET", -1.0)
    alice, _ = world.crossed_pair()
    copier = Copier(world, alice, "copier")
    for _ in range(20):
        world.run(0.02)
        for cell in copier.caught:
            alice.line.receive(cell, world.now)
        world.stray.clear()
    assert world.count("roams") > 0


def test_a_line_that_was_diverted_comes_back_by_itself(world: World) -> None:
    """Somebody who can hold back the agent's cells for a moment gets the line; not for longer than they can."""
    alice, _ = world.crossed_pair()
    held = world.held(alice)
    # As if the copier had passed for a translator: the reflector was moved to the copier's place.
    alice.silent = True
    alice.line.move()
    world.receive(alice.line.next_cell(world.now), "copier")
    world.run(0.04)
    challenge = next(cell for cell, place in world.stray if place == "copier")
    alice.line.receive(challenge, world.now)
    world.receive(alice.line.next_cell(world.now), "copier")
    assert held.address == world.place("copier")
    alice.silent = False
    world.run(1.0)
    assert held.address == world.place("alice")
    assert not alice.line.lost
    assert not alice.line._epochs.ahead


def test_a_challenge_said_back_from_another_place_proves_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    held = world.held(alice)
    alice.line.move()
    world.receive(alice.line.next_cell(world.now), "cafe")
    world.run(0.02)
    (challenge,) = [cell for cell, place in world.stray if place == "cafe"]
    alice.line.receive(challenge, world.now)
    world.receive(alice.line.next_cell(world.now), "victim")
    assert held.address == world.place("alice")
    assert world.count("roams") == 0
    # A guess, from the right place.
    world.run(0.02)
    world.receive(_say(alice, world, Control(Operation.PROVE, bytes(16))), "cafe")
    assert world.count("roams") == 0


def test_a_challenge_said_back_under_the_current_epoch_proves_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    held = world.held(alice)
    challenge = world.reflector._roaming._challenge(held, world.place("cafe"))
    world.receive(_say(alice, world, Control(Operation.PROVE, challenge)), "cafe")
    assert world.count("roams") == 0


def test_challenges_differ_by_line_place_and_epoch(world: World) -> None:
    alice, bob = world.crossed_pair()
    roaming, one, other = world.reflector._roaming, world.held(alice), world.held(bob)
    seen = [roaming._challenge(line, world.place(place)) for line in (one, other) for place in ("x", "y")]
    alice.line.move()
    world.run(0.1)
    seen.append(roaming._challenge(one, world.place("x")))
    assert len(set(seen)) == len(seen)


def test_control_is_obeyed_whatever_way_it_came(world: World) -> None:
    alice, bob = world.crossed_pair()
    world.receive(_say(alice, world, Control(Operation.CLOSE)), "elsewhere")
    assert world.reflector.occupancy.lines == 1
    assert not bob.line.lost


# Rekeying.


def _rekey_now(*agents: Agent) -> None:
    for agent in agents:
        agent.line._moves._rekey_at = 0.0


def test_rekeying_in_mid_call_loses_nothing_on_the_way(world: World) -> None:
    alice, bob = world.crossed_pair()
    world.run(3.0)
    world.delay = 0.045
    world.run(1.0)
    _numbered(alice, b"from alice ")
    _numbered(bob, b"from bob ")
    marks = len(alice.sent), len(alice.received)
    world.run(0.5)
    _rekey_now(alice, bob)
    world.run(2.0)
    assert alice.line.counters["rekeys"] == bob.line.counters["rekeys"] == 1
    assert world.count("rekeys") == 2
    assert not alice.line._epochs.ahead
    assert len(_ssrcs([cell for _, cell in alice.sent[marks[0] :]])) == 2
    assert len(_ssrcs([cell for _, cell in alice.received[marks[1] :]])) == 2
    assert world.count("not_authentic") == world.count("unknown_ssrc") == 0
    assert alice.line.counters["not_authentic"] == alice.line.counters["unknown_ssrc"] == 0
    for heard in (_heard(alice, b"from bob "), _heard(bob, b"from alice ")):
        # A body gives way to each control cell; the newest one is sent instead.
        assert len(set(range(heard[0], heard[-1] + 1)) - set(heard)) <= 2


def test_rekeying_comes_by_itself_about_every_hour(world: World) -> None:
    alice, _ = world.crossed_pair()
    due = alice.line._moves._rekey_at - world.now
    assert REKEY_SOONEST - 1 < due < REKEY_LATEST
    _rekey_now(alice)
    world.run(0.5)
    due = alice.line._moves._rekey_at - world.now
    assert REKEY_SOONEST - 1 < due < REKEY_LATEST


@pytest.mark.parametrize("eaten", [Operation.REKEY, Operation.REKEYED])
def test_a_lost_half_is_said_again(world: World, eaten: Operation) -> None:
    alice, _ = world.crossed_pair()
    lost: list[bytes] = []

    def loses(cell: bytes, to_reflector: bool) -> bool:
        due = alice.line._epochs.rekeying if to_reflector else world.count("rekeys") > 0
        if due and to_reflector == (eaten is Operation.REKEY) and len(lost) < 12:
            lost.append(cell)
            return True
        return False

    _rekey_now(alice)
    world.loses = loses
    world.run(1.5)
    assert len(lost) == 12
    assert alice.line.counters["rekeys"] == 1
    assert world.count("rekeys") == 1
    assert not alice.line.lost
    world.run(0.2)
    assert not alice.line._epochs.ahead


def test_the_keys_after_a_rekeying_do_not_follow_from_those_before(world: World) -> None:
    alice, _ = world.crossed_pair()
    foreseen = copy.copy(world.held(alice).chain)
    _rekey_now(alice)
    world.run(0.5)
    foreseen.advance()
    assert world.held(alice).chain.current.down.key != foreseen.current.down.key
    # The control: what roaming alone moves to is what the chain already said.
    bob = world.agents["bob"]
    foreseen = copy.copy(world.held(bob).chain)
    bob.move("cafe")
    world.run(0.5)
    foreseen.advance()
    assert world.held(bob).chain.current.down.key == foreseen.current.down.key


def test_a_line_is_rekeyed_once_a_minute_at_most(world: World) -> None:
    alice, _ = world.crossed_pair()
    for _ in range(5):
        public = X25519PrivateKey.generate().public_key().public_bytes_raw()
        world.receive(_say(alice, world, Control(Operation.REKEY, public)), "alice")
        world.skip(0.02)
    assert world.count("rekeys") == 1
    assert world.count("rekey_refused") == 4
    world.held(alice).rekeyed_at -= REKEY_PAUSE
    world.receive(_say(alice, world, Control(Operation.REKEY, public)), "alice")
    assert world.count("rekeys") == 2


def test_rekeyings_at_one_moment_are_bounded_and_made_up_for(make_world: type) -> None:
    world: World = make_world(capacity=200)
    agents = [world.agent(f"agent {number}", slot=number % 20) for number in range(REKEYS_AT_ONCE + 20)]
    world.run(1.0)
    assert world.reflector.occupancy.lines == len(agents)
    _rekey_now(*agents)
    while world.steps % 100 != 1:
        world.step()
    made = world.count("rekeys")
    for _ in range(99):
        world.step()
        assert world.count("rekeys") - made <= REKEYS_AT_ONCE
    world.run(1.0)
    assert world.count("rekeys") == len(agents)
    assert all(agent.line.counters["rekeys"] == 1 for agent in agents)


def test_a_public_key_that_is_none_is_refused(world: World) -> None:
    alice, _ = world.crossed_pair()
    following = world.held(alice).chain.following
    world.receive(_say(alice, world, Control(Operation.REKEY, bytes(32))), "alice")
    assert world.count("rekey_refused") == 1
    assert world.held(alice).chain.following is following
    alice.move("cafe")
    world.run(0.3)
    assert not alice.line._epochs.ahead, "both ends are still together"


def test_a_following_ssrc_that_another_line_has_is_drawn_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = world.crossed_pair()
    prepare, tried = world.forwarding.prepare, []

    def taken_once(line: int, up: Any) -> bool:
        tried.append(up.ssrc)
        return len(tried) > 1 and prepare(line, up)

    monkeypatch.setattr(world.forwarding, "prepare", taken_once)
    _rekey_now(alice)
    world.run(0.5)
    assert len(tried) == 3, "refused, drawn anew, and the one after it"
    assert alice.line.counters["rekeys"] == 1
    assert not alice.line._epochs.ahead


def test_moving_right_after_a_rekeying_and_rekeying_right_after_a_move(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.delay = 0.02
    _rekey_now(alice)
    while not alice.line._epochs.ahead:
        world.step()
    alice.move("cafe")
    world.run(0.5)
    assert not alice.line._epochs.ahead
    assert world.held(alice).address == world.place("cafe")
    world.held(alice).rekeyed_at -= REKEY_PAUSE
    alice.move("train")
    _rekey_now(alice)
    world.run(0.5)
    # The move has set the next rekeying back: the epoch is new.
    assert alice.line.counters["rekeys"] == 1
    assert not alice.line._epochs.ahead
    assert not alice.line.lost


def test_no_half_is_said_on_a_path_that_may_be_dead(world: World) -> None:
    alice, _ = world.crossed_pair()
    _rekey_now(alice)
    world.loses = lambda cell, to_reflector: not to_reflector
    for _ in range(5):
        world.run(0.02)
    world.run(QUIET)
    said = world.count("rekeys")
    world.run(0.5)
    assert world.count("rekeys") == said
