"""Opening a line among enemies: counted, dropped, bounded, and never louder than what was said to it."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector import LineLost, LossCause, Ticket
from relay.media_reflector.first_message import MESSAGE_SIZE
from relay.media_reflector.forwarding.face import SLOTS, TICKET_ID_SIZE
from relay.media_reflector.handshake import AgentHandshake, answer_handshake
from relay.media_reflector.opening import (
    EASE_SECONDS,
    HANDSHAKES_AT_EASE,
    MAX_ANSWERED,
    OPENING_EXPIRY,
    Opening,
    Openings,
)
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, RTP_HEADER_SIZE
from relay.rtp.packet import pack_header
from tests.media_reflector.uniformity import POSITION_LIMIT, at_position

World = Any


def _opening(world: World) -> Opening:
    openings: Openings = world.reflector._openings
    (opening,) = openings._by_number.values()
    return opening


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The first messages that cost a Diffie-Hellman exchange."""
    seen: list[bytes] = []

    def answering(message: bytes, *rest: Any) -> Any:
        seen.append(message)
        return answer_handshake(message, *rest)

    monkeypatch.setattr("relay.media_reflector.opening.answer_handshake", answering)
    return seen


def test_an_opening_that_is_never_proved_expires(world: World) -> None:
    alice = world.agent("alice")
    world.emit(alice)
    alice.silent = True
    assert world.reflector.occupancy.opening == 1
    world.run(OPENING_EXPIRY + 0.2)
    assert world.reflector.occupancy.opening == 0
    assert world.count("openings_expired") == 1
    assert world.forwarding.lines == 0
    assert sum(world.reflector._openings._slots._lines) == 0
    world.emit(alice)
    assert world.count("no_ticket") == world.count("handshake_refused") == 0, "its number is forbidden again"


def test_the_handshake_survives_loss_of_every_first_try(world: World) -> None:
    line = world.client()
    answers: list[bytes] = []
    for number in range(10):
        cell = line.next_cell(world.now)
        if number >= 3:
            world.receive(cell, "a")
        answers += [answer for answer, _ in world.tick()]
        if number >= 7 and not line.opened:
            line.receive(answers[-1], world.now)
    assert line.opened
    world.run(0.02)
    assert world.reflector.occupancy.lines == 1
    assert world.count("handshake_refused") == 0


def test_slots_spread_the_lines(make_world: type) -> None:
    world: World = make_world(capacity=300)
    for number in range(100):
        world.agent(f"agent {number}", slot=number % 20)
    world.run(0.2)
    sizes = world.reflector._openings._slots._lines
    assert sum(sizes) == 100
    assert max(sizes) <= 3 * 100 / SLOTS


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200)
    | st.binary(min_size=148, max_size=148).map(lambda b: b"\x80\x6f" + b[:10] + b)
)
def test_nothing_raises_and_nothing_is_answered(world: World, data: bytes) -> None:
    world.receive(data, "x")
    assert world.tick() == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_first_message_opens_nothing_and_is_not_answered(world: World, data: st.DataObject) -> None:
    """Its number passes the data plane; everything after it is covered by the mac."""
    cell = bytearray(world.client().next_cell(world.now))
    position = data.draw(st.integers(RTP_HEADER_SIZE + TICKET_ID_SIZE, CELL_SIZE - 1))
    cell[position] ^= data.draw(st.integers(1, 255))
    before = world.count("handshake_refused")
    world.receive(bytes(cell), "x")
    assert world.tick() == []
    assert world.count("handshake_refused") == before + 1
    assert world.reflector.occupancy.opening == 0
    world.office.expire(world.now + 601.0)


def test_an_unknown_ssrc_is_never_answered(world: World) -> None:
    world.crossed_pair()
    for _ in range(500):
        cell = pack_header(111, 0, 0, world.entropy.below(1 << 32)) + world.entropy.token(MESSAGE_SIZE)
        world.receive(cell, "stranger")
        world.step()
    assert world.stray == []
    assert world.count("unknown_ssrc") == 500


