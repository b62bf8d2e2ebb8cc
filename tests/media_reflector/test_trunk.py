"""Calls over a trunk between two reflectors: made, refused, ended by the death of one; and a far end up to something.

What a trunk looks like, how much it delays and what each end knows is in test_trunk_slots.py.
"""

from collections.abc import Callable

import pytest

from relay.media_reflector import LineCrossed, trunk_slots
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import TICKET_ID_SIZE, Forwarding, pack_address
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender
from relay.media_reflector.opening import OPENING_EXPIRY
from relay.media_reflector.trunk import ANSWER_EVERY, TOLD_FOR
from relay.media_reflector.trunk_slots import SILENT_AFTER
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, RTP_HEADER_SIZE, LinkType
from tests.media_reflector.forwarding.planes import make_forwarding
from tests.media_reflector.two_reflectors import CODE, OTHER_CODE, Pair, Site, heard, numbered


def test_a_call_goes_through_both_ways(make_plane: Callable[[], Forwarding]) -> None:
    pair = Pair(delay=0.015, make=make_plane)
    pair.open()
    alice, bob = pair.crossed_pair()
    alice.speak, bob.speak = numbered(), numbered()
    pair.run(5.0)
    for agent in (alice, bob):
        assert heard(agent) == list(range(len(heard(agent)))), "each once, in order, from the first"
        assert len(heard(agent)) >= 245
    assert [site.count("slots_taken") for site in pair.sites] == [1, 0]
    assert [site.reflector.occupancy.crossed for site in pair.sites] == [1, 1]


def test_all_counts_of_a_reflector_are_told_each_under_a_name_of_its_own(pair: Pair) -> None:
    site = pair.one
    held = (site.reflector.counters, site.office.counters, site.trunks.counters)
    counted = site.reflector.counts()
    assert len(counted) == len(site.forwarding.counters()) + sum(len(one.snapshot()) for one in held)
    assert (pair.two.count("trunk_tickets_issued"), counted["trunk_calls"]) == (1, 1)


def test_nobody_is_told_that_lines_are_crossed_before_both_ends_are(pair: Pair) -> None:
    alice = pair.agent("alice", pair.one, code=CODE, via=True)
    pair.run(2.0)
    assert alice.line.opened
    assert not alice.line.crossed
    bob = pair.agent("bob", pair.two, slot=9, code=CODE)
    pair.run(1.0)
    assert sum(isinstance(event, LineCrossed) for _, event in alice.events) == 1
    assert bob.line.crossed


def test_two_that_both_ask_for_the_trunk_do_not_meet_and_leave_nothing_behind(pair: Pair) -> None:
    """Only the caller asks for it; two slots under one code would be a call of four lines."""
    alice = pair.agent("alice", pair.one, code=CODE, via=True)
    bob = pair.agent("bob", pair.two, slot=9, code=CODE, via=True)
    pair.run(2.0)
    assert alice.refusals or bob.refusals
    assert not alice.line.crossed
    assert not bob.line.crossed
    alice.line.leave()
    bob.line.leave()
    pair.run(0.5)
    assert [site.reflector._crossings.codes for site in pair.sites] == [0, 0]


def test_a_call_is_crossed_over_a_path_that_loses_a_third(make_plane: Callable[[], Forwarding]) -> None:
    pair = Pair(make=make_plane)
    pair.open()
    pair.loses = lambda source, cell: pair.entropy.below(3) == 0
    alice, bob = pair.call()
    pair.run(6.0)
    assert alice.line.crossed
    assert bob.line.crossed
    alice.line.close()
    pair.run(1.0)
    assert pair.two.reflector.occupancy.crossed == 0, "LEAVE is said three times"


def test_without_a_free_slot_a_call_is_refused_with_a_moment_and_a_slot_is_free_after_a_call() -> None:
    pair = Pair(slots=(2, 2))
    pair.open()
    first = pair.call(b"call number 0001", 1)
    second = pair.call(b"call number 0002", 2)
    pair.run(1.0)
    third = pair.call(b"call number 0003", 3)
    pair.run(1.0)
    assert all(agent.line.crossed for agent in (*first, *second))
    (refused,) = third[0].refusals
    assert 30 <= refused.seconds <= 120
    assert not third[0].line.crossed
    assert pair.one.count("no_slot") == 1
    second[1].line.close()
    pair.run(0.5)
    third[0].line.join(b"call number 0003", pair.two.identity)
    pair.run(1.0)
    assert third[0].line.crossed
    assert third[1].line.crossed
    third[0].speak, first[0].speak = numbered(), numbered()
    pair.run(1.0)
    assert len(heard(third[1])) > 40
    assert len(heard(first[1])) > 40


