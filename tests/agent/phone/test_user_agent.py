"""Methods not served, and hostile input: counted, dropped, answered without a memory; nothing grows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.agent.phone import IncomingInvite
from relay.sip.client_transaction import acknowledge
from relay.sip.message import Request, Response, response_to
from tests.agent.phone.scripted_phone import ANSWER, OFFER, USER, Bench


def memory(bench: Bench) -> tuple[int, int]:
    """Transactions and calls held."""
    return len(bench.core._station.transactions), len(bench.core._calls)


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "keep-alives"),
        (b"\r\n\r\n", "keep-alives"),
        (b"\0" * 8, "keep-alives"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\xff" * 2000, "malformed"),
        (b"INVITE sip:bob@127.0.0.1 SIP/2.0\r\n" + b"X: y\r\n" * 11000 + b"\r\n", "oversized"),
        (b"INVITE sip:bob@127.0.0.1 SIP/2.0\r\n\r\n", "malformed"),
    ],
)
def test_what_is_no_message_is_counted_and_not_answered(data: bytes, counter: str) -> None:
    bench = Bench()
    phone = bench.phone()
    phone.send_bytes(data)
    assert phone.sent == []
    assert bench.core.counters[counter] == 1
    assert memory(bench) == (0, 0)


def test_folded_headers_are_read_and_a_body_too_short_is_dropped() -> None:
    phone = Bench().phone()
    request = phone.request("OPTIONS")
    phone.send_bytes(request.to_bytes().replace(b"From: ", b"From:\r\n  "))
    assert phone.statuses() == [200]
    phone.send_bytes(request.to_bytes().replace(b"Content-Length: 0", b"Content-Length: 900"))
    assert phone.sent == []


def test_thousands_of_strangers_requests_cost_no_memory() -> None:
    bench = Bench()
    phone = bench.phone()
    for number in range(1500):
        method = ("INVITE", "REGISTER", "OPTIONS", "BYE", "CANCEL", "SUBSCRIBE")[number % 6]
        phone.send(phone.request(method, call_id=f"flood-{number}"))
    assert memory(bench) == (0, 0)
    assert len(phone.statuses()) == 1500
    assert bench.events == []


def test_acks_of_nothing_are_never_answered() -> None:
    bench = Bench()
    phone = bench.phone()
    for to in ("<sip:bob@127.0.0.1>", "<sip:bob@127.0.0.1>;tag=none"):
        phone.send(phone.request("ACK", to=to))
        phone.send(phone.request("ACK", to=to, Require="everything"))
    assert phone.sent == []
    assert bench.core.counters["unknown dialog"] == 4


def test_calls_that_are_never_acknowledged_stay_few() -> None:
    bench = Bench(max_transactions=16, max_calls=4)
    phone = bench.phone()

    def dialling() -> Request:
        request = phone.request("INVITE")
        request.headers.set("Content-Type", "application/sdp")
        request.body = OFFER.to_bytes()
        return request

    for _ in range(60):
        phone.authorised(dialling)
        phone.sent.clear()
        for event in bench.events:
            call = getattr(event, "call", None)
            if call is not None:
                call.refuse(486, None, bench.now)
        bench.events.clear()
        phone.sent.clear()
    transactions, calls = memory(bench)
    assert transactions <= 16
    assert calls <= 4
    bench.advance(70)
    assert memory(bench) == (0, 0)


def test_registrations_in_thousands_stay_within_the_caps() -> None:
    bench = Bench(max_transactions=32, max_contacts=4)
    phone = bench.phone()
    for number in range(300):
        phone.register(Contact=f"<sip:{USER}@127.0.0.1:{10000 + number}>")
    assert bench.core.registered == 4
    assert memory(bench)[0] <= 32


@pytest.mark.parametrize(
    ("method", "uri", "headers", "status"),
    [
        ("SUBSCRIBE", "sip:bob@127.0.0.1", {}, 405),
        ("MESSAGE", "sip:bob@127.0.0.1", {}, 405),
        ("FROBNICATE", "sip:bob@127.0.0.1", {}, 501),
        ("BYE", "sip:bob@127.0.0.1", {}, 481),
        ("INVITE", "tel:+15550100", {}, 416),
        ("INVITE", "sips:bob@127.0.0.1", {}, 416),
        ("INVITE", "sip:bob@127.0.0.1", {"Require": "100rel"}, 420),
        ("OPTIONS", "sip:127.0.0.1", {}, 200),
    ],
)
def test_what_is_not_served_is_refused_statelessly(
    method: str, uri: str, headers: dict[str, str], status: int
) -> None:
    bench = Bench()
    phone = bench.phone()
    request = phone.request(method, uri, **headers)
    phone.send(request)
    phone.send(request)
    first, second = phone.take(Response), phone.take(Response)
    assert first.status == status
    assert first == second, "a stateless answer is the same each time, tag and all (section 8.2.7)"
    assert memory(bench) == (0, 0)
    if status in (405, 501):
        assert "INVITE" in (first.headers.get("Allow") or "")
    if status == 420:
        assert first.headers.get("Unsupported") == "100rel"


def test_answers_give_back_nothing_but_what_section_8_2_6_asks_for() -> None:
    phone = Bench().phone()
    marks = {
        "Subject": "mark-1",
        "User_Agent": "mark-2",
        "X_Unknown": "mark-3",
        "Contact": "<sip:mark-4@127.0.0.1>",
    }
    for method in ("OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "BYE"):
        request = phone.request(method, "sip:mark-5@127.0.0.1", **marks)
        request.body = b"mark-6"
        phone.send(request)
        assert b"mark" not in phone.take(Response).to_bytes()


def test_the_ack_of_a_stateless_refusal_is_expected_and_not_counted() -> None:
    bench = Bench()
    phone = bench.phone()
    invite = phone.request("INVITE")
    phone.send(invite)
    refusal = phone.take(Response)
    phone.send(acknowledge(invite, refusal))
    assert phone.sent == []
    assert bench.core.counters["unknown dialog"] == 0


def test_forged_answers_are_strays() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register()
    bench.core.place("bob", "", OFFER, bench.now)
    bench.collect()
    invite = phone.take(Request)
    invite.headers.set("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKguess")
    phone.answer(invite, 200, OFFER)
    assert bench.core.transaction_counters["stray response"] == 1
    assert len(bench.events) == 1


def _mutated(data: st.DataObject, request: Request) -> bytes:
    raw = bytearray(request.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    return bytes(raw)


METHODS = st.sampled_from(["INVITE", "REGISTER", "OPTIONS", "ACK", "CANCEL", "BYE", "INFO"])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_mutation_of_a_strangers_request_raises(data: st.DataObject) -> None:
    bench = Bench()
    phone = bench.phone()
    request = phone.request(
        data.draw(METHODS),
        Require="a, b",
        Record_Route="<sip:127.0.0.1;lr>",
        Via="SIP/2.0/UDP h;branch=z9hG4bK1;rport",
    )
    request.headers.set("Content-Type", "application/sdp")
    request.body = OFFER.to_bytes()
    bench.core.receive(_mutated(data, request), phone.flow, bench.now)
    assert memory(bench) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_mutation_of_a_request_within_a_call_raises(data: st.DataObject) -> None:
    bench = Bench()
    phone = bench.phone()
    invite = phone.invite()
    bench.event(IncomingInvite).call.answer(ANSWER, bench.now)
    ok = phone.take(Response)
    request = phone.within(data.draw(METHODS), invite, ok)
    request.headers.set("Content-Type", "application/sdp")
    request.body = OFFER.to_bytes()
    bench.core.receive(_mutated(data, request), phone.flow, bench.now)
    bench.advance(40)
    assert memory(bench)[1] <= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_mutation_of_an_answer_raises(data: st.DataObject) -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register()
    assert bench.core.place("bob", "", OFFER, bench.now) is not None
    bench.collect()
    ok = response_to(phone.take(Request), 200, to_tag="t")
    ok.headers.add("Contact", phone.contact)
    ok.headers.add("Content-Type", "application/sdp")
    ok.body = ANSWER.to_bytes()
    raw = bytearray(ok.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    bench.core.receive(bytes(raw), phone.flow, bench.now)
    bench.core.tick(bench.now)
