"""The reflector among enemies: counted, dropped, bounded, and never louder than what was said to it."""

import sys
from collections import deque
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector import LineClient
from relay.media_reflector.handshake import MESSAGE_SIZE
from relay.media_reflector.line import MAX_ANSWERED, MAX_QUEUED
from relay.media_reflector.link import CellSender, cell_ssrc
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, LinkType
from relay.rtp.packet import pack_header

World = Any


def _ssrc(cell: bytes) -> int:
    return cell_ssrc(cell)


def test_every_kind_of_garbage_has_its_reason(world: World) -> None:
    alice, _ = world.crossed_pair()
    receive, now = world.reflector.receive, world.now
    before = world.reflector.counters.snapshot()
    cell = alice.sent[-1][1]
    receive(b"", "x", now)
    receive(cell[:-1], "alice", now)
    receive(cell + b"\0", "alice", now)
    receive(bytes(CELL_SIZE), "x", now)
    receive(pack_header(0, 1, 2, 3) + bytes(MESSAGE_SIZE), "x", now)
    receive(pack_header(111, 1, 2, 3) + bytes(MESSAGE_SIZE), "x", now)
    receive(cell, "alice", now)
    receive(cell[:-1] + bytes([cell[-1] ^ 1]), "alice", now)
    receive(cell[:2] + b"\xff\xff" + cell[4:], "alice", now)
    receive(cell, "elsewhere", now)
    grown = {
        name: count - before[name]
        for name, count in world.reflector.counters.snapshot().items()
        if count != before[name]
    }
    assert grown == {
        "datagrams_received": 10,
        "wrong_size": 3,
        "not_a_cell": 2,
        "unknown_ssrc": 1,
        "replayed": 3,
        "other_address": 1,
    }


def test_a_damaged_fresh_cell_is_not_authentic(world: World) -> None:
    alice, _ = world.crossed_pair()
    cell = alice.line.next_cell(world.now)
    world.reflector.receive(cell[:50] + bytes([cell[50] ^ 1]) + cell[51:], "alice", world.now)
    assert world.count("not_authentic") == 1
    world.reflector.receive(cell, "alice", world.now)
    assert world.count("replayed") == 0, "damage does not use up the number"


def test_an_authentic_line_may_still_talk_nonsense(world: World) -> None:
    alice, _ = world.crossed_pair()
    sender: CellSender = alice.line._sender
    for kind, body in ((9, bytes(BODY_SIZE)), (LinkType.CONTROL, bytes([77]) + bytes(BODY_SIZE - 1))):
        cell = sender.keys.protect(sender._header(), bytes([kind]) + body)  # type: ignore[union-attr]
        world.reflector.receive(cell, "alice", world.now)
    assert world.count("unknown_type") == 1
    assert world.count("unknown_control") == 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200)
    | st.binary(min_size=148, max_size=148).map(lambda b: b"\x80\x6f" + b[:10] + b)
)
def test_nothing_raises_and_nothing_is_answered(world: World, data: bytes) -> None:
    world.reflector.receive(data, "x", world.now)
    world.now += 0.020
    assert world.reflector.tick(world.now) == []


def test_an_unknown_ssrc_is_never_answered(world: World) -> None:
    world.crossed_pair()
    for _ in range(500):
        cell = pack_header(111, 0, 0, world.entropy.below(1 << 32)) + world.entropy.token(MESSAGE_SIZE)
        world.reflector.receive(cell, "stranger", world.now)
        world.step()
    assert world.stray == []
    assert world.count("unknown_ssrc") == 500


def test_a_seen_ticket_number_without_its_secret_opens_nothing_and_uses_nothing_up(world: World) -> None:
    ticket = world.ticket()
    forged = pack_header(111, 0, 0, 7) + ticket.id + world.entropy.token(MESSAGE_SIZE - len(ticket.id))
    for _ in range(20):
        world.reflector.receive(forged, "x", world.now)
        world.step()
    assert world.count("handshake_refused") == 20
    assert world.stray == []
    line = LineClient(world.descriptor, ticket, world.entropy)
    world.reflector.receive(line.next_cell(world.now), "alice", world.now)
    assert world.count("handshake_refused") == 20
    assert world.reflector.occupancy.opening == 1