def test_a_seen_ticket_number_without_its_secret_costs_no_exchange_and_uses_nothing_up(
    world: World, exchanges: list[bytes]
) -> None:
    ticket = world.ticket()
    forged = pack_header(111, 0, 0, 7) + ticket.id + world.entropy.token(MESSAGE_SIZE - len(ticket.id))
    for _ in range(20):
        world.receive(forged, "x")
        world.run(0.02)
    assert world.count("handshake_refused") == 20
    assert world.stray == []
    assert exchanges == []
    line = world.client(ticket)
    world.receive(line.next_cell(world.now), "alice")
    assert world.count("handshake_refused") == 20
    assert world.reflector.occupancy.opening == 1


def test_a_first_message_under_another_header_is_refused_and_uses_nothing_up(world: World) -> None:
    """Somebody on the path who is faster: the true message that follows opens the line."""
    alice = world.agent("alice")
    cell = alice.line.next_cell(world.now)
    world.receive(cell[:8] + bytes(4) + cell[12:], "alice")
    assert world.count("handshake_refused") == 1
    world.run(0.3)
    assert alice.line.opened


def test_a_ticket_opens_one_line(world: World) -> None:
    ticket = world.ticket()
    first, second = world.client(ticket), world.client(ticket)
    world.receive(first.next_cell(world.now), "a")
    world.run(0.02)
    world.receive(second.next_cell(world.now), "b")
    assert world.reflector.occupancy.opening == 1
    assert world.count("handshake_refused") == 1


def test_an_old_ticket_opens_nothing(world: World) -> None:
    line = world.client()
    world.skip(601.0)
    world.reflector.watch(world.now)
    world.receive(line.next_cell(world.now), "a")
    assert world.reflector.occupancy.opening == 0
    assert world.count("unknown_ssrc") == 1, "the data plane knows its number no more"


def test_an_ssrc_that_a_line_has_already_opens_nothing_and_uses_nothing_up(world: World) -> None:
    first = world.client()
    cell = first.next_cell(world.now)
    world.receive(cell, "a")
    ticket, taken = world.ticket(), int.from_bytes(cell[8:12])
    handshake = AgentHandshake(ticket, world.descriptor.static_key, taken, world.entropy)
    world.receive(pack_header(111, 0, 0, taken) + handshake.first(), "b")
    assert world.count("ssrc_taken") == 1
    assert world.reflector.occupancy.opening == 1
    world.run(0.02)
    world.receive(world.client(ticket).next_cell(world.now), "b")
    assert world.reflector.occupancy.opening == 2


def test_before_proof_an_address_gets_at_most_what_it_sent(world: World) -> None:
    """A spoofed source that repeats the first message, at any rate, is answered at most one for one."""
    line = world.client()
    sent = 0
    entropy = SeededEntropy("rates")
    for _ in range(3000):
        for _ in range(entropy.below(3) if entropy.below(4) == 0 else 0):
            world.receive(line.next_cell(world.now), "victim")
            sent += 1
        world.step()
        assert len(world.stray) <= sent
    assert 0 < len(world.stray) <= 3000 // 20 + 1
    assert world.reflector.occupancy.lines == 0


def test_a_repeated_first_message_gets_the_same_answer_in_a_new_cell(
    world: World, exchanges: list[bytes]
) -> None:
    line = world.client()
    for _ in range(9):
        world.receive(line.next_cell(world.now), "a")
        world.run(0.020)
    cells = [cell for cell, _ in world.stray]
    # The first one at once, then no more often than every third tick.
    assert len(cells) == 3
    assert world.count("answered_already") == 6
    assert len({cell[12:] for cell in cells}) == 1
    assert len({cell[:12] for cell in cells}) == 3
    assert world.reflector.occupancy.opening == 1
    assert len(exchanges) == 1


def test_a_first_message_replayed_after_opening_opens_and_sends_nothing(world: World) -> None:
    alice, _ = world.crossed_pair()
    first = alice.sent[0][1]
    world.stray.clear()
    sent_before = world.count("cells_sent") + world.count("singles_sent")
    for source in ("alice", "elsewhere"):
        for _ in range(50):
            world.receive(first, source)
    world.run(1.0)
    assert world.stray == []
    assert world.count("cells_sent") + world.count("singles_sent") - sent_before <= 101, (
        "fifty ticks, as ever"
    )
    assert world.reflector.occupancy.lines == 2