def test_all_slots_can_be_taken_from_one_end() -> None:
    pair = Pair(slots=(5, 5))
    pair.open()
    calls = [pair.call(b"call number %04d" % number, number) for number in range(5)]
    pair.run(2.0)
    assert all(agent.line.crossed for call in calls for agent in call)


@pytest.mark.parametrize("seed", range(4))
def test_the_last_slot_taken_at_both_ends_at_once_goes_to_one_call(seed: int) -> None:
    pair = Pair(slots=(1, 1), delay=0.040, seed=seed)
    pair.open()
    alice = pair.agent("alice", pair.one, slot=3, via=True)
    bob = pair.agent("bob", pair.two, slot=3, code=CODE)
    carol = pair.agent("carol", pair.two, slot=3, via=True)
    dave = pair.agent("dave", pair.one, slot=3, code=OTHER_CODE)
    pair.run(0.5)
    alice.line.join(CODE, pair.two.identity)
    carol.line.join(OTHER_CODE, pair.one.identity)
    pair.run(2.0)
    assert alice.line.crossed
    assert bob.line.crossed
    assert len(carol.refusals) == 1
    assert not dave.line.crossed
    assert pair.one.count("trunk_slot_taken") >= 1
    assert pair.two.count("trunk_slot_taken") == 0
    alice.speak = carol.speak = numbered()
    pair.run(1.0)
    assert len(heard(bob)) > 40
    assert not heard(dave)


def test_to_a_reflector_without_a_trunk_a_call_is_refused(pair: Pair) -> None:
    alice = pair.agent("alice", pair.one)
    alice.line.join(CODE, b"z" * 32)
    pair.run(0.5)
    assert len(alice.refusals) == 1


def test_a_third_line_under_the_code_is_refused_over_the_trunk(pair: Pair) -> None:
    pair.crossed_pair()
    bob = next(agent for agent in pair.agents.values() if agent.site is pair.two)
    eve = pair.agent("eve", pair.two, slot=17, code=CODE)
    pair.run(0.5)
    assert len(eve.refusals) == 1
    alice = pair.agent("alice 2", pair.one, slot=8, code=OTHER_CODE, via=True)
    carol, dave = (pair.agent(name, pair.two, slot=2, code=OTHER_CODE) for name in ("carol", "dave"))
    pair.run(1.0)
    assert len(alice.refusals) == 1
    assert carol.line.crossed
    assert dave.line.crossed
    assert bob.line.crossed
    assert pair.one.reflector.occupancy.crossed == 1


def test_a_reflector_that_drains_refuses_calls_over_its_trunk(pair: Pair) -> None:
    alice, bob = pair.crossed_pair()
    pair.two.reflector.drain()
    carol = pair.agent("carol", pair.one, slot=8, code=OTHER_CODE, via=True)
    pair.run(1.0)
    assert len(carol.refusals) == 1
    assert alice.line.crossed
    assert not pair.two.reflector.drained
    bob.line.close()
    pair.run(0.5)
    assert pair.two.reflector.drained


def test_a_slot_is_not_kept_for_a_line_that_never_comes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_slots, "WAITING_LIMIT", 2.0)
    alice = pair.agent("alice", pair.one, code=CODE, via=True)
    pair.run(1.5)
    assert not alice.refusals
    pair.run(1.0)
    assert len(alice.refusals) == 1
    assert pair.two.reflector._crossings.codes == 0
    pair.crossed_pair()


def test_hanging_up_while_waiting_frees_the_slot(pair: Pair) -> None:
    alice = pair.agent("alice", pair.one, code=CODE, via=True)
    pair.run(0.5)
    alice.line.leave()
    pair.run(0.5)
    assert [site.reflector._crossings.codes for site in pair.sites] == [0, 0]