def test_a_ticket_opens_one_line(world: World) -> None:
    ticket = world.ticket()
    first = LineClient(world.descriptor, ticket, world.entropy)
    second = LineClient(world.descriptor, ticket, world.entropy)
    world.reflector.receive(first.next_cell(world.now), "a", world.now)
    world.reflector.receive(second.next_cell(world.now), "b", world.now)
    assert world.reflector.occupancy.opening == 1
    assert world.count("unknown_ssrc") == 1


def test_an_old_ticket_opens_nothing(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    world.now += 601.0
    world.reflector.receive(line.next_cell(world.now), "a", world.now)
    assert world.reflector.occupancy.opening == 0
    assert world.count("unknown_ssrc") == 1


def test_before_proof_an_address_gets_at_most_what_it_sent(world: World) -> None:
    """A spoofed source that repeats the first message, at any rate, is answered at most one for one."""
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    sent = 0
    entropy = SeededEntropy("rates")
    for _ in range(3000):
        for _ in range(entropy.below(3) if entropy.below(4) == 0 else 0):
            world.reflector.receive(line.next_cell(world.now), "victim", world.now)
            sent += 1
        world.step()
        assert len(world.stray) <= sent
    assert 0 < len(world.stray) <= 3000 // 20 + 1
    assert world.reflector.occupancy.lines == 0


def test_a_repeated_first_message_gets_the_same_answer_in_a_new_cell(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    for _ in range(3):
        world.reflector.receive(line.next_cell(world.now), "a", world.now)
        world.run(0.020)
    cells = [cell for cell, _ in world.stray]
    assert len(cells) == 3
    assert len({cell[12:] for cell in cells}) == 1
    assert len({cell[:12] for cell in cells}) == 3
    assert world.reflector.occupancy.opening == 1


def test_a_first_message_replayed_after_opening_opens_and_sends_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    first = alice.sent[0][1]
    world.stray.clear()
    sent_before = world.count("cells_sent")
    for source in ("alice", "elsewhere"):
        for _ in range(50):
            world.reflector.receive(first, source, world.now)
    world.run(1.0)
    assert world.stray == []
    assert world.count("cells_sent") - sent_before <= 101, "two lines, fifty ticks, as ever"
    assert world.reflector.occupancy.lines == 2


def test_answers_to_many_addresses_are_bounded(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    for number in range(1000):
        world.reflector.receive(line.next_cell(world.now), f"source {number}", world.now)
        if number % 100 == 0:
            world.run(0.020)
    opening = next(iter(world.reflector._lines.values()))
    assert len(opening.pending) <= MAX_ANSWERED
    assert len(opening.answered) <= MAX_ANSWERED


def test_proof_counts_only_from_an_address_that_got_the_answer(world: World) -> None:
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    world.reflector.receive(line.next_cell(world.now), "alice", world.now)
    world.run(0.020)
    line.receive(world.stray[0][0], world.now)
    proof = line.next_cell(world.now)
    world.reflector.receive(proof, "victim", world.now)
    assert world.reflector.occupancy.lines == 0
    assert world.count("other_address") == 1
    world.reflector.receive(proof, "alice", world.now)
    assert world.reflector.occupancy.lines == 1


def test_an_attacker_on_the_path_cannot_have_the_cells_sent_to_a_third_party(world: World) -> None:
    """The agent's own cells, copied under the victim's address and coming first, prove nothing there."""
    line = LineClient(world.descriptor, world.ticket(), world.entropy)
    first = line.next_cell(world.now)
    world.reflector.receive(first, "victim", world.now)
    world.reflector.receive(first, "alice", world.now)
    world.run(0.020)
    answers = {destination: cell for cell, destination in world.stray}
    assert set(answers) == {"alice", "victim"}
    # Even with the header of the answer changed on its way: the victim's timestamp is not known.
    line.receive(answers["alice"], world.now)
    copied = line.next_cell(world.now)
    world.reflector.receive(copied, "victim", world.now)
    assert world.count("unproved") == 1
    assert world.reflector.occupancy.lines == 0
    world.run(1.0)
    assert sum(destination == "victim" for _, destination in world.stray) == 1
    world.reflector.receive(line.next_cell(world.now), "alice", world.now)
    assert world.reflector.occupancy.lines == 1


def test_cells_from_another_address_change_nothing(world: World) -> None:
    alice, bob = world.crossed_pair()
    alice.line.submit(b"!" * BODY_SIZE)
    world.reflector.receive(alice.line.next_cell(world.now), "elsewhere", world.now)
    world.run(0.2)
    assert b"!" * BODY_SIZE not in bob.bodies
    assert world.stray == []
    assert world.count("other_address") == 1
    assert not alice.line.lost


def test_stolen_cells_of_one_line_do_not_pass_for_another(world: World) -> None:
    alice, bob = world.crossed_pair()
    cell = alice.line.next_cell(world.now)
    renamed = cell[:8] + _ssrc(bob.sent[-1][1]).to_bytes(4) + cell[12:]
    before = world.count("cells_received")
    world.reflector.receive(renamed, "bob", world.now)
    assert world.count("cells_received") == before


def test_memory_does_not_grow_under_100_000_hostile_datagrams(world: World) -> None:
    alice, bob = world.crossed_pair()
    ticket = world.ticket()
    reflector = world.reflector
    known = _ssrc(alice.sent[-1][1]).to_bytes(4)
    noise = world.entropy.token(1 << 16)

    def size() -> int:
        """Everything in the reflector that could hold what a stranger sent."""
        total = len(reflector._lines) + sum(map(len, reflector._slots)) + len(reflector._exchange)
        total += len(world.office)
        for line in reflector._lines.values():
            total += len(line.queue) + len(line.pending) + len(line.answered)
            assert len(line.queue) <= MAX_QUEUED
            assert sys.getsizeof(line.receiver._window._seen) < 64
        return total

    before = size()
    for number in range(100_000):
        part = noise[number % 60_000 : number % 60_000 + MESSAGE_SIZE]
        match number % 5:
            case 0:
                datagram = noise[number % 60_000 :][: number % 1500]
            case 1:
                datagram = pack_header(111, number & 0xFFFF, number, number * 7919 & 0xFFFFFFFF) + part
            case 2:
                datagram = b"\x80\x6f" + (number & 0xFFFF).to_bytes(2) + bytes(4) + known + part
            case 3:
                datagram = alice.sent[number % len(alice.sent)][1]
            case _:
                datagram = (
                    pack_header(111, 0, 0, number) + (ticket.id if number < 500 else part[:16]) + part[16:]
                )
        reflector.receive(datagram, f"{number % 1000}" if number % 2 else "alice", world.now)
    assert size() <= before + 2 * MAX_QUEUED
    snapshot = reflector.counters.snapshot()
    drops = ("wrong_size", "not_a_cell", "unknown_ssrc", "handshake_refused", "other_address")
    assert sum(snapshot[name] for name in (*drops, "not_authentic", "replayed")) == 100_000
    alice.line.submit(b"still here".ljust(BODY_SIZE))
    world.run(0.2)
    assert b"still here".ljust(BODY_SIZE) in bob.bodies


def test_a_line_without_a_peer_cannot_fill_a_queue(world: World) -> None:
    alice = world.agent("alice")
    world.run(2.0)
    assert world.count("not_crossed") > 90
    (line,) = world.reflector._lines.values()
    assert line.queue == deque()
    assert not alice.bodies
