"""The reflector with honest agents: open, cross, talk, part, expire, drain, start again; its clock through it all."""

import gc
import itertools
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.media_reflector import Draining, JoinRefused, LineCrossed, LineLost, LineOpened, LossCause
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import (
    LINE_EXPIRY,
    MAX_UPCALLS,
    ControlReceived,
    DownKeys,
    Elsewhere,
    Expired,
    Forwarding,
    Stranger,
    UpKeys,
)
from relay.media_reflector.handouts import DRAININGS_AT_ONCE
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender
from relay.media_reflector.reflector import MAX_KNOCKING, MAX_PENDING
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, LinkType
from tests.native_code import native_plane

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
    numbers = itertools.count()
    alice.speak = lambda: _body(b"n%d" % next(numbers))
    world.run(10.0)
    heard = [int(body.rstrip(b".")[1:]) for body in bob.bodies if body.startswith(b"n")]
    # One may be given up: both began to send before they were crossed, and what stood in the queue only delays.
    assert len(set(range(len(heard))) - set(heard)) <= 1
    assert heard == sorted(heard)
    assert len(heard) >= 495


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
    world.receive(alice.line.next_cell(world.now), "alice")
    assert world.count("lines_closed") == 1


def test_a_silent_agent_gets_cells_for_thirty_seconds_and_then_none(world: World) -> None:
    alice, bob = world.crossed_pair()
    alice.silent = True
    start = len(alice.received)
    world.run(LINE_EXPIRY - 1)
    assert len(alice.received) - start == pytest.approx((LINE_EXPIRY - 1) * 50, abs=1)
    world.run(2.0)
    rest = len(alice.received)
    world.run(1.0)
    assert len(alice.received) == rest
    assert world.count("lines_expired") == 1
    assert world.reflector.occupancy == type(world.reflector.occupancy)(1, 0, 0, 0)
    assert world.forwarding.lines == 1
    assert not bob.line.lost


def test_an_agent_notices_a_silent_reflector_after_one_and_a_half_seconds(world: World) -> None:
    alice, _ = world.crossed_pair()
    line, start = alice.line, world.now
    elapsed = 0.0
    while not line.lost:
        elapsed += 0.020
        line.next_cell(start + elapsed)
    assert 1.4 < elapsed < 1.6
    (lost,) = line.events()
    assert lost == LineLost("the reflector went silent", LossCause.SILENT)
    assert line.events() == []


def test_exactly_one_cell_leaves_per_tick_and_line_whatever_arrives(world: World) -> None:
    """Bursts, silence, garbage, strangers, challenges: the departures of a line do not move by a slot."""
    alice, bob = world.crossed_pair()
    mark = len(bob.received)
    world.run(3.0)
    for _ in range(200):
        world.step()
        for _ in range(5):
            alice.line.submit(_body(b"burst"))
            world.emit(alice)
        world.receive(world.entropy.token(CELL_SIZE), "nobody")
        alice.place = "elsewhere" if alice.place == "alice" else "alice"
    alice.place = "alice"
    alice.silent = True
    world.run(2.0)
    alice.silent = False
    world.run(1.0)
    times = [round((at - 1000.0) * 1000) for at, _ in bob.received[mark:]]
    assert {b - a for a, b in pairwise(times)} == {20}
    assert world.count("queue_full") > 500
    assert world.count("challenges_sent") >= 4


def test_a_burst_does_not_delay_the_call_for_ever(world: World) -> None:
    alice, bob = world.crossed_pair()
    world.run(5.0)
    trimmed = world.count("queue_trimmed")
    numbers = itertools.count()
    alice.speak = lambda: b"%010d" % next(numbers) + world.now.hex().encode().ljust(BODY_SIZE - 10, b" ")
    for _ in range(3):
        world.emit(alice)
    world.run(8.0)
    sent_at = float.fromhex(bob.bodies[-1][10:].strip().decode())
    assert world.now - sent_at < 0.065
    assert world.count("queue_trimmed") == trimmed + 1


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


def test_capacity_may_change_while_lines_are_up(world: World) -> None:
    world.crossed_pair()
    world.reflector.capacity = 2
    carol = world.agent("carol", slot=7)
    world.run(0.2)
    assert not carol.line.opened
    world.reflector.capacity = 3
    world.run(0.2)
    assert carol.line.opened
    assert world.reflector.capacity == 3


