"""The cookie: for one ticket and one address, for two to four minutes, and nothing kept for who asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector.cookie import ROTATION, CookieJar, read_cookie
from relay.media_reflector.first_message import MESSAGE_SIZE, FirstMessage
from relay.media_reflector.forwarding.face import pack_address
from relay.media_reflector.tickets import Ticket

TICKET = Ticket.fresh(bytes(range(50, 82)), 600.0)
OTHER = Ticket.fresh(bytes(range(51, 83)), 600.0)
HERE = pack_address("192.0.2.1", 5000)
THERE = pack_address("192.0.2.1", 5001)


def _jar() -> CookieJar:
    return CookieJar(SeededEntropy("jar"))


def _with(jar: CookieJar, now: float, ticket: Ticket = TICKET) -> bytes:
    cookie = read_cookie(jar.answer(TICKET, HERE, now), TICKET.secret)
    assert cookie is not None
    return FirstMessage(ticket, bytes(100), cookie).message


def test_a_cookie_is_good_where_it_was_given() -> None:
    jar = _jar()
    assert not jar.good(FirstMessage(TICKET, bytes(100), bytes(16)).message, HERE, 0.0)
    assert jar.good(_with(jar, 0.0), HERE, 1.0)


def test_and_neither_elsewhere_nor_for_another_ticket() -> None:
    jar = _jar()
    assert not jar.good(_with(jar, 0.0), THERE, 1.0)
    assert not jar.good(_with(jar, 0.0, OTHER), HERE, 1.0)
    assert not CookieJar(SeededEntropy("another")).good(_with(jar, 0.0), HERE, 1.0)


@pytest.mark.parametrize("given_at", [0.0, ROTATION - 1])
def test_it_is_good_for_two_minutes_at_least_and_four_at_most(given_at: float) -> None:
    jar = _jar()
    jar.good(bytes(148), HERE, 0.0)
    message = _with(jar, given_at)
    assert jar.good(message, HERE, given_at + ROTATION - 1)
    assert not jar.good(message, HERE, given_at + 2 * ROTATION + 1)


def test_a_long_silence_ends_every_cookie() -> None:
    jar = _jar()
    message = _with(jar, 0.0)
    assert not jar.good(message, HERE, 1_000_000.0)
    assert jar.good(_with(jar, 1_000_000.0), HERE, 1_000_000.0 + ROTATION - 1)


def test_the_question_looks_like_any_message_and_like_no_other_question() -> None:
    jar = _jar()
    answers = {jar.answer(TICKET, HERE, 0.0) for _ in range(300)}
    assert len(answers) == 300
    assert {len(answer) for answer in answers} == {MESSAGE_SIZE}
    for position in range(MESSAGE_SIZE):
        assert len({answer[position] for answer in answers}) > 120


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(min_size=148, max_size=148))
def test_garbage_is_no_cookie_and_raises_nothing(message: bytes) -> None:
    assert read_cookie(message, TICKET.secret) is None
    if len(message) == MESSAGE_SIZE:
        assert not _jar().good(message, HERE, 0.0)
