"""Client transactions on virtual time: states, timers of RFC 3261 section 17.1 and RFC 6026 section 7.2."""

import pytest

from relay.sip.client_transaction import (
    ClientTransaction,
    InviteClientTransaction,
    NonInviteClientTransaction,
    cancel,
)
from relay.sip.headers import Headers
from relay.sip.message import Request, parse_message, response_to
from relay.sip.transaction import Flow, Timers, TransactionState

UDP = Flow("UDP", "127.0.0.1", 5070)
TCP = Flow("TCP", "127.0.0.1", 5070, 1)
TIMERS = Timers()


def request(method: str = "INVITE") -> Request:
    return Request(
        method,
        "sip:alice@127.0.0.1:5070",
        Headers(
            [
                ("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKone"),
                ("Max-Forwards", "70"),
                ("From", "<sip:bob@127.0.0.1>;tag=b"),
                ("To", "<sip:alice@127.0.0.1>"),
                ("Call-ID", "call-1"),
                ("CSeq", f"7 {method}"),
                ("Route", "<sip:127.0.0.1;lr>"),
            ]
        ),
    )


def invite(flow: Flow = UDP) -> InviteClientTransaction:
    return InviteClientTransaction(request(), flow, 0.0, TIMERS)


def state_of(transaction: ClientTransaction) -> TransactionState:
    return transaction.state


def sending_times(transaction: ClientTransaction, until: float) -> list[float]:
    """The moments at which the transaction sends, run to `until` by its own deadlines."""
    times = [0.0] * len(transaction.drain())
    while (at := transaction.deadline) is not None and at <= until:
        transaction.tick(at)
        times += [at] * len(transaction.drain())
    return times


def test_timer_a_doubles_without_ceiling_until_timer_b() -> None:
    transaction = invite()
    assert sending_times(transaction, 31.9) == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert state_of(transaction) is TransactionState.CALLING
    assert transaction.tick(32.0) is True
    assert state_of(transaction) is TransactionState.TERMINATED


def test_a_reliable_transport_sends_the_invite_once() -> None:
    transaction = invite(TCP)
    assert sending_times(transaction, 31.9) == [0.0]
    assert transaction.tick(32.0) is True


def test_a_provisional_answer_ends_timers_a_and_b() -> None:
    transaction = invite()
    transaction.drain()
    response = response_to(request(), 180, to_tag="a")
    assert transaction.receive(response, 0.3) is response
    assert state_of(transaction) is TransactionState.PROCEEDING
    assert transaction.deadline is None
    again = response_to(request(), 183, to_tag="a")
    assert transaction.receive(again, 50.0) is again


@pytest.mark.parametrize("provisional", [False, True])
def test_a_2xx_is_accepted_and_passed_up_each_time_until_timer_m(provisional: bool) -> None:
    transaction = invite()
    transaction.drain()
    if provisional:
        transaction.receive(response_to(request(), 100), 0.1)
    ok = response_to(request(), 200, to_tag="a")
    assert transaction.receive(ok, 1.0) is ok
    assert state_of(transaction) is TransactionState.ACCEPTED
    assert transaction.receive(ok, 2.0) is ok
    assert transaction.receive(response_to(request(), 180), 2.1) is None
    assert transaction.drain() == []
    assert transaction.deadline == 33.0
    assert transaction.tick(33.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_a_failure_is_acknowledged_each_time_until_timer_d() -> None:
    transaction = invite()
    transaction.drain()
    busy = response_to(request(), 486, to_tag="a")
    assert transaction.receive(busy, 1.0) is busy
    assert state_of(transaction) is TransactionState.COMPLETED
    (first,) = transaction.drain()
    assert transaction.receive(busy, 1.5) is None
    assert transaction.drain() == [first]
    assert transaction.receive(response_to(request(), 200), 1.6) is None
    assert transaction.tick(33.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_over_a_reliable_transport_timer_d_is_zero() -> None:
    transaction = invite(TCP)
    transaction.drain()
    transaction.receive(response_to(request(), 486), 1.0)
    assert len(transaction.drain()) == 1
    assert state_of(transaction) is TransactionState.TERMINATED
    assert transaction.receive(response_to(request(), 486), 1.1) is None


def test_the_ack_of_a_failure_has_the_fields_of_section_17_1_1_3() -> None:
    transaction = invite()
    transaction.drain()
    transaction.receive(response_to(request(), 486, to_tag="a"), 1.0)
    ack = parse_message(transaction.drain()[0])
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", "sip:alice@127.0.0.1:5070")
    assert ack.via == request().via
    assert str(ack.cseq) == "7 ACK"
    assert ack.to.tag == "a"
    assert ack.headers.all("Route") == ["<sip:127.0.0.1;lr>"]


def test_a_cancel_has_the_fields_of_section_9_1() -> None:
    made = cancel(request())
    assert (made.method, str(made.cseq), made.via) == ("CANCEL", "7 CANCEL", request().via)
    assert made.to.tag is None
    assert made.headers.all("Route") == ["<sip:127.0.0.1;lr>"]


def test_timer_e_doubles_up_to_t2_until_timer_f() -> None:
    transaction = NonInviteClientTransaction(request("BYE"), UDP, 0.0, TIMERS)
    assert sending_times(transaction, 20.0) == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5]
    assert transaction.tick(32.0) is True
    assert state_of(transaction) is TransactionState.TERMINATED


def test_in_proceeding_timer_e_is_t2() -> None:
    transaction = NonInviteClientTransaction(request("BYE"), UDP, 0.0, TIMERS)
    transaction.drain()
    trying = response_to(request("BYE"), 100)
    assert transaction.receive(trying, 0.2) is trying
    assert state_of(transaction) is TransactionState.PROCEEDING
    transaction.tick(0.5)
    assert len(transaction.drain()) == 1
    assert transaction.deadline == 4.5
    assert transaction.tick(32.0) is True


@pytest.mark.parametrize("status", [200, 302, 481, 503, 603])
def test_a_final_answer_completes_until_timer_k(status: int) -> None:
    transaction = NonInviteClientTransaction(request("BYE"), UDP, 0.0, TIMERS)
    final = response_to(request("BYE"), status)
    assert transaction.receive(final, 1.0) is final
    assert state_of(transaction) is TransactionState.COMPLETED
    assert transaction.receive(final, 1.5) is None
    assert transaction.deadline == 6.0
    assert transaction.tick(6.0) is False
    assert state_of(transaction) is TransactionState.TERMINATED


def test_over_a_reliable_transport_timer_k_is_zero_and_timer_e_never_runs() -> None:
    transaction = NonInviteClientTransaction(request("BYE"), TCP, 0.0, TIMERS)
    assert transaction.deadline == 32.0
    transaction.receive(response_to(request("BYE"), 200), 1.0)
    assert state_of(transaction) is TransactionState.TERMINATED