def test_an_authentic_line_may_still_talk_nonsense(world: World) -> None:
    alice, _ = world.crossed_pair()
    sender = alice.line._epochs.sender
    world.receive(sender.seal(LinkType.CONTROL, bytes([77]) + bytes(BODY_SIZE - 1)), "alice")
    world.receive(sender.keys.protect(sender._header(), bytes([9]) + bytes(BODY_SIZE)), "alice")
    world.run(0.02)
    assert world.count("unknown_type") == 1
    assert world.count("unknown_control") == 1
    for operation in (Operation.CROSSED, Operation.REFUSED, Operation.DRAINING, Operation.CHALLENGE):
        field = {Operation.REFUSED: bytes(18), Operation.DRAINING: b""}.get(operation, bytes(16))
        body = Control(operation, field).to_body(world.entropy)
        world.receive(sender.seal(LinkType.CONTROL, body), "alice")
        world.run(0.02)
    assert world.count("unknown_control") == 5, "what only a reflector says"
    assert world.reflector.occupancy.crossed == 1


# Draining.


def test_draining_finishes_calls_and_refuses_new_lines_and_calls(world: World) -> None:
    alice, bob = world.crossed_pair()
    carol, dave = world.agent("carol", slot=5), world.agent("dave", slot=9)
    erin = world.agent("erin", slot=7)
    erin.silent = True
    world.run(0.2)
    assert not world.reflector.drained
    world.reflector.drain()
    world.reflector.drain()
    erin.silent = False
    carol.line.join(b"a new call's 16.")
    dave.line.join(b"a new call's 16.")
    world.run(1.0)
    assert not erin.line.opened
    assert world.count("draining") > 0
    assert world.office.draining
    assert not carol.line.crossed
    (refused,) = [event for event in carol.events if isinstance(event, JoinRefused)]
    assert 30 <= refused.seconds <= 120
    for agent in (alice, bob, carol, dave):
        assert agent.events.count(Draining()) == 1
        assert agent.line.draining
    assert alice.line.crossed, "a call that is on goes on"
    assert not world.reflector.drained
    alice.line.leave()
    world.run(0.2)
    assert world.reflector.drained
    assert alice.received[-1][0] > world.now - 0.021, "cells go on until the end"


def test_a_call_that_is_being_made_may_still_meet(world: World) -> None:
    alice, bob = world.agent("alice", code=CODE), world.agent("bob", slot=9)
    world.run(0.3)
    world.reflector.drain()
    bob.line.join(CODE)
    world.run(0.3)
    assert alice.line.crossed
    assert bob.line.crossed


