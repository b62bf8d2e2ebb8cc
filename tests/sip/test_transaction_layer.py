"""Matching, routing of responses and bounds (RFC 3261 sections 17.1.3, 17.2.3, 18.2; RFC 3581)."""

from relay.sip.headers import Headers
from relay.sip.message import Request, parse_message, response_to
from relay.sip.transaction import Flow, Timers, TransactionState
from relay.sip.transaction_layer import (
    NewRequest,
    ResponseReceived,
    TimedOut,
    TransactionLayer,
    Unacknowledged,
)

UDP = Flow("UDP", "127.0.0.1", 5070)
TCP = Flow("TCP", "127.0.0.1", 5070, 1)


def request(
    method: str = "INVITE", branch: str = "z9hG4bKone", via: str = "SIP/2.0/UDP 127.0.0.1:5070"
) -> Request:
    return Request(
        method,
        "sip:bob@127.0.0.1",
        Headers(
            [
                ("Via", f"{via};branch={branch}"),
                ("From", "<sip:alice@127.0.0.1>;tag=a"),
                ("To", "<sip:bob@127.0.0.1>"),
                ("Call-ID", "call-1"),
                ("CSeq", f"1 {method}"),
            ]
        ),
    )


def layer(limit: int = 8) -> TransactionLayer:
    return TransactionLayer(Timers(), limit)


def new(made: TransactionLayer, message: Request, source: Flow = UDP) -> NewRequest:
    (event,) = made.receive(message, source, 0.0)
    assert isinstance(event, NewRequest)
    return event


def test_a_new_request_costs_no_memory_until_it_is_accepted() -> None:
    made = layer()
    event = new(made, request())
    assert len(made) == 0
    assert made.accept(event) is not None
    assert len(made) == 1
    assert made.receive(request(), UDP, 0.1) == []


def test_requests_match_by_branch_sent_by_and_method() -> None:
    made = layer()
    made.accept(new(made, request()))
    assert made.receive(request(branch="z9hG4bKtwo"), UDP, 0.0) != []
    assert made.receive(request(via="SIP/2.0/UDP 127.0.0.1:5071"), UDP, 0.0) != []
    assert made.receive(request("CANCEL"), UDP, 0.0) != []
    assert made.pending_invite(request("CANCEL")) is not None
    assert made.pending_invite(request("CANCEL", "z9hG4bKtwo")) is None


def test_a_branch_without_the_cookie_is_dropped_and_counted() -> None:
    made = layer()
    assert made.receive(request(branch="old"), UDP, 0.0) == []
    assert made.receive(request(branch="z9hG4bK"), UDP, 0.0) == []
    assert made.counters["foreign branch"] == 2


def test_the_ack_of_a_failure_stays_and_that_of_a_2xx_goes_up() -> None:
    made = layer()
    failed = made.accept(new(made, request()))
    answered = made.accept(new(made, request(branch="z9hG4bKtwo")))
    assert failed is not None
    assert answered is not None
    made.respond(failed, response_to(request(), 486, to_tag="b"), 0.0)
    made.respond(answered, response_to(request(branch="z9hG4bKtwo"), 200, to_tag="b"), 0.0)
    assert made.receive(request("ACK"), UDP, 0.1) == []
    assert failed.state is TransactionState.CONFIRMED
    assert len(made.receive(request("ACK", "z9hG4bKtwo"), UDP, 0.1)) == 1
    assert len(made.receive(request("ACK", "z9hG4bKthree"), UDP, 0.1)) == 1


def test_a_response_goes_to_the_source_with_rport_and_to_the_sent_by_port_without() -> None:
    made = layer()
    source = Flow("UDP", "127.0.0.1", 40000)
    assert new(made, request(), source).flow == UDP
    asked = new(made, request(branch="z9hG4bKtwo;rport"), source)
    assert asked.flow == source
    assert (asked.request.via.rport, asked.request.via.received) == (40000, "127.0.0.1")
    portless = new(made, request(branch="z9hG4bKthree", via="SIP/2.0/UDP 127.0.0.1"), source)
    assert portless.flow.port == 5060


