"""RFC 4475's torture messages: what is taken in, as what, and what is refused, why.

Where we differ from the RFC's advice: a message that breaks the grammar is refused as a whole, so that
nothing is there to answer with a 400 or 505; `baddate` is taken in, since nothing here looks at Date.  What
sections 3.2 to 3.4 leave to others is taken in: a bare cookie as branch, unknown schemes, old INVITEs.
"""

from pathlib import Path

import pytest

from relay.core import PeerError
from relay.sip import Message, MessageStream, Request, Response, SipUri, parse_message

VECTORS = Path(__file__).parents[1] / "vectors" / "sip" / "rfc4475"

# Name: method or status, size of the body.
TAKEN: dict[str, tuple[str | int, int]] = {
    "badbranch": ("OPTIONS", 0),
    "baddate": ("INVITE", 150),
    "bcast": (200, 154),
    "bext01": ("OPTIONS", 0),
    "cparam01": ("REGISTER", 0),
    "cparam02": ("REGISTER", 0),
    "dblreq": ("REGISTER", 0),
    "esc01": ("INVITE", 150),
    "esc02": ("RE%47IST%45R", 0),
    "escnull": ("REGISTER", 0),
    "intmeth": ("!interesting-Method0123456789_*+`.%indeed'~", 0),
    "inv2543": ("INVITE", 105),
    "invut": ("INVITE", 40),
    "longreq": ("INVITE", 150),
    "lwsdisp": ("OPTIONS", 0),
    "mpart01": ("MESSAGE", 553),
    "noreason": (100, 0),
    "novelsc": ("OPTIONS", 0),
    "regaut01": ("REGISTER", 0),
    "regescrt": ("REGISTER", 0),
    "sdp01": ("INVITE", 150),
    "semiuri": ("OPTIONS", 0),
    "transports": ("OPTIONS", 0),
    "unkscm": ("OPTIONS", 0),
    "unksm2": ("REGISTER", 0),
    "unreason": (200, 154),
    "wsinv": ("INVITE", 150),
    "zeromf": ("OPTIONS", 0),
}

REFUSED = {
    "badaspec": "malformed",
    "baddn": "truncated",
    "badinv01": "malformed",
    "badvers": "unsupported version",
    "bigcode": "malformed",
    "clerr": "truncated",
    "escruri": "malformed",
    "insuf": "From missing",
    "ltgtruri": "malformed",
    "lwsruri": "malformed",
    "lwsstart": "malformed",
    "mcl01": "Content-Length repeated",
    "mismatch01": "CSeq of another method",
    "mismatch02": "CSeq of another method",
    "multi01": "From repeated",
    "ncl": "malformed",
    "quotbal": "malformed",
    "regbadct": "malformed",
    "scalar02": "malformed",
    "scalarlg": "malformed",
    "test": "malformed",
    "trws": "malformed",
}


def load(name: str) -> Message:
    return parse_message((VECTORS / f"{name}.dat").read_bytes())


def test_every_message_is_judged() -> None:
    assert sorted(path.stem for path in VECTORS.glob("*.dat")) == sorted([*TAKEN, *REFUSED])


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    message = load(name)
    kind = message.method if isinstance(message, Request) else message.status
    assert (kind, len(message.body)) == TAKEN[name]
    assert parse_message(message.to_bytes()).to_bytes() == message.to_bytes()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(PeerError) as caught:
        load(name)
    assert caught.value.reason == REFUSED[name]


@pytest.mark.parametrize("name", TAKEN)
def test_the_same_from_a_stream(name: str) -> None:
    expected = load(name)
    if "Content-Length" not in expected.headers:
        return  # RFC 3261 section 18.3: refused on a stream, as test_stream shows.
    found = MessageStream().receive(expected.to_bytes() * 2)
    assert [message.to_bytes() for message in found] == [expected.to_bytes()] * 2


def test_section_3_1_1_1_white_space_and_folds() -> None:
    message = load("wsinv")
    assert isinstance(message, Request)
    assert str(message.to) == "<sip:vivekg@chair-dnrc.example.com>;tag=1918181833n"
    assert message.from_.display_name == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert (message.max_forwards, message.cseq.number) == (68, 9)
    assert [str(via) for via in map(type(message.via).parse, message.headers.all("v"))] == [
        "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
        "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
        "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
    ]
    assert message.headers.get("Subject") == ""
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.headers.all("Route") == [
        "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"
    ]
    assert message.contacts[0].display_name == 'Quoted string ""'
    assert message.contacts[0].params == (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))


def test_section_3_1_1_2_wide_range_of_characters() -> None:
    message = load("intmeth")
    assert message.to.display_name == "BEL: NUL: DEL:"
    assert message.to.sip_uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_token~1'+`*%!-."
    unusual = "extensionHeader-!.%*+_`'~"
    assert message.headers.get(unusual) == "\ufeff大停電"


def test_sections_3_1_1_3_to_5_escapes() -> None:
    message = load("esc01")
    assert isinstance(message, Request)
    assert SipUri.parse(message.uri).user_text == "sips:user@example.com"
    esc02 = load("esc02")
    assert [esc02.from_.tag, esc02.cseq.method] == ["f232jadfj23", "RE%47IST%45R"]
    assert [contact.sip_uri.user_text for contact in esc02.contacts] == ["alias1", "alias3"]
    assert esc02.headers.get("C%6Fntact") == "<sip:alias2@host2.example.com>"
    users = [contact.sip_uri.user_text for contact in load("escnull").contacts]
    assert users == ["\0", "\0\0"]


def test_sections_3_1_1_6_to_9() -> None:
    assert load("lwsdisp").from_.display_name == "caller"
    assert len(load("longreq").headers.all("Via")) == 34
    message = load("semiuri")
    assert isinstance(message, Request)
    assert SipUri.parse(message.uri).user_text == "user;par=u@example.net"


def test_section_3_1_1_10_transports() -> None:
    message = load("transports")
    vias = [type(message.via).parse(value).transport for value in message.headers.all("Via")]
    assert vias == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def test_sections_3_1_1_12_and_13_reason_phrases() -> None:
    response = load("unreason")
    assert isinstance(response, Response)
    assert response.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    response = load("noreason")
    assert isinstance(response, Response)
    assert response.reason == ""


def test_section_3_1_2_15_with_the_empty_line_that_the_archive_forgot() -> None:
    with pytest.raises(PeerError, match="malformed"):
        parse_message((VECTORS / "baddn.dat").read_bytes() + b"\r\n")


def test_section_3_3_schemes_and_contacts() -> None:
    for name in ("unkscm", "novelsc"):
        message = load(name)
        assert isinstance(message, Request)
        with pytest.raises(PeerError, match="unsupported scheme"):
            SipUri.parse(message.uri)
    with pytest.raises(PeerError, match="unsupported scheme"):
        _ = load("unksm2").to.sip_uri
    assert load("cparam01").contacts[0].params == (("unknownparam", None),)
    assert load("cparam02").contacts[0].sip_uri.params == (("unknownparam", None),)
    assert load("regescrt").contacts[0].sip_uri.headers == (("route", "%3Csip:sip.example.com%3E"),)