def test_resume_takes_lines_again(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.reflector.drain()
    world.reflector.resume()
    assert not world.office.draining
    carol = world.agent("carol", slot=7)
    world.run(5.0)
    assert carol.line.opened
    assert not alice.saw(Draining)
    assert not world.reflector.drained


def test_many_lines_are_told_over_some_time(make_world: type) -> None:
    world: World = make_world(capacity=1000)
    count = DRAININGS_AT_ONCE + 50
    for number in range(count):
        line = Line(number + 1, 0, world.entropy)
        world.reflector._lines[number + 1] = line
    told: list[int] = []

    def control(number: int, body: bytes) -> bool:
        told.append(number)
        return True

    world.forwarding.control = control
    world.reflector.drain()
    assert told == []
    world.reflector.watch(world.now)
    assert len(told) == DRAININGS_AT_ONCE
    world.reflector.watch(world.now + 0.1)
    assert len(told) == count
    world.reflector.watch(world.now + 0.2)
    assert len(told) == count
    for number in range(30, 34):
        world.reflector.watch(world.now + number / 10)
    assert sorted(told) == sorted(2 * [*range(1, count + 1)]), "twice, because a cell may be lost"
    world.reflector.watch(world.now + 60.0)
    assert len(told) == 2 * count


def test_an_agent_that_was_told_knows_why_its_line_ended(world: World) -> None:
    alice, _ = world.crossed_pair()
    world.reflector.drain()
    world.run(0.3)
    world.loses = lambda cell, to_reflector: True
    world.run(2.0)
    (lost,) = [event for event in alice.events if isinstance(event, LineLost)]
    assert lost.cause is LossCause.ENDED


# Starting again.


class RecordedAead:
    """AES-GCM that remembers under which (key, nonce) it sealed, all over the process."""

    sealed: list[tuple[bytes, bytes]]

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)
        self.decrypt = self._aead.decrypt

    def encrypt(self, nonce: bytes, data: bytes, header: bytes | None) -> bytes:
        if data:  # The check of a ticket's number is over nothing.
            self.sealed.append((self._key, nonce))
        return self._aead.encrypt(nonce, data, header)


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every (key, nonce) under which a cell was sealed: by agents, by the control plane, by the data plane."""
    RecordedAead.sealed = []
    monkeypatch.setattr("relay.rtp.srtp.AESGCM", RecordedAead)
    monkeypatch.setattr("relay.media_reflector.forwarding.twin_line.AESGCM", RecordedAead)
    return RecordedAead.sealed


def _lead_a_life(world: World, another: Callable[[], Forwarding]) -> None:
    """A call with all that can happen to its lines: moves, translators, rekeying, a restart, and on with tickets."""
    alice, bob = world.crossed_pair()
    world.run(5.0)
    alice.move("cafe")
    world.run(0.5)
    bob.place = "behind another translator"
    world.run(1.0)
    for agent in (alice, bob):
        agent.line._moves._rekey_at = 0.0
    world.run(1.0)
    alice.move("alice")
    world.run(1.0)
    assert alice.line.counters["rekeys"] == bob.line.counters["rekeys"] == 1
    assert world.count("roams") == 3
    keys = world.office.sealing_keys()
    tickets = [alice.line.resumption, bob.line.resumption]
    # The process ends and another begins; nothing survives but the long-lived keys and the sealing keys.
    world.start(another())
    assert world.office.restore(keys)
    world.run(2.0)
    assert alice.line.lost
    assert bob.line.lost
    for agent, ticket in zip((alice, bob), tickets, strict=True):
        agent.line = world.client(ticket, CODE)
    world.run(1.0)
    assert alice.line.crossed
    assert bob.line.crossed
    world.run(5.0)
    assert {agent.line.resumption is None for agent in (alice, bob)} == {False}


def _plain() -> Forwarding:
    return load_forwarding("plain")


def _native() -> Forwarding:
    return native_plane()


def test_no_nonce_comes_twice_in_moves_rekeyings_and_a_restart(
    make_world: type, sealed: list[tuple[bytes, bytes]]
) -> None:
    _lead_a_life(make_world(forwarding=_plain()), _plain)
    assert len(sealed) > 2000
    assert len(set(sealed)) == len(sealed)


@pytest.mark.parametrize("another", [_plain, _native])
def test_on_the_wire_no_packet_index_comes_twice_under_an_ssrc(
    make_world: type, another: Callable[[], Forwarding]
) -> None:
    """The same from outside, where a native data plane can be watched too.  Every epoch has an SSRC of its own, and no
    life here is long enough for a sequence number to come round."""
    world: World = make_world(forwarding=another())
    seen: dict[tuple[bytes, bytes], bytes] = {}

    def watch(cell: bytes, to_reflector: bool) -> bool:
        assert seen.setdefault((cell[8:12], cell[2:4]), cell) == cell
        return False

    world.loses = watch
    _lead_a_life(world, another)
    assert len(seen) > 2000
    assert len({ssrc for ssrc, _ in seen}) >= 2 * 2 * 4


def test_the_recording_would_see_a_nonce_that_comes_twice(
    world: World, sealed: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: a data plane that starts where the challenges started, not where they stopped."""

    def from_the_start(sender: CellSender, keys: UpKeys) -> DownKeys:
        first = (sender._sequence_number - sender._count) & 0xFFFF
        return DownKeys(keys.ssrc, keys.key, keys.salt, first, sender._timestamp)

    alice, _ = world.crossed_pair()
    monkeypatch.setattr(CellSender, "continued", from_the_start)
    alice.move("cafe")
    world.run(0.5)
    assert not alice.line._epochs.ahead
    assert len(set(sealed)) < len(sealed)


def test_a_resumption_ticket_opens_one_line_also_after_a_restart(world: World) -> None:
    alice = world.agent("alice")
    world.run(5.0)
    ticket = alice.line.resumption
    keys = world.office.sealing_keys()
    world.start()
    assert world.office.restore(keys)
    del world.agents["alice"]
    again = world.agent("alice again", ticket=ticket)
    world.run(0.5)
    assert again.line.opened
    third = world.agent("a third time", ticket=ticket, slot=8)
    world.run(0.5)
    assert not third.line.opened
    assert world.count("unknown_ssrc") > 0, "the data plane does not hand it up any more"


# Bounds.


def test_upcalls_of_the_epoch_that_was_left_do_not_advance_it_twice(world: World) -> None:
    """Cells under the following epoch that wait for a decision, when the first of them has moved the line on."""
    alice, _ = world.crossed_pair()
    held = world.held(alice)
    alice.line.move()
    for _ in range(3):
        cell = alice.line.next_cell(world.now)
        world.forwarding.receive([(cell, world.place("alice"))], world.now)
        world.steps += 20
    upcalls = world.forwarding.upcalls()
    assert [upcall.following for upcall in upcalls if isinstance(upcall, Elsewhere)] == [True] * 3
    # Two were taken, the third was handed up meanwhile.
    world.forwarding._upcalls = upcalls[2:]
    after = held.chain.following
    world.reflector.handle(upcalls[:2], world.now)
    assert held.chain.current is after
    world.reflector.handle(world.forwarding.upcalls(), world.now)
    assert held.chain.current is after
    world.run(0.5)
    assert not alice.line._epochs.ahead


