"""The two handshake messages: their size, their binding, their refusal of anything else."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import PeerError, SeededEntropy
from relay.media_reflector.handshake import MESSAGE_SIZE, AgentHandshake, answer_handshake, ticket_number
from relay.media_reflector.tickets import Ticket
from relay.rtp.packet import pack_header

STATIC = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = STATIC.public_key().public_bytes_raw()
TICKET = Ticket(bytes(range(50, 82)), 600.0)
UP, DOWN = 0x11111111, 0x22222222


def _agent(seed: int = 1) -> AgentHandshake:
    return AgentHandshake(TICKET, PUBLIC, UP, SeededEntropy(seed))


def _answer(message: bytes, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {"ticket": TICKET, "static": STATIC, "claimed_ssrc": UP} | changes
    return answer_handshake(message, choose_ssrc=DOWN, entropy=SeededEntropy(2), **arguments)[0]


def test_both_ends_have_the_same_keys() -> None:
    agent = _agent()
    assert len(agent.first) == MESSAGE_SIZE
    assert ticket_number(agent.first) == TICKET.id
    answer, theirs = answer_handshake(agent.first, TICKET, STATIC, UP, DOWN, SeededEntropy(2))
    assert len(answer) == MESSAGE_SIZE
    answered = agent.answered(answer)
    assert answered is not None
    ssrc, ours = answered
    assert ssrc == DOWN
    header = pack_header(111, 1, 2, UP)
    assert theirs.up.unprotect(ours.up.protect(header, b"up")) == b"up"
    assert ours.down.unprotect(theirs.down.protect(header, b"down")) == b"down"
    assert theirs.up.unprotect(theirs.down.protect(pack_header(111, 2, 2, UP), b"")) != b"", (
        "a key per direction"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"ticket": Ticket(bytes(32), 600.0)},
        {"static": X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))},
        {"claimed_ssrc": UP + 1},
    ],
)
def test_another_ticket_key_or_ssrc_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        _answer(_agent().first, **changes)


def test_every_byte_of_both_messages_counts() -> None:
    agent = _agent()
    answer = _answer(agent.first)
    for position in range(16, MESSAGE_SIZE):
        damaged = bytearray(agent.first)
        damaged[position] ^= 1
        with pytest.raises(PeerError):
            _answer(bytes(damaged))
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(answer)
        damaged[position] ^= 1
        assert agent.answered(bytes(damaged)) is None
    assert agent.answered(answer) is not None


def test_the_answer_to_another_agent_is_none() -> None:
    assert _agent(3).answered(_answer(_agent(1).first)) is None
