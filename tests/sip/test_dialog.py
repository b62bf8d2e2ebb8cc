"""Dialogs: creation at either end, sequence numbers, routes (RFC 3261 section 12)."""

import pytest

from relay.core import PeerError
from relay.sip.dialog import Dialog, DialogState
from relay.sip.headers import Headers
from relay.sip.message import Request, Response, response_to
from relay.sip.via import Via

VIA = Via("UDP", "127.0.0.1", 5060, (("branch", "z9hG4bKnew"),))


def invite(*record_routes: str, contact: str | None = "<sip:alice@127.0.0.1:5070>") -> Request:
    fields = [
        ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKone"),
        ("From", '"Alice" <sip:alice@127.0.0.1>;tag=a'),
        ("To", "<sip:bob@127.0.0.1>"),
        ("Call-ID", "call-1"),
        ("CSeq", "41 INVITE"),
        *(("Record-Route", route) for route in record_routes),
    ]
    if contact is not None:
        fields.append(("Contact", contact))
    return Request("INVITE", "sip:bob@127.0.0.1", Headers(fields))


def answer(status: int, request: Request, contact: str | None = "<sip:bob@127.0.0.1:5060>") -> Response:
    response = response_to(request, status, to_tag="b")
    if contact is not None:
        response.headers.add("Contact", contact)
    return response


def test_the_callee_end_takes_over_what_section_12_1_1_says() -> None:
    dialog = Dialog.as_uas(invite("<sip:127.0.0.2;lr>", "<sip:127.0.0.3;lr>"), "b", local_sequence=5)
    assert dialog.state is DialogState.EARLY
    assert (dialog.local.tag, dialog.remote.tag, dialog.call_id) == ("b", "a", "call-1")
    assert (dialog.local_sequence, dialog.remote_sequence) == (5, 41)
    assert dialog.remote_target == "sip:alice@127.0.0.1:5070"
    assert dialog.route_set == ("<sip:127.0.0.2;lr>", "<sip:127.0.0.3;lr>")


def test_the_caller_end_reverses_the_routes_and_is_confirmed_by_a_2xx() -> None:
    request = invite()
    response = answer(200, invite("<sip:127.0.0.2;lr>", "<sip:127.0.0.3;lr>"))
    dialog = Dialog.as_uac(request, response)
    assert dialog.state is DialogState.CONFIRMED
    assert (dialog.local.tag, dialog.remote.tag) == ("a", "b")
    assert dialog.remote_target == "sip:bob@127.0.0.1:5060"
    assert dialog.route_set == ("<sip:127.0.0.3;lr>", "<sip:127.0.0.2;lr>")
    assert Dialog.as_uac(request, answer(180, request)).state is DialogState.EARLY


def test_an_invite_without_one_contact_starts_no_dialog() -> None:
    with pytest.raises(PeerError):
        Dialog.as_uas(invite(contact=None), "b")
    with pytest.raises(PeerError):
        Dialog.as_uas(invite(contact="<sip:a@127.0.0.1>, <sip:b@127.0.0.1>"), "b")


def test_an_answer_without_contact_leaves_the_target_of_the_invite() -> None:
    assert Dialog.as_uac(invite(), answer(200, invite(), contact=None)).remote_target == "sip:bob@127.0.0.1"


def test_too_many_routes_are_refused() -> None:
    with pytest.raises(PeerError):
        Dialog.as_uas(invite(*["<sip:127.0.0.2;lr>"] * 9), "b")


def test_requests_count_up_and_carry_both_tags() -> None:
    dialog = Dialog.as_uas(invite(), "b", local_sequence=5)
    info, bye = dialog.request("INFO", VIA), dialog.request("BYE", VIA)
    assert (str(info.cseq), str(bye.cseq)) == ("6 INFO", "7 BYE")
    assert (bye.from_.tag, bye.to.tag) == ("b", "a")
    assert bye.uri == "sip:alice@127.0.0.1:5070"
    assert bye.to.display_name == "Alice"
    assert "Route" not in bye.headers


def test_the_ack_has_the_number_of_the_invite_and_counts_nothing() -> None:
    dialog = Dialog.as_uac(invite(), answer(200, invite()))
    ack = dialog.ack(invite(), VIA)
    assert str(ack.cseq) == "41 ACK"
    assert ack.to.tag == "b"
    assert str(dialog.request("BYE", VIA).cseq) == "42 BYE"


def test_loose_routing_keeps_the_target_in_the_request_uri() -> None:
    bye = Dialog.as_uas(invite("<sip:127.0.0.2;lr>", "<sip:127.0.0.3>"), "b").request("BYE", VIA)
    assert bye.uri == "sip:alice@127.0.0.1:5070"
    assert bye.headers.all("Route") == ["<sip:127.0.0.2;lr>", "<sip:127.0.0.3>"]


def test_strict_routing_puts_the_target_last() -> None:
    bye = Dialog.as_uas(invite("<sip:127.0.0.2>", "<sip:127.0.0.3;lr>"), "b").request("BYE", VIA)
    assert bye.uri == "sip:127.0.0.2"
    assert bye.headers.all("Route") == ["<sip:127.0.0.3;lr>", "<sip:alice@127.0.0.1:5070>"]


def test_the_other_end_owns_what_the_tags_say() -> None:
    callee = Dialog.as_uas(invite(), "b")
    caller = Dialog.as_uac(invite(), answer(200, invite()))
    bye = caller.request("BYE", VIA)
    assert callee.owns(bye)
    assert not caller.owns(bye)
    bye.headers.set("Call-ID", "call-2")
    assert not callee.owns(bye)


def test_sequence_numbers_only_rise() -> None:
    callee = Dialog.as_uas(invite(), "b")
    caller = Dialog.as_uac(invite(), answer(200, invite()))
    bye = caller.request("BYE", VIA)
    assert callee.take(bye)
    assert not callee.take(bye)
    first = callee.request("BYE", VIA)
    assert caller.take(first), "an end that heard nothing yet takes any number"


def test_a_re_invite_moves_the_target() -> None:
    dialog = Dialog.as_uas(invite(), "b")
    dialog.refresh_target(invite(contact="<sip:alice@127.0.0.1:5071>"))
    assert dialog.remote_target == "sip:alice@127.0.0.1:5071"
    dialog.refresh_target(invite(contact=None))
    assert dialog.remote_target == "sip:alice@127.0.0.1:5071"
