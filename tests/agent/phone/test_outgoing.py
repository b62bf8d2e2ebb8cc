"""Calls to the user's phones, on virtual time: forks, CANCEL, late answers (RFC 3261 section 13.2)."""

from relay.agent.phone import Answered, HungUp, PhoneCall, Refused, Ringing, Unregistered
from relay.sip.message import Request, Response
from relay.sip.sdp import SessionDescription
from tests.agent.phone.scripted_phone import ANSWER, OFFER, Bench, ScriptedPhone


def ring(bench: Bench, *phones: ScriptedPhone) -> tuple[PhoneCall, list[Request]]:
    """Register the phones and call them; the INVITEs in their order."""
    for phone in phones:
        phone.register()
    bench.events.clear()
    call = bench.core.place("bob", 'Bob "B"', OFFER, bench.now)
    assert call is not None
    bench.collect()
    return call, [phone.take(Request) for phone in phones]


def methods(phone: ScriptedPhone) -> list[str]:
    found = [message.method for message in phone.sent if isinstance(message, Request)]
    phone.sent.clear()
    return found


def test_nobody_registered_is_none() -> None:
    bench = Bench()
    assert bench.core.place("bob", "Bob", OFFER, bench.now) is None


def test_the_invite_names_the_caller_and_carries_the_offer() -> None:
    bench = Bench()
    phone = bench.phone()
    _, (invite,) = ring(bench, phone)
    assert invite.uri == "sip:alice@127.0.0.1:5070"
    assert (invite.from_.display_name, invite.from_.uri) == ('Bob "B"', "sip:bob@127.0.0.1")
    assert SessionDescription.parse(invite.body) == OFFER


def test_a_name_of_any_characters_stays_in_its_place() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.register()
    assert bench.core.place('m<x>@ö "', "Ö <sip:x@y>", OFFER, bench.now) is not None
    bench.collect()
    invite = phone.take(Request)
    assert invite.from_.sip_uri.user_text == 'm<x>@ö "'
    assert invite.from_.display_name == "Ö <sip:x@y>"


def test_it_rings_is_answered_and_the_phone_hangs_up() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 100)
    phone.answer(invite, 180)
    phone.answer(invite, 183)
    assert bench.event(Ringing) == Ringing(call, 180)
    ok = phone.answer(invite, 200, ANSWER)
    assert bench.event(Answered) == Answered(call, ANSWER)
    ack = phone.take(Request)
    assert (ack.method, ack.cseq.number, ack.to.tag) == ("ACK", invite.cseq.number, ok.to.tag)
    assert ack.via.branch != invite.via.branch
    phone.send(ok)
    assert methods(phone) == ["ACK"]
    bye = phone.request("BYE", to=str(invite.from_), call_id=invite.call_id, From=str(ok.to))
    phone.send(bye)
    assert phone.statuses() == [200]
    assert bench.event(HungUp).call is call
    bench.advance(40)
    assert bench.core.next_deadline() is not None, "the registration alone"
    assert bench.core.active_calls == 0


def test_hanging_up_while_it_rings_cancels() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    call.hang_up(bench.now)
    assert phone.sent == [], "no CANCEL before a provisional answer (section 9.1)"
    phone.answer(invite, 180)
    cancel = phone.take(Request)
    assert (cancel.method, cancel.via) == ("CANCEL", invite.via)
    phone.answer(cancel, 200)
    phone.answer(invite, 487)
    assert methods(phone) == ["ACK"]
    assert bench.events == []


def test_an_answer_that_crosses_the_cancel_is_hung_up() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 180)
    bench.events.clear()
    call.hang_up(bench.now)
    phone.answer(invite, 200, ANSWER)
    assert methods(phone) == ["CANCEL", "ACK", "BYE"]
    assert bench.events == []


def test_a_cancelled_phone_that_never_says_487_is_forgotten() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 180)
    call.hang_up(bench.now)
    bench.advance(33)
    assert len(bench.core._station.transactions) == 0
    assert bench.core._calls == []


