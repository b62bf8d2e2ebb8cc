"""Tickets: sealed, single use, short-lived, capped; requests and answers of one size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, RefusedByPolicy, SeededEntropy
from relay.media_reflector import ANSWER_SIZE, REQUEST_SIZE, ReflectorKeys, ReflectorReference, TicketOffice
from relay.media_reflector.descriptor import verify_descriptor
from relay.media_reflector.tickets import (
    LIFETIME,
    SHORTEST_LIFETIME,
    Answer,
    Request,
    Ticket,
    descriptor_request,
    parse_answer,
    ticket_lifetime,
    ticket_request,
)
from relay.wire import encode, pad

ENTROPY = SeededEntropy("tickets")
KEYS = ReflectorKeys.generate(ENTROPY)
ONION = "a" * 56
WALL = 1_800_000_000.0
SIGNED = KEYS.signed_descriptor(ONION, "192.0.2.1", 7210, WALL)
DESCRIPTOR = verify_descriptor(SIGNED, ReflectorReference(ONION, KEYS.public_identity), WALL)


def _issue(office: TicketOffice, now: float) -> Ticket:
    request, secret = ticket_request(DESCRIPTOR, ENTROPY)
    assert parse_answer(office.answer(request, lambda: SIGNED, now)).lifetime == LIFETIME
    return Ticket(secret, now + LIFETIME)


def test_both_sides_have_the_same_ticket_and_nobody_sent_its_number() -> None:
    office = KEYS.office(10)
    request, secret = ticket_request(DESCRIPTOR, ENTROPY)
    answer = office.answer(request, lambda: SIGNED, 0.0)
    ticket = Ticket(secret, LIFETIME)
    assert office.find(ticket.id, 1.0) == ticket
    assert ticket.id not in request + answer
    assert secret not in request + answer


def test_every_request_and_every_answer_has_one_size() -> None:
    office = KEYS.office(1)
    request, _ = ticket_request(DESCRIPTOR, ENTROPY)
    assert len(request) == len(descriptor_request()) == REQUEST_SIZE
    answers = [office.answer(request, lambda: SIGNED, 0.0)]
    answers.append(office.answer(descriptor_request(), lambda: SIGNED, 0.0))
    answers.append(office.answer(ticket_request(DESCRIPTOR, ENTROPY)[0], lambda: SIGNED, 0.0))
    assert {len(answer) for answer in answers} == {ANSWER_SIZE}
    assert parse_answer(answers[1]).data == SIGNED
    with pytest.raises(RefusedByPolicy):
        parse_answer(answers[2])


def test_a_ticket_is_used_once() -> None:
    office = KEYS.office(10)
    ticket = _issue(office, 0.0)
    office.use(ticket.id)
    assert office.find(ticket.id, 1.0) is None
    with pytest.raises(MisuseError):
        office.use(ticket.id)


def test_a_ticket_lives_ten_minutes() -> None:
    office = KEYS.office(10)
    ticket = _issue(office, 0.0)
    assert office.find(ticket.id, LIFETIME - 0.1) is not None
    assert office.find(ticket.id, LIFETIME) is None
    office.expire(LIFETIME)
    assert len(office) == 0
    assert office.counters["expired"] == 1


def test_the_cap_holds_until_tickets_ran_out() -> None:
    office = KEYS.office(3)
    for _ in range(3):
        _issue(office, 0.0)
    with pytest.raises(RefusedByPolicy):
        _issue(office, 1.0)
    assert len(office) == 3
    _issue(office, LIFETIME)
    assert len(office) == 1


def test_the_same_request_twice_is_refused() -> None:
    office = KEYS.office(10)
    request, _ = ticket_request(DESCRIPTOR, ENTROPY)
    office.answer(request, lambda: SIGNED, 0.0)
    with pytest.raises(PeerError, match="twice"):
        office.answer(request, lambda: SIGNED, 0.0)
    assert office.counters["garbage"] == 1


def test_a_request_sealed_to_another_reflector_is_refused() -> None:
    other = ReflectorKeys.generate(SeededEntropy("other"))
    with pytest.raises(PeerError, match="not sealed"):
        other.office(10).answer(ticket_request(DESCRIPTOR, ENTROPY)[0], lambda: SIGNED, 0.0)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=REQUEST_SIZE) | st.binary(max_size=1200).map(lambda d: pad(d, REQUEST_SIZE)))
def test_noise_raises_only_the_peers_fault(data: bytes) -> None:
    office = KEYS.office(10)
    with pytest.raises(PeerError):
        office.answer(data, lambda: SIGNED, 0.0)
    assert len(office) == 0


@pytest.mark.parametrize("request_", [Request(3, b""), Request(2, b""), Request(2, bytes(1168))])
def test_wrong_requests(request_: Request) -> None:
    with pytest.raises(PeerError):
        KEYS.office(10).answer(pad(encode(request_), REQUEST_SIZE), lambda: SIGNED, 0.0)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda data: pad(data, ANSWER_SIZE)))
def test_a_wrong_answer_raises_only_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_answer(data)


@pytest.mark.parametrize("lifetime", [-1, 0, SHORTEST_LIFETIME - 1, LIFETIME + 1, 2**63])
def test_a_lifetime_out_of_bounds_is_the_peers_fault(lifetime: float) -> None:
    with pytest.raises(PeerError, match="lifetime"):
        ticket_lifetime(Answer(True, b"", int(lifetime)))


@pytest.mark.parametrize("lifetime", [SHORTEST_LIFETIME, LIFETIME])
def test_a_lifetime_within_bounds(lifetime: float) -> None:
    assert ticket_lifetime(Answer(True, b"", int(lifetime))) == lifetime


def test_answers_round_trip() -> None:
    answer = Answer(True, b"data", 5)
    assert parse_answer(pad(encode(answer), ANSWER_SIZE)) == answer
