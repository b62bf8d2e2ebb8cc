"""The trunk's handshake: both reflectors known to each other, one secret, a chain of epochs per slot."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.first_message import MESSAGE_SIZE, first_is_authentic, ticket_number
from relay.media_reflector.tickets import Ticket, TicketKind
from relay.media_reflector.trunk_handshake import SlotChains, TrunkInitiator, TrunkResponder
from tests.knowledge.needles import memory_of

ONE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
THIRD = X25519PrivateKey.from_private_bytes(bytes(range(64, 96)))
TICKET = Ticket.fresh(bytes(range(50, 82)), 600.0, TicketKind.TRUNK, bytes(32))


def _public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _initiator(slots: int = 50, static: X25519PrivateKey = ONE) -> TrunkInitiator:
    return TrunkInitiator(TICKET, static, _public(OTHER), slots, SeededEntropy(1))


def _responder(message: bytes, **changes: Any) -> TrunkResponder:
    arguments: dict[str, Any] = {"ticket": TICKET, "static": OTHER, "remote_static": _public(ONE)} | changes
    return TrunkResponder(message, **arguments)


def test_both_ends_have_the_same_secret_and_number_of_slots() -> None:
    initiator = _initiator(50)
    first = initiator.first()
    assert len(first) == MESSAGE_SIZE
    assert ticket_number(first) == TICKET.id
    assert first_is_authentic(first, TICKET)
    responder = _responder(first)
    assert responder.wanted == 50
    answer, theirs = responder.answer(40, SeededEntropy(2))
    assert len(answer) == MESSAGE_SIZE
    assert ticket_number(answer) == initiator.answer_id != TICKET.id
    assert initiator.answered(answer) == (40, theirs)
    assert len(theirs) == 32


def test_every_slot_has_keys_and_ssrcs_of_its_own() -> None:
    chains = _all(SlotChains(bytes(range(32)), 100))
    epochs = [epoch for chain in chains for epoch in (chain.current, chain.following)]
    keys = [keys for epoch in epochs for keys in (epoch.up, epoch.down)]
    assert len({key.ssrc for key in keys}) == len({key.key for key in keys}) == 400
    again = _all(SlotChains(bytes(range(32)), 100))
    assert [chain.current.up for chain in chains] == [chain.current.up for chain in again]


def _all(chains: SlotChains) -> list[EpochChain]:
    return [chains.next() for _ in range(len(chains))]


def test_with_the_last_chain_the_secret_is_forgotten() -> None:
    chains = SlotChains(bytes(range(32)), 3)
    assert len(_all(chains)) == 3
    assert bytes(range(32)) not in memory_of(chains)
    assert bytes(range(32)) in memory_of(SlotChains(bytes(range(32)), 3)), "the search would find it"
    with pytest.raises(MisuseError):
        chains.next()


@pytest.mark.parametrize(
    "changes",
    [{"static": THIRD}, {"remote_static": _public(THIRD)}, {"ticket": Ticket.fresh(bytes(32), 1.0)}],
)
def test_another_key_or_ticket_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        _responder(_initiator().first(), **changes)


def test_another_reflector_with_the_ticket_is_refused() -> None:
    with pytest.raises(PeerError, match="not authentic"):
        _responder(_initiator(static=THIRD).first())


def test_every_byte_of_both_messages_counts() -> None:
    initiator = _initiator()
    first = initiator.first()
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(first)
        damaged[position] ^= 1
        with pytest.raises(PeerError):
            _responder(bytes(damaged))
    answer, _ = _responder(first).answer(50, SeededEntropy(2))
    for position in range(MESSAGE_SIZE):
        damaged = bytearray(answer)
        damaged[position] ^= 1
        assert initiator.answered(bytes(damaged)) is None
    assert initiator.answered(answer) is not None


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=MESSAGE_SIZE, max_size=MESSAGE_SIZE) | st.binary(max_size=200))
def test_no_bytes_raise_anything_but_the_peers_fault(message: bytes) -> None:
    with pytest.raises(PeerError):
        _responder(message)
    initiator = _initiator()
    assert initiator.answered(message) is None
    assert initiator.answered(initiator.answer_id + message[16:]) is None


@pytest.mark.parametrize("slots", [0, -1, 4097, 70000])
def test_our_own_count_of_slots_is_checked(slots: int) -> None:
    with pytest.raises(MisuseError):
        _initiator(slots)


@pytest.mark.parametrize("slots", [0, 51])
def test_no_more_slots_than_were_asked_for(slots: int) -> None:
    with pytest.raises(MisuseError):
        _responder(_initiator(50).first()).answer(slots, SeededEntropy(2))


def test_an_answer_with_more_slots_than_were_asked_for_is_none() -> None:
    initiator = _initiator(50)
    responder = _responder(initiator.first())
    responder.wanted = 51
    assert initiator.answered(responder.answer(51, SeededEntropy(2))[0]) is None
