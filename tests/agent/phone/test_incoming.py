"""Calls that a phone places, on virtual time (RFC 3261 section 13.3)."""

import pytest

from relay.agent.phone import Cancelled, HungUp, IncomingInvite, PhoneCall, Reoffered
from relay.core import MisuseError
from relay.sip.client_transaction import cancel
from relay.sip.message import Request, Response
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow
from tests.agent.phone.scripted_phone import ANSWER, OFFER, Bench, ScriptedPhone


def dial(bench: Bench, phone: ScriptedPhone) -> tuple[PhoneCall, Request]:
    request = phone.invite()
    return bench.event(IncomingInvite).call, request


def talk(bench: Bench, phone: ScriptedPhone) -> tuple[PhoneCall, Request, Response]:
    """A call that is answered and acknowledged."""
    call, request = dial(bench, phone)
    call.answer(ANSWER, bench.now)
    ok = phone.take(Response)
    phone.send(phone.within("ACK", request, ok))
    return call, request, ok


def test_an_invite_is_challenged_then_told_with_what_was_dialled() -> None:
    bench = Bench()
    bench.phone().invite()
    event = bench.event(IncomingInvite)
    assert (event.dialled.user, event.dialled.host) == ("bob", "127.0.0.1")
    assert event.offer == OFFER


@pytest.mark.parametrize("route", ["<sip:127.0.0.1:5060;lr>", "<sip:127.0.0.1:5060>, <sip:proxy.example;lr>"])
def test_the_way_an_invite_came_says_nothing_of_whom_it_is_for(route: str) -> None:
    """Phones name their outbound proxy in Route (RFC 3261 section 8.1.2); here is where every way ends."""
    bench = Bench()
    bench.phone().invite(uri="sip:alice@example.org", Route=route)
    event = bench.event(IncomingInvite)
    assert (event.dialled.user, event.dialled.host) == ("alice", "example.org")


def test_any_reason_phrase_reaches_the_phone() -> None:
    bench = Bench()
    phone = bench.phone()
    call, _ = dial(bench, phone)
    call.progress(180, "Ring sent", now=bench.now)
    call.progress(183, None, now=bench.now, sdp=ANSWER)
    ringing, early = phone.take(Response), phone.take(Response)
    assert (ringing.status, ringing.reason, ringing.body) == (180, "Ring sent", b"")
    assert SessionDescription.parse(early.body) == ANSWER
    assert ringing.to.tag == early.to.tag is not None
    with pytest.raises(MisuseError):
        call.progress(200, now=bench.now)


def test_an_answer_is_repeated_until_the_ack() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.answer(ANSWER, bench.now)
    ok = phone.take(Response)
    assert (ok.status, SessionDescription.parse(ok.body)) == (200, ANSWER)
    assert ok.headers.get("Contact") == "<sip:127.0.0.1:5060>"
    bench.advance(4)
    assert phone.statuses() == [200, 200, 200]
    phone.send(phone.within("ACK", request, ok))
    bench.advance(60)
    assert phone.statuses() == []
    assert call.answered
    assert not call.ended


def test_an_answer_that_is_never_acknowledged_ends_the_call() -> None:
    bench = Bench()
    phone = bench.phone()
    call, _ = dial(bench, phone)
    call.answer(ANSWER, bench.now)
    bench.advance(32)
    assert any(isinstance(message, Request) and message.method == "BYE" for message in phone.sent)
    assert bench.event(HungUp).call is call
    assert call.ended
    bench.advance(40)
    assert bench.core.next_deadline() is None


def test_a_refusal_carries_status_and_reason_and_is_repeated_until_the_ack() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.refuse(404, "Not a contact", bench.now)
    refused = phone.take(Response)
    assert (refused.status, refused.reason) == (404, "Not a contact")
    bench.advance(1)
    assert phone.statuses() == [404]
    ack = Request("ACK", request.uri, request.headers.copy())
    ack.headers.set("CSeq", f"{request.cseq.number} ACK")
    phone.send(ack)
    bench.advance(60)
    assert phone.statuses() == []
    assert bench.events == []
    call.answer(ANSWER, bench.now)
    call.hang_up(bench.now)
    assert phone.sent == [], "an ended call says nothing more"


def test_a_cancel_gets_200_and_the_invite_487() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.progress(now=bench.now)
    phone.statuses()
    phone.send(cancel(request))
    assert phone.statuses() == [200, 487]
    assert bench.event(Cancelled).call is call
    assert call.ended


def test_a_cancel_after_the_answer_has_no_effect_and_one_for_nothing_is_481() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request, _ = talk(bench, phone)
    phone.send(cancel(request))
    phone.send(cancel(phone.request("INVITE")))
    assert phone.statuses() == [200, 481]
    assert not call.ended


def test_the_phone_hangs_up() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request, ok = talk(bench, phone)
    phone.send(phone.within("BYE", request, ok))
    assert phone.statuses() == [200]
    assert bench.event(HungUp).call is call
    phone.send(phone.within("BYE", request, ok))
    assert phone.statuses() == [481]


def test_the_agent_hangs_up_and_tells_nothing_more() -> None:
    bench = Bench()
    phone = bench.phone()
    call, _, _ = talk(bench, phone)
    call.hang_up(bench.now)
    bye = phone.take(Request)
    assert bye.method == "BYE"
    phone.answer(bye, 200)
    bench.advance(60)
    assert bench.events == []
    assert bench.core.active_calls == 0


def test_a_bye_waits_for_the_ack() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.answer(ANSWER, bench.now)
    ok = phone.take(Response)
    call.hang_up(bench.now)
    assert phone.sent == []
    phone.send(phone.within("ACK", request, ok))
    assert phone.take(Request).method == "BYE"


