"""The two handshake messages: their size, their binding, their refusal of anything else; the cookie between them."""

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError, SeededEntropy
from relay.media_reflector import noise
from relay.media_reflector.cookie import CookieJar
from relay.media_reflector.first_message import COOKIE_AT, MAC_AT, FirstMessage, noise_part
from relay.media_reflector.handshake import (
    MESSAGE_SIZE,
    AgentHandshake,
    answer_handshake,
    first_core,
    first_is_authentic,
    ticket_number,
)
from relay.media_reflector.tickets import Ticket
from relay.rtp.packet import pack_header
from relay.rtp.srtp import AeadSrtp, SessionKeys

STATIC = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = STATIC.public_key().public_bytes_raw()
TICKET = Ticket.fresh(bytes(range(50, 82)), 600.0)
UP, DOWN = 0x11111111, 0x22222222
HERE = bytes(18)
MESSAGES = st.binary(min_size=MESSAGE_SIZE, max_size=MESSAGE_SIZE)


def _agent(seed: int = 1) -> AgentHandshake:
    return AgentHandshake(TICKET, PUBLIC, UP, SeededEntropy(seed))


def _answer(message: bytes, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {"ticket": TICKET, "static": STATIC, "claimed_ssrc": UP} | changes
    return answer_handshake(message, choose_ssrc=DOWN, entropy=SeededEntropy(2), **arguments)[0]


def _with_mac(message: bytes) -> bytes:
    """What somebody who has the ticket's secret could make of it."""
    made = FirstMessage(TICKET, noise_part(message, TICKET.secret), message[COOKIE_AT:MAC_AT])
    return made.message


class _NoKeyExchange:
    """In place of a private key: tells that nobody asked for its Diffie-Hellman."""

    def __init__(self) -> None:
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        raise AssertionError(f"{name} was asked of the static key")


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every X25519 operation that the Noise module does, by name."""
    done: list[str] = []
    original = noise.shared_secret

    def watched(*arguments: Any) -> bytes:
        done.append("exchange")
        return original(*arguments)

    class Watched:
        @staticmethod
        def from_private_bytes(data: bytes) -> X25519PrivateKey:
            done.append("generate")
            return X25519PrivateKey.from_private_bytes(data)

    monkeypatch.setattr(noise, "shared_secret", watched)
    monkeypatch.setattr(noise, "X25519PrivateKey", Watched)
    return done


def test_both_ends_have_the_same_epochs() -> None:
    agent = _agent()
    assert len(agent.first()) == MESSAGE_SIZE
    assert ticket_number(agent.first()) == TICKET.id
    answer, theirs = answer_handshake(agent.first(), TICKET, STATIC, UP, DOWN, SeededEntropy(2))
    assert len(answer) == MESSAGE_SIZE
    answered = agent.answered(answer)
    assert answered is not None
    ssrc, ours = answered
    assert ssrc == DOWN
    assert (ours.current.up.ssrc, ours.current.down.ssrc) == (UP, DOWN)
    for one, other in ((ours.current, theirs.current), (ours.following, theirs.following)):
        assert (one.up, one.down) == (other.up, other.down)
        assert one.up.key != one.down.key, "a key per direction"
    keys = ours.current.up
    sender, receiver = (AeadSrtp(SessionKeys(keys.key, keys.salt)) for _ in range(2))
    assert receiver.unprotect(sender.protect(pack_header(111, 1, 2, UP), b"up")) == b"up"


@pytest.mark.parametrize(
    "changes",
    [
        {"ticket": Ticket.fresh(bytes(32), 600.0)},
        {"static": X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))},
        {"claimed_ssrc": UP + 1},
    ],
)
def test_another_ticket_key_or_ssrc_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        _answer(_agent().first(), **changes)


def test_every_byte_of_both_messages_counts() -> None:
    agent = _agent()
    answer = _answer(agent.first())
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(agent.first())
        damaged[position] ^= 1
        with pytest.raises(PeerError, match="mac"):
            _answer(bytes(damaged))
    for position in range(16, COOKIE_AT):
        # Even who has the ticket's secret, but not the agent's ephemeral key, cannot change the Noise message.
        damaged = bytearray(agent.first())
        damaged[position] ^= 1
        with pytest.raises(PeerError, match="not authentic"):
            _answer(_with_mac(bytes(damaged)))
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(answer)
        damaged[position] ^= 1
        assert agent.answered(bytes(damaged)) is None
    assert agent.answered(answer) is not None


def test_the_answer_to_another_agent_is_none() -> None:
    assert _agent(3).answered(_answer(_agent(1).first())) is None


def test_no_key_exchange_for_a_message_with_a_wrong_mac(exchanges: list[str]) -> None:
    message = _agent().first()
    exchanges.clear()
    static = _NoKeyExchange()
    for position in (0, 20, 60, 120, 140):
        damaged = bytearray(message)
        damaged[position] ^= 1
        assert not first_is_authentic(bytes(damaged), TICKET)
        with pytest.raises(PeerError, match="mac"):
            _answer(bytes(damaged), static=static)
    assert exchanges == []
    assert static.asked == 0
    _answer(message)
    assert exchanges == ["exchange", "generate", "exchange"], "the watch sees those of a good one"


def test_the_mac_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    message = _agent().first()
    assert first_is_authentic(message, TICKET)
    assert compared == [(message[MAC_AT:], message[MAC_AT:])]


@settings(max_examples=200, deadline=None)
@given(message=MESSAGES | st.binary(max_size=300), remacked=st.booleans())
def test_no_bytes_raise_anything_but_the_peers_fault(message: bytes, remacked: bool) -> None:
    if remacked and len(message) == MESSAGE_SIZE:
        # Beyond the mac, as a dishonest owner of a ticket gets.
        message = _with_mac(message)
        assert first_is_authentic(message, TICKET)
    with pytest.raises(PeerError):
        _answer(message)
    assert _agent().answered(message) is None


@settings(max_examples=30, deadline=None)
@given(payload=st.binary(min_size=52, max_size=52))
def test_any_payload_of_an_owner_of_a_ticket_is_the_peers_fault(payload: bytes) -> None:
    if payload[0] == 2:
        payload = b"\x01" + payload[1:]
    start = noise.NK.start(b"bayonne line 2\0", b"", PUBLIC)
    initiator = noise.Initiator(noise.NK, start, TICKET.secret, None, noise.read_public_key(PUBLIC))
    written = initiator.write(payload, bytes(range(9, 41)))
    with pytest.raises(PeerError, match="version"):
        _answer(FirstMessage(TICKET, written, bytes(16)).message)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_low_order_point_is_refused(point: bytes) -> None:
    with pytest.raises(PeerError, match="bad key"):
        _answer(FirstMessage(TICKET, point + bytes(68), bytes(16)).message)
    with pytest.raises(PeerError, match="bad key"):
        AgentHandshake(TICKET, point, UP, SeededEntropy(1))


def test_a_cookie_is_taken_in_silently_and_brought() -> None:
    jar, agent = CookieJar(SeededEntropy("jar")), _agent()
    before = agent.first()
    assert not jar.good(before, HERE, 0.0)
    question = jar.answer(TICKET, HERE, 0.0)
    assert len(question) == len(before), "no more than was sent"
    assert agent.answered(question) is None
    assert agent.cookies == 1
    assert jar.good(agent.first(), HERE, 1.0)
    assert first_core(agent.first()) == first_core(before)
    assert agent.answered(_answer(agent.first())) is not None


def test_the_question_for_another_ticket_is_not_taken_in() -> None:
    agent = _agent()
    other = Ticket.fresh(bytes(range(1, 33)), 600.0)
    assert agent.answered(CookieJar(SeededEntropy("jar")).answer(other, HERE, 0.0)) is None
    assert agent.cookies == 0


def test_without_a_cookie_the_place_of_one_is_random() -> None:
    assert len({_agent(seed).first()[COOKIE_AT:MAC_AT] for seed in range(20)}) == 20
