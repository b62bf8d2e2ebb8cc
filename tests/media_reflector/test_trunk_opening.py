"""How a trunk opens, between honest ends and among enemies."""

import itertools
from collections.abc import Callable

import pytest

from relay.core import MisuseError
from relay.media_reflector import LineClient
from relay.media_reflector.forwarding.face import Forwarding, pack_address
from relay.media_reflector.opening import OPENING_EXPIRY
from relay.media_reflector.trunk import ANSWER_EVERY
from relay.media_reflector.trunk_slots import OPENED_AT_ONCE, SILENT_AFTER
from tests.media_reflector.two_reflectors import Pair, Site


def test_it_opens_with_as_many_slots_as_both_have(make_plane: Callable[[], Forwarding]) -> None:
    pair = Pair(slots=(7, 3), delay=0.030, make=make_plane)
    assert not pair.up
    assert pair.one.trunks.told(pair.now) == []
    pair.open()
    assert pair.one.trunks.told(pair.now) == [(pair.two.identity, 3)]
    assert pair.two.trunks.told(pair.now) == [(pair.one.identity, 3)]
    for site in pair.sites:
        assert site.forwarding.lines == 4, "and one for what the two have to say to each other"
        assert site.reflector.occupancy.lines == 0, "slots are nobody's lines"
        assert site.count("trunks_opened") == 1


def test_either_end_may_begin() -> None:
    pair = Pair()
    pair.begin(pair.two)
    pair.run(1.0)
    assert pair.up
    pair.crossed_pair()


def test_many_slots_are_opened_over_some_time() -> None:
    pair = Pair(slots=(300, 300))
    pair.begin()
    pair.run_until(lambda: pair.one.forwarding.lines > 1, 1.0)
    seen = set()
    while not pair.up:
        seen.add(pair.one.forwarding.lines)
        pair.step()
    assert len(seen) >= 300 // OPENED_AT_ONCE
    assert max(b - a for a, b in itertools.pairwise(sorted(seen))) <= OPENED_AT_ONCE
    assert pair.one.forwarding.lines == pair.two.forwarding.lines == 301
    pair.crossed_pair()


def test_a_first_message_is_said_until_it_is_answered(make_plane: Callable[[], Forwarding]) -> None:
    pair = Pair(make=make_plane)
    pair.loses = lambda source, cell: pair.entropy.below(10) < 7
    pair.begin()
    pair.run(3.0)
    pair.loses = lambda source, cell: False
    pair.run(1.0)
    assert pair.up
    assert pair.two.count("trunk_answers") >= 1


def test_a_beginning_that_nobody_answers_ends() -> None:
    pair = Pair()
    pair.two.dead = True
    pair.begin()
    pair.run(OPENING_EXPIRY + 0.2)
    said = len(pair.wire)
    assert 20 < said < 50
    pair.run(1.0)
    assert len(pair.wire) == said


def test_who_does_not_prove_its_address_gets_one_cell_for_one_and_no_trunk() -> None:
    pair = Pair()
    # The answers never arrive, as when the address of the first messages was forged.
    pair.loses = lambda source, cell: source is pair.two
    pair.begin()
    pair.run(OPENING_EXPIRY + 11.0)
    counts = {site: sum(one is site for _, one, _ in pair.wire) for site in pair.sites}
    assert 0 < counts[pair.two] <= counts[pair.one]
    assert pair.two.forwarding.lines == 0, "forgotten"
    assert pair.two.count("trunks_opened") == 0


def test_a_copied_first_message_from_elsewhere_gets_no_more_than_it_sends() -> None:
    pair = Pair()
    firsts: list[bytes] = []

    def copy(source: Site, cell: bytes) -> bool:
        if source is pair.one:
            firsts.append(cell)
        return source is pair.two

    pair.loses = copy
    pair.begin()
    pair.run(0.1)
    for number in range(20):
        pair._receive(pair.two, firsts[0], pack_address("10.7.0.1", 4000 + number))
        pair.run(0.02)
    assert pair.two.count("singles_sent") <= 2 + 8, "eight addresses at most"
    assert pair.two.count("trunk_other_address") > 0
    pair.loses = lambda source, cell: False
    pair.run(1.0)
    assert pair.up


def test_a_damaged_first_message_costs_nothing_and_spoils_nothing() -> None:
    pair = Pair()
    pair.loses = lambda source, cell: True
    pair.begin()
    pair.run(0.1)
    ticket = pair.trunk_ticket(pair.one)
    call = next(iter(pair.one.trunks._calls.values()))
    first = call._sender.handshake(call._initiator.first())
    for at in (12 + 16, 60, 130, 150):
        pair._receive(pair.two, first[:at] + bytes((first[at] ^ 1,)) + first[at + 1 :], pair.one.address)
        pair.run(0.02)
    assert pair.two.count("trunk_refused") == 4
    assert pair.two.forwarding.lines == 0
    assert ticket.id != call._initiator._ticket.id
    pair.loses = lambda source, cell: False
    pair.run(1.0)
    assert pair.up


def test_a_peer_whose_descriptor_was_not_seen_waits() -> None:
    pair = Pair()
    pair.two.trunks._peers[pair.one.identity].static = b""
    pair.begin()
    pair.run(0.5)
    assert pair.two.count("trunk_unknown_peer") >= 1
    pair.two.trunks.know(pair.one.identity, pair.one.descriptor.static_key)
    pair.run(1.0)
    assert pair.up


def test_with_another_static_key_than_the_descriptors_there_is_no_trunk() -> None:
    pair = Pair()
    pair.two.trunks.know(pair.one.identity, pair.two.descriptor.static_key)
    pair.begin()
    pair.run(1.0)
    assert pair.two.count("trunk_refused") >= 1
    assert pair.two.forwarding.lines == 0


def test_nothing_is_begun_with_who_is_not_known() -> None:
    pair = Pair()
    ticket = pair.trunk_ticket(pair.one)
    with pytest.raises(MisuseError):
        pair.one.trunks.begin(b"x" * 32, ticket, pair.two.address, pair.now)
    pair.one.trunks.know(b"x" * 32, pair.two.descriptor.static_key)
    with pytest.raises(MisuseError):
        pair.one.trunks.begin(b"x" * 32, ticket, pair.two.address, pair.now)


def test_a_slot_whose_name_is_taken_is_another_beginning() -> None:
    pair = Pair()
    original = pair.two.forwarding.add_line
    calls = itertools.count()
    pair.two.forwarding.add_line = (  # type: ignore[method-assign]
        lambda slot, up, now: None if next(calls) == 2 else original(slot, up, now)
    )
    pair.begin()
    pair.run(1.0)
    assert not pair.up
    assert pair.two.forwarding.lines == 0
    pair.run(SILENT_AFTER + 0.2)
    assert pair.one.forwarding.lines == 0
    pair.begin()
    pair.run(ANSWER_EVERY)
    assert pair.up


def test_a_trunk_ticket_opens_no_line(pair: Pair) -> None:
    ticket = pair.trunk_ticket(pair.one)
    eve = pair.agent("eve", pair.two)
    eve.line = LineClient(pair.two.descriptor, ticket, pair.entropy)
    pair.run(1.0)
    assert not eve.line.opened
    assert pair.two.reflector.occupancy.opening == 0