def test_hanging_up_before_the_answer_refuses() -> None:
    bench = Bench()
    phone = bench.phone()
    call, _ = dial(bench, phone)
    call.hang_up(bench.now)
    assert phone.statuses() == [480]


def test_the_caller_may_leave_an_early_dialog_with_bye() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.progress(now=bench.now)
    phone.send(phone.within("BYE", request, phone.take(Response)))
    assert phone.statuses() == [200, 487]
    assert bench.event(Cancelled).call is call


@pytest.mark.parametrize(("offered", "answered"), [("sendonly", "recvonly"), ("inactive", "inactive")])
def test_hold_and_resume_are_answered_with_the_same_session(offered: str, answered: str) -> None:
    bench = Bench()
    phone = bench.phone()
    call, request, ok = talk(bench, phone)
    for direction, expected in ((offered, answered), ("sendrecv", "sendrecv")):
        again = phone.within("INVITE", request, ok)
        again.headers.set("Content-Type", "application/sdp")
        again.body = OFFER.to_bytes().replace(b"a=sendrecv", f"a={direction}".encode())
        phone.send(again)
        renewed = phone.take(Response)
        session = SessionDescription.parse(renewed.body)
        assert session.direction_of(session.media[0]) == expected
        assert (session.media[0].port, session.media[0].formats) == (40002, ANSWER.media[0].formats)
        assert bench.event(Reoffered).call is call
        phone.send(phone.within("ACK", again, renewed))
    bench.advance(60)
    assert not call.ended


def test_a_re_invite_before_the_ack_of_the_last_is_pending_and_an_old_number_is_500() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request = dial(bench, phone)
    call.answer(ANSWER, bench.now)
    ok = phone.take(Response)
    phone.send(phone.within("INVITE", request, ok))
    phone.send(phone.within("INFO", request, ok, number=1))
    assert phone.statuses() == [491, 500]


def test_a_re_invite_that_drops_the_voice_is_refused_and_the_call_goes_on() -> None:
    bench = Bench()
    phone = bench.phone()
    call, request, ok = talk(bench, phone)
    again = phone.within("INVITE", request, ok)
    again.headers.set("Content-Type", "application/sdp")
    again.body = OFFER.to_bytes().replace(b"m=audio 40000", b"m=audio 0")
    phone.send(again)
    assert phone.statuses() == [488]
    assert not call.ended


def test_info_and_options_are_accepted_within_a_call_and_others_are_not() -> None:
    bench = Bench()
    phone = bench.phone()
    _, request, ok = talk(bench, phone)
    for method in ("INFO", "OPTIONS", "UPDATE", "REFER", "FROBNICATE"):
        phone.send(phone.within(method, request, ok))
    assert phone.statuses() == [200, 200, 405, 405, 501]


def test_a_retransmitted_invite_makes_one_call() -> None:
    bench = Bench()
    phone = bench.phone()
    _, request = dial(bench, phone)
    phone.send(request)
    assert phone.statuses() == [100]
    assert bench.events == []


def test_more_calls_than_allowed_are_busy() -> None:
    bench = Bench(max_calls=1)
    one, two = bench.phone(5070), bench.phone(5071)
    one.invite()
    two.authorised(lambda: _dialling(two))
    assert two.statuses() == [486]


def test_an_invite_without_an_offer_to_read_is_488_and_without_contact_400() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.authorised(lambda: phone.request("INVITE"))
    assert phone.statuses() == [488]
    phone.authorised(lambda: _dialling(phone, body=b"v=nonsense"))
    assert phone.statuses() == [488]
    phone.authorised(lambda: _dialling(phone, Contact="<sip:a@127.0.0.1>, <sip:b@127.0.0.1>"))
    assert phone.statuses() == [400]
    assert bench.events == []
    assert bench.core.active_calls == 0


def test_a_lost_connection_ends_a_ringing_call() -> None:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    call, _ = dial(bench, phone)
    bench.lose(phone.flow)
    assert bench.event(Cancelled).call is call


def test_an_answered_call_goes_on_over_a_new_connection() -> None:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    call, _, _ = talk(bench, phone)
    renewed = ScriptedPhone(bench, Flow("TCP", "127.0.0.1", 5070), "p5070")
    bench.phones[renewed.flow] = renewed
    bench.lose(phone.flow)
    question = renewed.take(Request)
    assert question.method == "OPTIONS"
    renewed.answer(question, 200)
    bench.advance(40)
    assert not call.ended
    call.hang_up(bench.now)
    assert renewed.take(Request).method == "BYE"


@pytest.mark.parametrize("gone", ["refused", "silent", "restarted"])
def test_a_phone_that_died_with_its_connection_has_hung_up(gone: str) -> None:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    call, _, _ = talk(bench, phone)
    renewed = ScriptedPhone(bench, Flow("TCP", "127.0.0.1", 5070), "p5070")
    bench.phones[renewed.flow] = renewed
    bench.lose(phone.flow)
    match gone:
        case "refused":
            bench.lose(renewed.flow)
        case "silent":
            bench.advance(33)
        case "restarted":
            renewed.answer(renewed.take(Request), 481)
    assert bench.event(HungUp).call is call
    assert call.ended
    assert bench.core.active_calls == 0


def _dialling(phone: ScriptedPhone, body: bytes | None = None, **headers: str) -> Request:
    request = phone.request("INVITE", **headers)
    request.headers.set("Content-Type", "application/sdp")
    request.body = OFFER.to_bytes() if body is None else body
    return request