def test_a_first_message_replayed_after_the_line_ended_opens_nothing(world: World) -> None:
    alice = world.agent("alice")
    world.run(5.0)
    # A resumption ticket's number would pass the check until its key is gone.
    again = world.agent("again", slot=8, ticket=alice.line.resumption)
    world.run(0.5)
    assert again.line.opened
    again.line.close()
    world.run(0.5)
    world.stray.clear()
    before = world.count("unknown_ssrc")
    world.receive(again.sent[0][1], "again")
    world.run(0.1)
    assert world.count("unknown_ssrc") == before + 1, "nobody but the data plane ever sees it"
    assert world.stray == []
    assert world.reflector.occupancy.lines == 1


def test_answers_to_many_addresses_are_bounded(world: World) -> None:
    line = world.client()
    for number in range(200):
        world.receive(line.next_cell(world.now), f"source {number}")
        world.run(0.020)
    assert len(_opening(world).answered) == MAX_ANSWERED
    assert len({place for _, place in world.stray}) == MAX_ANSWERED
    assert world.count("other_address") == 200 - MAX_ANSWERED


def test_proof_counts_only_from_an_address_that_got_the_answer(world: World) -> None:
    line = world.client()
    world.receive(line.next_cell(world.now), "alice")
    world.run(0.020)
    line.receive(world.stray[0][0], world.now)
    proof = line.next_cell(world.now)
    world.receive(proof, "victim")
    assert world.reflector.occupancy.lines == 0
    assert world.count("other_address") == 1
    # The copy used that cell up; the proof is said again in the next one.
    world.run(0.020)
    world.receive(line.next_cell(world.now), "alice")
    assert world.reflector.occupancy.lines == 1


def test_an_attacker_on_the_path_cannot_have_the_cells_sent_to_a_third_party(world: World) -> None:
    """The agent's own cells, copied under the victim's address and coming first, prove nothing there."""
    line = world.client()
    first = line.next_cell(world.now)
    world.receive(first, "victim")
    world.run(0.020)
    world.receive(first, "alice")
    world.run(0.020)
    answers = {place: cell for cell, place in world.stray}
    assert set(answers) == {"alice", "victim"}
    # Even with the header of the answer changed on its way: the victim's timestamp is not known.
    line.receive(answers["alice"], world.now)
    copied = line.next_cell(world.now)
    world.receive(copied, "victim")
    assert world.count("unproved") == 1
    assert world.reflector.occupancy.lines == 0
    world.run(1.0)
    assert sum(place == "victim" for _, place in world.stray) == 1
    world.receive(line.next_cell(world.now), "alice")
    assert world.reflector.occupancy.lines == 1


def test_what_is_no_proof_opens_nothing(world: World) -> None:
    line = world.client()
    world.receive(line.next_cell(world.now), "alice")
    world.run(0.020)
    line.receive(world.stray[0][0], world.now)
    line._proof = None
    line.submit(b"!" * BODY_SIZE)
    world.receive(line.next_cell(world.now), "alice")
    assert world.count("unproved") == 1
    assert world.reflector.occupancy.lines == 0


# Load.


def _load(world: World) -> None:
    """As many key exchanges as make load."""
    world.reflector._openings._exchanges.extend([world.now] * HANDSHAKES_AT_EASE)


