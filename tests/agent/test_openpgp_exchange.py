"""Signatures over a call's keys, on cells that get lost."""

from dataclasses import replace

import pytest

from relay import wire
from relay.agent.openpgp import MOST_SIGNATURE
from relay.agent.openpgp_exchange import (
    MOST_MESSAGE,
    MOST_RECEIPTS,
    REPEAT_SECONDS,
    SILENCE_SECONDS,
    TIMES,
    Check,
    Effect,
    Say,
    SignatureExchange,
    Silent,
    _Kind,
    _Message,
    read_message,
    statement,
    write_message,
)
from relay.agent.voice_security import Agreement
from relay.core import MisuseError, PeerError
from relay.zrtp import Continuity, Sas, SasType

ALICE = Agreement(
    Sas(SasType.B32, bytes(4)),
    b"alice's zid.",
    b"bob's own id",
    Continuity.FIRST,
    verified=False,
    peer_verified=False,
    signalled=True,
    authenticated=True,
    exported_key=b"k" * 32,
)
BOB = replace(ALICE, own_zid=ALICE.peer_zid, peer_zid=ALICE.own_zid)


def pair() -> tuple[SignatureExchange, SignatureExchange]:
    return SignatureExchange(ALICE, 0.0), SignatureExchange(BOB, 0.0)


def says(effects: list[Effect]) -> list[bytes]:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def checks(effects: list[Effect]) -> list[Check]:
    return [effect for effect in effects if isinstance(effect, Check)]


def test_each_checks_what_the_other_signed_and_neither_signs_the_others() -> None:
    alice, bob = pair()
    (message,) = says(alice.signed(b"by alice", 1.0))
    effects = bob.receive(message, 1.1)
    assert checks(effects) == [Check(alice.own_statement, b"by alice")]
    (receipt,) = says(effects)
    assert alice.receive(receipt, 1.2) == []
    assert alice.own_statement != bob.own_statement, "or what one signed could be sent back to them"
    assert alice.deadline == SILENCE_SECONDS
    assert bob.deadline is None


def test_a_lost_signature_is_said_again_and_a_lost_receipt_too() -> None:
    alice, bob = pair()
    assert len(says(alice.signed(b"by alice", 1.0))) == 1
    (again,) = says(alice.due(1.0 + REPEAT_SECONDS))
    assert len(checks(bob.receive(again, 6.0))) == 1
    (more,) = says(alice.due(1.0 + 2 * REPEAT_SECONDS))
    effects = bob.receive(more, 12.0)
    assert checks(effects) == [], "checked once"
    (receipt,) = says(effects)
    alice.receive(receipt, 12.0)
    assert says(alice.due(60.0)) == []


def test_nobody_is_waited_for_for_ever() -> None:
    alice, _ = pair()
    effects = alice.signed(b"by alice", 1.0)
    while alice.deadline is not None:
        effects += alice.due(alice.deadline)
    assert len(says(effects)) == TIMES
    assert effects[-1] == Silent()


def test_a_flood_of_signatures_is_one_check_and_few_receipts() -> None:
    _, bob = pair()
    effects: list[Effect] = []
    for number in range(1000):
        effects += bob.receive(write_message(b"%d" % number), 1.0)
    assert [check.signature for check in checks(effects)] == [b"0"]
    assert len(says(effects)) == MOST_RECEIPTS


def test_what_is_signed_is_of_one_call_and_names_nobody() -> None:
    said = {
        statement(key, one, other)
        for key in (b"k" * 32, b"l" * 32)
        for one, other in ((ALICE.own_zid, ALICE.peer_zid), (ALICE.peer_zid, ALICE.own_zid))
    }
    assert len(said) == 4
    for value in said:
        head, digits, end = value.split(b"\n")
        assert (head, len(bytes.fromhex(digits.decode())), end) == (b"Bayonne voice session", 32, b"")
        assert not any(
            secret.hex().encode() in value for secret in (ALICE.own_zid, ALICE.peer_zid, b"k" * 32)
        )


@pytest.mark.parametrize("key", [b"", b"k" * 31])
def test_over_no_key_nothing_is_signed(key: bytes) -> None:
    with pytest.raises(MisuseError):
        SignatureExchange(replace(ALICE, exported_key=key), 0.0)


@pytest.mark.parametrize("signature", [b"x", bytes(MOST_SIGNATURE)])
def test_messages_come_back_as_they_went(signature: bytes) -> None:
    assert len(write_message(signature)) <= MOST_MESSAGE
    assert read_message(write_message(signature)) == signature
    assert read_message(write_message(None)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        wire.encode(_Message(_Kind.SIGNATURE)),
        wire.encode(_Message(_Kind.SIGNATURE, bytes(MOST_SIGNATURE + 1))),
        wire.encode(_Message(_Kind.RECEIPT, b"x")),
        write_message(b"x") + b"\x00",
        bytes(MOST_MESSAGE + 1),
    ],
)
def test_malformed_messages_are_the_peers_fault_and_change_nothing(data: bytes) -> None:
    alice, _ = pair()
    with pytest.raises(PeerError):
        alice.receive(data, 1.0)
    assert alice.deadline == SILENCE_SECONDS