# The far end is gone.


def test_a_dead_reflector_ends_calls_soon_with_a_reason_and_the_trunk_can_come_back(
    make_plane: Callable[[], Forwarding],
) -> None:
    pair = Pair(make=make_plane)
    pair.open()
    alice, _ = pair.crossed_pair()
    pair.two.dead = True
    seconds = pair.run_until(lambda: alice.refusals, 5.0)
    assert seconds <= SILENT_AFTER + 0.2
    assert "trunk" in alice.refusals[0].reason
    assert not alice.line.lost, "her own line is well"
    assert not pair.one.trunks.is_up(pair.two.identity)
    assert pair.one.reflector.occupancy.crossed == 0
    carol = pair.agent("carol", pair.one, slot=8, code=OTHER_CODE, via=True)
    pair.run(0.5)
    assert len(carol.refusals) == 1
    assert pair.one.forwarding.lines == 2
    pair.restart(pair.two)
    pair.begin()
    pair.run(1.0)
    assert pair.up
    dave = pair.agent("dave", pair.two, slot=8, code=OTHER_CODE)
    carol.line.join(OTHER_CODE, pair.two.identity)
    pair.run(1.0)
    assert carol.line.crossed
    assert dave.line.crossed


def test_who_began_starts_anew_before_the_other_noticed(pair: Pair) -> None:
    _, bob = pair.crossed_pair()
    pair.run(ANSWER_EVERY)
    pair.restart(pair.one)
    pair.begin()
    pair.run(1.0)
    assert pair.up
    assert pair.two.count("trunks_ended") == 1
    assert len(bob.refusals) == 1
    assert pair.two.forwarding.lines == 5 + 1


def test_a_short_outage_changes_nothing(pair: Pair) -> None:
    alice, bob = pair.crossed_pair()
    pair.loses = lambda source, cell: True
    pair.run(SILENT_AFTER - 0.7)
    pair.loses = lambda source, cell: False
    alice.speak = numbered()
    pair.run(1.0)
    assert pair.up
    assert len(heard(bob)) > 40
    assert not alice.refusals


def test_our_own_standstill_is_not_the_other_ends_silence(pair: Pair) -> None:
    pair.steps += 10 * 1000
    pair.run(1.0)
    assert pair.up


def test_the_descriptor_names_a_trunk_for_some_time_after_it_broke(pair: Pair) -> None:
    pair.two.dead = True
    pair.run(SILENT_AFTER + 1.0)
    assert not pair.up
    assert pair.one.trunks.told(pair.now) == [(pair.two.identity, 4)]
    assert pair.one.trunks.told(pair.now + TOLD_FOR) == []


def test_a_trunk_that_is_no_longer_wanted_ends_at_both_ends(pair: Pair) -> None:
    alice, bob = pair.crossed_pair()
    pair.two.trunks.aim({})
    assert pair.two.trunks.told(pair.now) == []
    assert pair.two.forwarding.lines == 1
    pair.run(SILENT_AFTER + 0.5)
    assert pair.one.forwarding.lines == 1
    assert len(alice.refusals) == len(bob.refusals) == 1


@pytest.mark.parametrize("removed", [1, 2])
@pytest.mark.parametrize("after", [0.03, 0.08, 0.13])
def test_nothing_that_was_being_opened_outlives_the_wish_for_a_trunk(removed: int, after: float) -> None:
    """The first message, its answer or the proof is under way when one of the two operators removes the other."""
    pair = Pair(delay=0.05)
    site = pair.sites[removed - 1]
    pair.begin()
    pair.run(after)
    site.trunks.aim({})
    assert site.forwarding.lines == 0
    pair.run(SILENT_AFTER + OPENING_EXPIRY)
    for one in pair.sites:
        assert one.trunks.told(pair.now) == []
        assert one.forwarding.lines == 0
    site.trunks.aim({pair.other(site).identity: 4})
    site.trunks.know(pair.other(site).identity, pair.other(site).descriptor.static_key)
    pair.open()


# A far end that is up to something.


