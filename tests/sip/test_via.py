import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError
from relay.sip import CSeq, Via


def test_the_parts_of_a_via() -> None:
    via = Via.parse("SIP / 2.0 / udp  Host.Example : 5060 ;branch=z9hG4bKx;rport; received=2001:db8::1")
    assert (via.transport, via.host, via.port) == ("UDP", "host.example", 5060)
    assert via.branch == "z9hG4bKx"
    assert via.received == "2001:db8::1"
    assert via.wants_rport
    assert via.rport is None
    assert str(via) == "SIP/2.0/UDP host.example:5060;branch=z9hG4bKx;rport;received=2001:db8::1"


def test_parameters_are_set_in_their_place() -> None:
    via = (
        Via.parse("SIP/2.0/TCP h;rport;branch=b")
        .with_param("rport", "5070")
        .with_param("received", "192.0.2.1")
    )
    assert str(via) == "SIP/2.0/TCP h;rport=5070;branch=b;received=192.0.2.1"
    assert via.rport == 5070
    assert Via.parse("SIP/2.0/TCP h").wants_rport is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ;a",
        "SIP/3.0/UDP h",
        "SIP/2.0/ h",
        "SIP/2.0/",
        "SIP/2.0/ ;branch=a",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP h;;,;,,",
        "SIP/2.0/UDP\xa0h",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h;branch=a;branch=b",
    ],
)
def test_impossible_vias(text: str) -> None:
    with pytest.raises(PeerError):
        Via.parse(text)


def test_an_rport_that_is_no_port() -> None:
    with pytest.raises(PeerError):
        _ = Via.parse("SIP/2.0/UDP h;rport=70000").rport


def test_sequence_numbers() -> None:
    assert CSeq.parse("0009\t  INVITE") == CSeq(9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"
    for text in (
        "",
        "1",
        "1 A B",
        "x INVITE",
        "-1 INVITE",
        "2147483648 INVITE",
        "1 IN@VITE",
        "1\u00a0INVITE",
    ):
        with pytest.raises(PeerError):
            CSeq.parse(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=50))
def test_texts_raise_only_peer_error(text: str) -> None:
    for value in (text, f"SIP/2.0/UDP {text}", f"SIP/2.0/UDP h;{text}"):
        try:
            via = Via.parse(value)
        except PeerError:
            continue
        assert Via.parse(str(via)) == via
    try:
        cseq = CSeq.parse(text)
    except PeerError:
        return
    assert CSeq.parse(str(cseq)) == cseq