def test_under_load_spoofed_sources_cause_no_key_exchange(make_world: type, exchanges: list[bytes]) -> None:
    world: World = make_world(capacity=10_000)
    world.reflector.watch(world.now)
    # Of two kinds, because there are not so many places for one.
    clients = [
        world.client(world.office.resumption(world.now) if number % 2 else None)
        for number in range(HANDSHAKES_AT_EASE + 100)
    ]
    for number, line in enumerate(clients):
        world.receive(line.next_cell(world.now), f"spoofed {number}")
        if number % 60 == 59:
            world.run(0.02)
    world.run(0.02)
    assert len(exchanges) == HANDSHAKES_AT_EASE
    assert world.count("cookies_sent") == 100
    assert len(world.stray) == len(clients), "one cell for one, whatever it says"
    # What the spoofed places were sent does not come back to whoever spoofs: the same messages, from anywhere.
    for number, line in enumerate(clients[-60:]):
        _load(world)
        world.receive(line.next_cell(world.now), f"spoofed anew {number}")
    world.run(0.02)
    assert len(exchanges) == HANDSHAKES_AT_EASE
    assert world.count("cookies_sent") == 160
    assert world.reflector.occupancy.opening == HANDSHAKES_AT_EASE


def test_under_load_an_honest_agent_opens_its_line_with_a_cookie(
    world: World, exchanges: list[bytes]
) -> None:
    _load(world)
    alice = world.agent("alice", slot=3)
    for _ in range(10):
        _load(world)
        world.run(0.02)
    assert alice.line.opened
    assert alice.line.counters["cookies_received"] == 1
    assert world.count("cookies_sent") == 1
    assert len(exchanges) == 1
    assert world.reflector.occupancy.lines == 1


def test_a_cookie_is_good_for_one_address_and_one_ticket(world: World, exchanges: list[bytes]) -> None:
    _load(world)
    line = world.client()
    world.receive(line.next_cell(world.now), "alice")
    world.run(0.02)
    line.receive(world.stray[0][0], world.now)
    _load(world)
    with_cookie = line.next_cell(world.now)
    world.receive(with_cookie, "somebody else")
    assert exchanges == []
    world.run(0.02)
    _load(world)
    world.receive(with_cookie, "alice")
    assert len(exchanges) == 1


def test_half_of_the_capacity_opening_is_load_too(make_world: type) -> None:
    world: World = make_world(capacity=10)
    for number in range(5):
        world.receive(world.client().next_cell(world.now), f"source {number}")
    assert world.reflector.occupancy.opening == 5
    world.receive(world.client().next_cell(world.now), "source 6")
    world.run(0.02)
    assert world.reflector.occupancy.opening == 5
    assert world.count("cookies_sent") == 1


def test_load_passes(world: World, exchanges: list[bytes]) -> None:
    _load(world)
    world.skip(EASE_SECONDS)
    world.receive(world.client().next_cell(world.now), "alice")
    assert len(exchanges) == 1


def test_an_agent_that_only_got_cookies_knows_that_the_reflector_is_busy(world: World) -> None:
    alice = world.agent("alice")
    _load(world)
    world.loses = lambda cell, to_reflector: to_reflector and alice.line.counters["cookies_received"] > 0
    world.run(5.2)
    (lost,) = [event for event in alice.events if isinstance(event, LineLost)]
    assert lost.cause is LossCause.BUSY


# Looks and bounds.


def test_handshake_cells_are_as_random_as_the_rest(make_world: type) -> None:
    world: World = make_world(capacity=10_000)
    first, answers, cookies = [], [], []
    for number in range(600):
        first.append(world.client().next_cell(world.now))
        world.receive(first[-1], f"agent {number}")
        answers += [cell for cell, _ in world.tick()]
    assert len(answers) == 600
    for number in range(600):
        _load(world)
        world.receive(world.client().next_cell(world.now), f"under load {number}")
        cookies += [cell for cell, _ in world.tick()]
    assert world.count("cookies_sent") == 600
    for cells in (first, answers, cookies):
        assert {len(cell) for cell in cells} == {CELL_SIZE}
        assert {cell[:2] for cell in cells} == {b"\x80\x6f"}
        # A bare X25519 key would have its top bit clear: the last byte of its 32 never above 127.
        worst = max(at_position(cells, position) for position in range(RTP_HEADER_SIZE, CELL_SIZE))
        assert worst < POSITION_LIMIT