def _say(pair: Pair, site: Site, number: int, control: Control) -> None:
    """`site` says something on slot `number` of the trunk."""
    trunk = next(iter(site.trunks._trunks.values()))
    site.forwarding.control(trunk._lines[number].number, control.to_body(pair.entropy))
    pair.run(0.1)


def _dropped(site: Site) -> int:
    """Bodies of the far end that had no meaning here, by whatever reason they were counted."""
    return site.count("trunk_misplaced") + site.count("unknown_control")


def test_what_has_no_meaning_between_reflectors_does_nothing(pair: Pair) -> None:
    alice, bob = pair.crossed_pair()
    for number in range(5):
        for control in (
            Control(Operation.CLOSE),
            Control(Operation.ROAM),
            Control(Operation.PROVE, bytes(16)),
            Control(Operation.CHALLENGE, bytes(16)),
            Control(Operation.REKEYED, bytes(32)),
            Control(Operation.DRAINING),
            Control.join_via(OTHER_CODE, pair.one.identity),
            Control(Operation.LEAVE, OTHER_CODE),
            Control(Operation.CROSSED, OTHER_CODE),
        ):
            for site in pair.sites:
                before = _dropped(pair.other(site))
                _say(pair, site, number, control)
                # A LEAVE that comes again on a slot, or a proof on the one whose opening it proved, is no wonder.
                expected = control.operation is Operation.LEAVE and number > 0
                expected |= control.operation is Operation.PROVE and number == 0 and site is pair.one
                assert _dropped(pair.other(site)) == before + (not expected), (control.operation, number)
    assert pair.up
    assert [site.forwarding.lines for site in pair.sites] == [6, 6]
    alice.speak, bob.speak = numbered(), numbered()
    pair.run(1.0)
    assert len(heard(alice)) > 40
    assert len(heard(bob)) > 40
    _say(pair, pair.two, 2, Control(Operation.REKEY, bytes(32)))
    assert pair.one.count("rekeys") == pair.one.count("rekey_refused") == 0, "whoever opened it rekeys"


def test_slot_zero_carries_no_call(pair: Pair) -> None:
    pair.agent("alice", pair.one, code=CODE)
    pair.run(0.5)
    _say(pair, pair.two, 0, Control(Operation.JOIN, CODE))
    assert pair.one.reflector.occupancy.crossed == 0
    assert pair.one.count("trunk_misplaced") == 1


def test_a_peer_that_fetches_ticket_after_ticket_has_one_answer_here(pair: Pair) -> None:
    lines = pair.two.forwarding.lines
    # Whatever it says afterwards, its trunk is not closed for it, and nothing piles up.
    pair.loses = lambda source, cell: source is pair.two
    answers = pair.two.count("trunk_answers")
    for _ in range(3):
        pair.begin()
        pair.run(ANSWER_EVERY + 0.1)
        assert pair.two.forwarding.lines <= lines + 1
    assert pair.two.count("trunk_answers") > answers + 3
    pair.loses = lambda source, cell: False
    pair.begin()
    pair.run(ANSWER_EVERY + 1.0)
    assert pair.up
    assert pair.two.forwarding.lines == lines


def test_a_peer_gets_one_handshake_in_five_seconds(pair: Pair) -> None:
    """However many tickets it fetches: each handshake would open a trunk of up to thousands of slots."""
    opened = pair.two.count("trunks_opened")
    for _ in range(3):
        pair.begin()
        pair.run(0.3)
    assert pair.two.count("trunks_opened") == opened
    assert pair.two.count("trunk_too_soon") >= 3
    assert pair.up, "the trunk that is there stays"
    pair.run(ANSWER_EVERY)
    assert pair.two.count("trunks_opened") == opened + 1
    assert pair.up


def test_a_damaged_message_does_not_use_up_a_peers_turn() -> None:
    pair = Pair()
    pair.begin()
    call = next(iter(pair.one.trunks._calls.values()))
    first = call._sender.handshake(call._initiator.first())
    pair._receive(pair.two, first[:-1] + bytes((first[-1] ^ 1,)), pair.one.address)
    assert pair.two.count("trunk_refused") == 1
    pair.run(1.0)
    assert pair.up