def test_a_limit_leaves_the_rest_for_the_next_call(world: World) -> None:
    cells = [world.client().next_cell(world.now) for _ in range(5)]
    world.forwarding.receive([(cell, world.place("a")) for cell in cells], world.now)
    upcalls = world.forwarding.upcalls()
    assert len(upcalls) == 5
    assert world.reflector.handle(upcalls, world.now, limit=3)
    assert world.reflector.occupancy.opening == 3
    assert not world.reflector.handle([], world.now, limit=3)
    assert world.reflector.occupancy.opening == 5


def test_a_ticket_whose_first_message_waits_waits_once(world: World) -> None:
    firsts = []
    for _ in range(3):
        agent = world.client()
        for _ in range(4):
            world.forwarding.receive([(agent.next_cell(world.now), world.place("a"))], world.now)
            firsts += world.forwarding.upcalls()
            world.steps += 20
    assert len(firsts) == 12
    world.reflector.handle(firsts, world.now, limit=0)
    assert world.count("already_waiting") == 9
    assert not world.reflector.handle([], world.now, limit=3)
    assert world.reflector.occupancy.opening == 3


def test_first_messages_that_wait_are_bounded(world: World) -> None:
    cell = world.client().next_cell(world.now)
    firsts = [Stranger(cell[:12] + index.to_bytes(16) + cell[28:], world.place("a")) for index in range(300)]
    world.reflector.handle(firsts, world.now, limit=0)
    assert world.count("overburdened") == 300 - MAX_KNOCKING


def test_a_handshake_is_rather_finished_than_another_begun(world: World) -> None:
    """And none of the two starves the other."""
    alice = world.agent("alice")
    world.run(0.5)
    held = world.held(alice)
    said = Elsewhere(held.number, False, bytes([LinkType.CONTROL]) + bytes(131), held.address)
    knocking = [Stranger(world.client().next_cell(world.now), world.place("a")) for _ in range(5)]
    before = world.count("unknown_control")
    world.reflector.handle([*knocking, *[said] * 20], world.now, limit=10)
    assert world.count("unknown_control") - before == 8
    assert world.reflector.occupancy.opening == 2


def test_what_waits_for_a_decision_is_bounded(world: World) -> None:
    alice, bob = world.crossed_pair()
    body = Control(Operation.ROAM).to_body(world.entropy)
    held = world.held(alice)
    flood = world.forwarding.upcalls
    pulled = [Elsewhere(held.number, False, bytes([LinkType.CONTROL]) + body, held.address)] * MAX_UPCALLS
    world.forwarding.upcalls = lambda: list(pulled)
    world.reflector._pending.extend(pulled * 4)
    alice.line.move()
    cell = alice.line.next_cell(world.now)
    world.forwarding.receive([(cell, held.address)], world.now)
    world.reflector._pending.appendleft(flood()[-1])
    assert world.reflector.handle([], world.now, limit=1)
    assert len(world.reflector._pending) == MAX_PENDING
    assert world.count("overburdened") == MAX_UPCALLS
    world.forwarding.upcalls = flood
    world.reflector.handle([], world.now)
    world.run(0.3)
    assert not bob.line.lost


def test_what_comes_of_a_line_that_is_gone_is_counted_and_does_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    held = world.held(alice)
    alice.line.close()
    world.run(0.2)
    before = world.reflector.counters.snapshot()
    control = Control(Operation.ROAM).to_body(world.entropy)
    payload = bytes([LinkType.CONTROL]) + control
    stale = [
        ControlReceived(held.number, control),
        Expired(held.number),
        Elsewhere(held.number, True, payload, world.place("alice")),
        Elsewhere(held.number, False, payload, world.place("x")),
    ]
    world.reflector.handle(stale, world.now)
    assert world.reflector.counters.snapshot() == before | {"line_gone": before["line_gone"] + 3}


def test_a_line_takes_less_than_four_kibibytes_of_the_control_plane(make_world: type) -> None:
    """The native data plane keeps well below 1 KiB of its own; together they stay below 4 KiB."""
    world: World = make_world(capacity=2000)
    clients = [world.client() for _ in range(300)]

    def open_some(count: int) -> None:
        for number in range(count):
            line = clients.pop()
            world.receive(line.next_cell(world.now), f"place {count} {number}")
            answers = [cell for cell, _ in world.tick()]
            line.receive(answers[-1], world.now)
            proof = line.next_cell(world.now)
            world.receive(proof, f"place {count} {number}")
            # Only what the control plane holds is counted here.
            number_of_line = max(world.reflector._lines)
            world.forwarding.remove(number_of_line)

    open_some(50)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = len(clients)
        open_some(200)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held - len(clients) == 200
    assert world.reflector.occupancy.lines == 250
    assert grown / 200 < 3072
