"""Server transactions on virtual time: states, timers of RFC 3261 section 17.2 and RFC 6026 section 7.1."""

import pytest

from relay.core import MisuseError
from relay.sip.headers import Headers
from relay.sip.message import Request, Response, response_to
from relay.sip.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from relay.sip.transaction import Flow, Timers, TransactionState

UDP = Flow("UDP", "127.0.0.1", 5070)
TCP = Flow("TCP", "127.0.0.1", 5070, 1)
TIMERS = Timers()


def request(method: str = "INVITE") -> Request:
    return Request(
        method,
        "sip:bob@127.0.0.1",
        Headers(
            [
                ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKone"),
                ("From", "<sip:alice@127.0.0.1>;tag=a"),
                ("To", "<sip:bob@127.0.0.1>"),
                ("Call-ID", "call-1"),
                ("CSeq", f"7 {method}"),
            ]
        ),
    )


def answer(status: int, method: str = "INVITE") -> Response:
    return response_to(request(method), status, to_tag="b")


def invite(flow: Flow = UDP) -> InviteServerTransaction:
    return InviteServerTransaction(request(), flow, TIMERS)


def state_of(transaction: ServerTransaction) -> TransactionState:
    return transaction.state


def sending_times(transaction: ServerTransaction, until: float) -> list[float]:
    times = []
    while (at := transaction.deadline) is not None and at <= until:
        transaction.tick(at)
        times += [at] * len(transaction.drain())
    return times


def test_a_retransmitted_invite_gets_the_last_provisional_answer() -> None:
    transaction = invite()
    transaction.receive_again()
    assert transaction.drain() == []
    transaction.respond(answer(100), 0.0)
    transaction.respond(answer(180), 0.1)
    transaction.drain()
    transaction.receive_again()
    assert transaction.drain() == [answer(180).to_bytes()]
    assert state_of(transaction) is TransactionState.PROCEEDING
    assert transaction.deadline is None


def test_a_2xx_is_accepted_and_absorbs_until_timer_l() -> None:
    transaction = invite()
    transaction.respond(answer(200), 0.0)
    assert len(transaction.drain()) == 1
    assert state_of(transaction) is TransactionState.ACCEPTED
    transaction.receive_again()
    assert transaction.drain() == []
    assert transaction.receive_ack(0.2) is True
    assert transaction.receive_ack(0.3) is True
    assert transaction.tick(32.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_timer_g_repeats_a_failure_up_to_t2_until_timer_h() -> None:
    transaction = invite()
    transaction.respond(answer(486), 0.0)
    transaction.drain()
    assert sending_times(transaction, 20.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5]
    assert transaction.tick(32.0) is True
    assert state_of(transaction) is TransactionState.TERMINATED


def test_over_a_reliable_transport_timer_g_does_not_run_but_timer_h_does() -> None:
    transaction = invite(TCP)
    transaction.respond(answer(486), 0.0)
    transaction.drain()
    assert sending_times(transaction, 31.0) == []
    assert transaction.tick(32.0) is True


def test_an_ack_confirms_a_failure_until_timer_i() -> None:
    transaction = invite()
    transaction.respond(answer(486), 0.0)
    transaction.drain()
    transaction.receive_again()
    assert len(transaction.drain()) == 1
    assert transaction.receive_ack(1.0) is False
    assert state_of(transaction) is TransactionState.CONFIRMED
    transaction.receive_again()
    assert transaction.receive_ack(1.1) is False
    assert transaction.drain() == []
    assert transaction.deadline == 6.0
    assert transaction.tick(6.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_over_a_reliable_transport_timer_i_is_zero() -> None:
    transaction = invite(TCP)
    transaction.respond(answer(486), 0.0)
    transaction.receive_ack(1.0)
    assert state_of(transaction) is TransactionState.TERMINATED


def test_an_ack_before_any_final_answer_changes_nothing() -> None:
    transaction = invite()
    assert transaction.receive_ack(0.0) is False
    assert state_of(transaction) is TransactionState.PROCEEDING


def test_a_second_final_answer_is_our_own_bug() -> None:
    transaction = invite()
    transaction.respond(answer(486), 0.0)
    with pytest.raises(MisuseError):
        transaction.respond(answer(200), 0.1)


def test_a_non_invite_is_silent_in_trying_and_repeats_from_proceeding_on() -> None:
    transaction = NonInviteServerTransaction(request("BYE"), UDP, TIMERS)
    transaction.receive_again()
    assert transaction.drain() == []
    transaction.respond(answer(100, "BYE"), 0.0)
    transaction.receive_again()
    assert transaction.drain() == [answer(100, "BYE").to_bytes()] * 2
    assert state_of(transaction) is TransactionState.PROCEEDING


def test_a_non_invite_repeats_its_final_answer_until_timer_j() -> None:
    transaction = NonInviteServerTransaction(request("BYE"), UDP, TIMERS)
    transaction.respond(answer(200, "BYE"), 0.0)
    transaction.receive_again()
    assert transaction.drain() == [answer(200, "BYE").to_bytes()] * 2
    assert transaction.deadline == 32.0
    assert transaction.tick(32.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_over_a_reliable_transport_timer_j_is_zero() -> None:
    transaction = NonInviteServerTransaction(request("BYE"), TCP, TIMERS)
    transaction.respond(answer(200, "BYE"), 0.0)
    assert state_of(transaction) is TransactionState.TERMINATED