def test_another_message_under_a_ticket_that_was_answered_is_counted() -> None:
    pair = Pair()
    pair.begin()
    pair.loses = lambda source, cell: source is pair.two
    call = next(iter(pair.one.trunks._calls.values()))
    first = call._sender.handshake(call._initiator.first())
    pair.run(0.5)
    answers = pair.two.count("trunk_answers")
    assert answers
    number = slice(RTP_HEADER_SIZE, RTP_HEADER_SIZE + TICKET_ID_SIZE)
    forged = first[: number.start] + first[number] + bytes(CELL_SIZE - number.stop)
    pair._receive(pair.two, forged, pair.one.address)
    assert (pair.two.count("trunk_refused"), pair.two.count("trunk_answers")) == (1, answers)


def test_a_half_that_is_no_key_is_counted(pair: Pair) -> None:
    """REKEYED that was asked for, but with a point of small order."""
    slot = next(iter(pair.one.trunks._trunks.values()))._lines[2]
    trunk = next(iter(pair.one.trunks._trunks.values()))
    trunk._rekeying._begin(slot, pair.now + 5.0)
    current = slot.chain
    _say(pair, pair.two, 2, Control(Operation.REKEYED, bytes(32)))
    assert pair.one.count("trunk_misplaced") == 1
    assert slot.chain is current


def test_a_full_trunk_is_not_looked_through_for_every_call() -> None:
    pair = Pair(slots=(40, 40))
    pair.open()
    calls = [pair.call(b"call number %04d" % number, number) for number in range(41)]
    pair.run(2.0)
    assert sum(alice.line.crossed for alice, _ in calls) == 40
    (trunk,) = pair.one.trunks._trunks.values()
    looks = 0

    def is_free(slot: Line) -> bool:
        nonlocal looks
        looks += 1
        return pair.one.reflector.is_free(slot)

    trunk._free._is_free = is_free
    for _ in range(50):
        assert trunk.take(CODE, pair.now) is None
    assert looks == 0


def test_the_far_end_does_not_go_ahead(pair: Pair) -> None:
    """Cells under an epoch to which nobody moved leave the slot where it is."""
    slot = next(iter(pair.one.trunks._trunks.values()))._lines[1]
    pair.one.forwarding.prepare(slot.number, slot.incoming(slot.chain.following))
    keys = slot.incoming(slot.chain.following)
    sender = CellSender(keys.ssrc, pair.entropy, keys)
    current = slot.chain.current
    pair._receive(pair.one, sender.seal(LinkType.CHAFF, bytes(BODY_SIZE)), pair.two.address)
    assert slot.chain.current is current
    assert pair.one.count("trunk_ahead") == 1


def test_cells_of_a_slot_from_another_address_change_nothing(pair: Pair) -> None:
    caught: list[bytes] = []

    def catch(source: Site, cell: bytes) -> bool:
        if source is not pair.one or caught:
            return False
        caught.append(cell)
        return True

    pair.loses = catch
    pair.run(0.1)
    before = pair.two.count("singles_sent")
    pair._receive(pair.two, caught[0], pack_address("10.7.0.1", 4000))
    pair.run(0.1)
    assert pair.two.count("trunk_other_address") == 1
    assert pair.two.count("singles_sent") == before, "not even a challenge"
    pair.loses = lambda source, cell: False
    pair.crossed_pair()


def test_a_far_end_that_says_control_on_all_its_slots_drowns_nobody() -> None:
    """So many that none of them repeats itself often enough to be told by that."""
    slots = face.OPEN_PER_TICK * 2 * face.PERIOD_TICKS // face.EASE + 200
    pair = Pair(slots=(slots, slots), make=lambda: make_forwarding("native"))
    pair.begin()
    pair.run_until(lambda: pair.up, 6.0)
    (trunk,) = pair.two.trunks._trunks.values()
    before = pair.one.count("line_limited")
    agents = [pair.agent(name, pair.one, slot=slot, code=CODE) for name, slot in (("alice", 19), ("bob", 18))]
    for _ in range(300):
        if pair.steps % 20 == 0:
            for number in trunk.numbers:
                pair.two.forwarding.control(number, Control(Operation.ALIVE).to_body(pair.entropy))
        pair.step()
    assert pair.one.count("line_limited") - before > slots
    assert all(agent.line.crossed for agent in agents)