def test_a_foreign_sent_by_never_turns_the_response_elsewhere() -> None:
    made = layer()
    event = new(made, request(via="SIP/2.0/UDP 192.0.2.9:5070"))
    assert event.flow == UDP
    assert event.request.via.received == "127.0.0.1"


def test_the_other_vias_stay_below_the_top_one() -> None:
    made = layer()
    message = request(branch="z9hG4bKone;rport")
    message.headers.add("Via", "SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKlow, SIP/2.0/TCP h;branch=z9hG4bKlast")
    event = new(made, message)
    branches = [value.partition("branch=")[2] for value in event.request.headers.all("Via")]
    assert branches[1:] == ["z9hG4bKlow", "z9hG4bKlast"]


def test_over_tcp_the_response_takes_the_connection_back() -> None:
    assert new(layer(), request(), TCP).flow == TCP


def test_our_request_meets_its_response_and_strays_are_counted() -> None:
    made = layer()
    transaction = made.request(request("BYE"), UDP, 0.0)
    assert transaction is not None
    ((flow, data),) = made.outputs()
    assert flow == UDP
    assert parse_message(data).cseq.method == "BYE"
    response = response_to(request("BYE"), 200)
    assert made.receive(response, UDP, 0.1) == [ResponseReceived(transaction, response)]
    assert made.receive(response_to(request("BYE", "z9hG4bKnone"), 200), UDP, 0.1) == []
    assert made.receive(response_to(request("INFO"), 200), UDP, 0.1) == []
    assert made.counters["stray response"] == 2


def test_time_brings_timeouts_and_empties_the_tables() -> None:
    made = layer()
    client = made.request(request("BYE"), UDP, 0.0)
    server = made.accept(new(made, request()))
    assert client is not None
    assert server is not None
    made.respond(server, response_to(request(), 486, to_tag="b"), 0.0)
    events = []
    while (at := made.next_deadline()) is not None:
        events += made.tick(at)
    assert events == [TimedOut(client), Unacknowledged(server)]
    assert len(made) == 0


def test_the_oldest_finished_transaction_makes_room_and_an_unfinished_one_never() -> None:
    made = layer(limit=3)
    servers = [made.accept(new(made, request("INFO", f"z9hG4bK{number}"))) for number in range(3)]
    assert made.accept(new(made, request("INFO", "z9hG4bKmore"))) is None
    assert made.request(request("BYE"), UDP, 0.0) is None
    assert made.counters["refused"] == 2
    assert servers[1] is not None
    made.respond(servers[1], response_to(servers[1].request, 200), 0.0)
    assert made.accept(new(made, request("INFO", "z9hG4bKmore"))) is not None
    assert servers[1].state is TransactionState.TERMINATED
    assert made.counters["dropped"] == 1
    assert len(made) == 3


def test_a_flood_of_finished_transactions_stays_within_the_limit() -> None:
    made = layer(limit=16)
    for number in range(500):
        transaction = made.accept(new(made, request("INFO", f"z9hG4bK{number}")))
        assert transaction is not None
        made.respond(transaction, response_to(transaction.request, 200), 0.0)
    assert len(made) == 16
    assert len(made.outputs()) == 500


def test_a_lost_connection_fails_its_requests_and_leaves_the_others() -> None:
    made = layer()
    lost = made.request(request("BYE"), TCP, 0.0)
    kept = made.request(request("BYE", "z9hG4bKtwo"), UDP, 0.0)
    made.accept(new(made, request("INVITE", "z9hG4bKthree"), TCP))
    assert lost is not None
    assert made.flow_lost(TCP) == [TimedOut(lost)]
    assert len(made) == 1
    assert kept is not None
    assert kept.state is TransactionState.TRYING