def test_memory_does_not_grow_under_50_000_hostile_datagrams(world: World) -> None:
    alice, bob = world.crossed_pair()
    ticket = world.ticket()
    reflector = world.reflector
    known = alice.sent[-1][1][8:12]
    noise = world.entropy.token(1 << 16)
    captured = [cell for _, cell in alice.sent]

    def size() -> int:
        """Everything in the control plane that could hold what a stranger sent."""
        openings = reflector._openings
        total: int = len(reflector._lines) + len(openings._by_number) + len(openings._by_ticket)
        total += sum(len(opening.answered) for opening in openings._by_number.values())
        total += len(reflector._pending) + reflector._crossings.codes + len(world.office)
        due: int = sum(map(len, reflector._hand_outs._due.values()))
        return total + due

    before = size()
    for number in range(50_000):
        part = noise[number % 60_000 : number % 60_000 + MESSAGE_SIZE]
        match number % 5:
            case 0:
                datagram = noise[number % 60_000 :][: number % 1500]
            case 1:
                datagram = pack_header(111, number & 0xFFFF, number, number * 7919 & 0xFFFFFFFF) + part
            case 2:
                datagram = b"\x80\x6f" + (number & 0xFFFF).to_bytes(2) + bytes(4) + known + part
            case 3:
                datagram = captured[number % len(captured)]
            case _:
                datagram = (
                    pack_header(111, 0, 0, number) + (ticket.id if number < 500 else part[:16]) + part[16:]
                )
        world.receive(datagram, f"{number % 1000}" if number % 2 else "alice")
    assert size() == before
    alice.line.submit(b"still here".ljust(BODY_SIZE))
    world.run(0.2)
    assert b"still here".ljust(BODY_SIZE) in bob.bodies


def test_a_handshake_that_nobody_answers_tells_so(world: World) -> None:
    alice = world.agent("alice")
    world.loses = lambda cell, to_reflector: True
    world.run(5.2)
    (lost,) = [event for event in alice.events if isinstance(event, LineLost)]
    assert lost.cause is LossCause.UNANSWERED
    assert "handshake" in lost.reason


def _drowned(world: World, tickets: list[Ticket], ticket: Ticket) -> None:
    """At the beginning of each tick somebody says many numbers; meanwhile an honest agent opens a line."""
    honest = world.agent("honest", ticket=ticket)
    said = itertools.cycle(tickets)
    header = pack_header(111, 0, 0, 1)
    for _ in range(1000):
        if world.steps % SLOTS == 1:
            batch = [
                (header + next(said).id + bytes(MESSAGE_SIZE - TICKET_ID_SIZE), world.place("mallory"))
                for _ in range(200)
            ]
            world.forwarding.receive(batch, world.now)
            world.reflector.handle(world.forwarding.upcalls(), world.now)
        world.step()
    assert honest.line.opened


def test_whoever_holds_many_tickets_of_one_kind_keeps_nobody_out_who_has_another(world: World) -> None:
    world.reflector.watch(world.now)
    _drowned(world, [world.office.resumption(world.now) for _ in range(4000)], world.ticket())
    assert world.count("stranger_limited") > 1000


@pytest.mark.parametrize("restarted", [False, True])
def test_whoever_used_many_tickets_keeps_nobody_out(world: World, restarted: bool) -> None:
    """A used number passes the check of its key for up to two hours, and nobody may open a line with it."""
    world.reflector.watch(world.now)
    used = [world.office.resumption(world.now) for _ in range(4000)]
    for ticket in used:
        world.office.use(ticket.id, world.now)
        # As when the line is open.
        world.forwarding.forbid(ticket.id)
    unused = world.office.resumption(world.now)
    if restarted:
        keys = world.office.sealing_keys()
        world.start()
        assert world.office.restore(keys)
    _drowned(world, used, unused)
    assert world.count("stranger_limited") == 0


def test_a_number_that_opened_a_line_is_not_handed_up_again(world: World) -> None:
    world.reflector.watch(world.now)
    alice = world.agent("alice", ticket=world.office.resumption(world.now))
    world.run(1.0)
    assert alice.line.opened
    first = alice.sent[0][1]
    before = world.count("strangers_received")
    # Under another SSRC, because the line has its own.
    world.receive(first[:8] + bytes(4) + first[12:], "mallory")
    assert world.count("strangers_received") == before