def test_the_first_answer_wins_and_the_others_are_cancelled() -> None:
    bench = Bench()
    one, two, three = (bench.phone(port) for port in (5070, 5071, 5072))
    call, (first, second, third) = ring(bench, one, two, three)
    assert first.call_id == second.call_id
    assert first.from_ == second.from_
    assert first.via.branch != second.via.branch
    for phone, invite in ((one, first), (two, second), (three, third)):
        phone.answer(invite, 180)
    two.answer(second, 200, ANSWER)
    three.answer(third, 200, ANSWER)
    assert (methods(one), methods(two), methods(three)) == (["CANCEL"], ["ACK"], ["CANCEL", "ACK", "BYE"])
    one.answer(first, 487)
    assert [type(event) for event in bench.events] == [Ringing, Answered]
    call.hang_up(bench.now)
    assert methods(two) == ["BYE"]


def test_at_most_three_phones_ring() -> None:
    bench = Bench()
    phones = [bench.phone(port) for port in range(5070, 5074)]
    for phone in phones:
        phone.register()
        bench.advance(1)
    bench.core.place("bob", "", OFFER, bench.now)
    bench.collect()
    assert [len(phone.sent) for phone in phones] == [0, 1, 1, 1]


def test_all_refusals_make_one_and_the_best_is_told() -> None:
    bench = Bench()
    one, two = bench.phone(5070), bench.phone(5071)
    call, (first, second) = ring(bench, one, two)
    one.answer(first, 503)
    assert bench.events == []
    two.answer(second, 486)
    assert bench.event(Refused) == Refused(call, 486)
    assert (methods(one), methods(two)) == (["ACK"], ["ACK"])


def test_a_6xx_speaks_for_all_phones() -> None:
    bench = Bench()
    one, two = bench.phone(5070), bench.phone(5071)
    call, (first, second) = ring(bench, one, two)
    two.answer(second, 180)
    one.answer(first, 603)
    bench.event(Ringing)
    assert bench.event(Refused) == Refused(call, 603)
    assert methods(two) == ["CANCEL"]


def test_a_phone_that_is_gone_times_out() -> None:
    bench = Bench()
    phone = bench.phone()
    call, _ = ring(bench, phone)
    bench.advance(31.9)
    assert methods(phone) == ["INVITE"] * 6
    bench.advance(0.2)
    assert bench.event(Refused) == Refused(call, 408)


def test_ringing_has_an_end() -> None:
    bench = Bench(ring_limit=60.0)
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 180)
    bench.advance(59)
    assert [type(event) for event in bench.events] == [Ringing]
    bench.advance(2)
    assert bench.events[-1] == Refused(call, 408)
    assert methods(phone)[:1] == ["CANCEL"]


def test_an_answer_without_a_session_is_hung_up_and_refused() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 200)
    assert methods(phone) == ["ACK", "BYE"]
    assert bench.event(Refused) == Refused(call, 488)


def test_a_challenge_of_the_phone_is_a_refusal() -> None:
    bench = Bench()
    phone = bench.phone()
    call, (invite,) = ring(bench, phone)
    phone.answer(invite, 401)
    assert bench.event(Refused) == Refused(call, 401)


def test_a_connection_lost_while_ringing_refuses_at_once() -> None:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    call, _ = ring(bench, phone)
    bench.lose(phone.flow)
    assert bench.events == [Refused(call, 408)]
    assert bench.core.registered == 1, "the Contact says where a new connection goes"


def test_a_phone_whose_contact_is_not_on_loopback_is_gone_with_its_connection() -> None:
    bench = Bench()
    phone = bench.phone(5070, connection=1)
    phone.register(Contact="<sip:alice@192.0.2.4:5070;transport=tcp>")
    bench.lose(phone.flow)
    assert isinstance(bench.events[-1], Unregistered)


def test_shutting_down_ends_every_call() -> None:
    bench = Bench()
    one, two = bench.phone(5070), bench.phone(5071)
    _, (invite,) = ring(bench, one)
    one.answer(invite, 180)
    two.invite()
    bench.core.shut_down(bench.now)
    bench.collect()
    assert methods(one) == ["CANCEL"]
    assert [message.status for message in two.sent if isinstance(message, Response)] == [480]
