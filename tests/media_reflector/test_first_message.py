"""The first message's layout: what looks random, what the mac covers, what a cookie changes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector.first_message import (
    COOKIE_AT,
    MAC_AT,
    MESSAGE_SIZE,
    FirstMessage,
    cookie_of,
    first_core,
    first_is_authentic,
    mask,
    noise_part,
    ticket_number,
)
from relay.media_reflector.tickets import Ticket

ENTROPY = SeededEntropy("first message")
TICKET = Ticket.fresh(bytes(range(50, 82)), 600.0)
NOISE = ENTROPY.token(100)


def test_what_stands_where() -> None:
    first = FirstMessage(TICKET, NOISE, b"c" * 16)
    assert len(first.message) == MESSAGE_SIZE == 148
    assert ticket_number(first.message) == TICKET.id
    assert noise_part(first.message, TICKET.secret) == NOISE
    assert cookie_of(first.message) == b"c" * 16
    assert NOISE[:32] not in first.message, "the ephemeral key is masked"


def test_a_cookie_changes_nothing_but_itself_and_the_mac() -> None:
    first = FirstMessage(TICKET, NOISE, b"c" * 16)
    before = first.message
    first.bring(b"d" * 16)
    assert first.message[:COOKIE_AT] == before[:COOKIE_AT] == first_core(first.message)
    assert cookie_of(first.message) == b"d" * 16
    assert first.message[MAC_AT:] != before[MAC_AT:]
    assert first_is_authentic(first.message, TICKET)


def test_every_bit_is_under_the_mac() -> None:
    message = FirstMessage(TICKET, NOISE, b"c" * 16).message
    assert first_is_authentic(message, TICKET)
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(message)
        damaged[position] ^= 1 << position % 8
        assert not first_is_authentic(bytes(damaged), TICKET)
    assert not first_is_authentic(message, Ticket.fresh(bytes(32), 600.0))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(min_size=148, max_size=148))
def test_no_bytes_are_authentic_by_chance_and_none_raise(message: bytes) -> None:
    assert not first_is_authentic(message, TICKET)


@settings(max_examples=50, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), message=st.binary(min_size=32, max_size=140))
def test_masking_twice_is_none(secret: bytes, message: bytes) -> None:
    masked = mask(secret, b"x", message)
    assert masked[32:] == message[32:]
    assert mask(secret, b"x", masked) == message
    assert masked[:32] != message[:32]
    assert mask(secret, b"y", message) != masked


def test_every_byte_of_many_messages_takes_many_values() -> None:
    # An X25519 key has its top bit clear; a version byte, zeros or a mac of one value would show likewise.
    messages = []
    for _ in range(600):
        noise = bytearray(ENTROPY.token(100))
        noise[31] &= 0x7F
        ticket = Ticket.fresh(ENTROPY.token(32), 1.0)
        messages.append(FirstMessage(ticket, bytes(noise), ENTROPY.token(16)).message)
    for position in range(MESSAGE_SIZE):
        values = [message[position] for message in messages]
        assert len(set(values)) > 200
        assert 230 < sum(value >> 7 for value in values) < 370
