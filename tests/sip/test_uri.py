import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.sip import NameAddr, SipUri
from relay.sip.uri import check_uri, escape


def test_the_parts_of_a_uri() -> None:
    uri = SipUri.parse("SIP:Alice:se%20cret@Example.COM:5061;Transport=tcp;lr?Subject=a%20b&To=x")
    assert uri == SipUri(
        "sip",
        "Alice",
        "example.com",
        5061,
        (("transport", "tcp"), ("lr", None)),
        "se%20cret",
        (("subject", "a%20b"), ("to", "x")),
    )
    assert str(uri) == "sip:Alice:se%20cret@example.com:5061;transport=tcp;lr?subject=a%20b&to=x"
    assert uri.param("transport") == "tcp"
    assert uri.param("lr") == ""
    assert uri.param("ttl") is None


def test_equal_users_are_equal_however_they_were_escaped() -> None:
    assert SipUri.parse("sip:%61lic%65@h") == SipUri.parse("sip:alice@h")
    assert SipUri.parse("sip:a%2fb@h").user == "a%2Fb"
    assert SipUri.parse("sip:%C3%A9t%c3%a9@h").user_text == "été"
    assert SipUri.parse("sips:h").user_text == ""


def test_a_user_that_is_not_utf_8() -> None:
    with pytest.raises(PeerError):
        _ = SipUri.parse("sip:%FF@h").user_text


def test_onion_addresses_are_hosts() -> None:
    host = "a" * 56 + ".onion"
    assert str(SipUri.parse(f"sip:token@{host};transport=tcp")) == f"sip:token@{host};transport=tcp"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        "tel:+1",
        "sip:@h",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@h",
        "sip:a@h:",
        "sip:a@h:x",
        "sip:a@h;",
        "sip:a@h;a;a",
        "sip:a@h;a=",
        "sip:a@h?",
        "sip:%4@h",
        "sip:%zz@h",
        "sip:é@h",
        "sip:a@h :5060",
        "sip:a\r\n@h",
        "sip:a@h;" + "a;" * 1000,
        "sip:" + "a" * 5000 + "@h",
        "sip:a@h;x=<y>",
        "ſip:a@h",
    ],
)
def test_impossible_uris(text: str) -> None:
    with pytest.raises(PeerError):
        SipUri.parse(text)


def test_other_schemes_are_only_checked() -> None:
    assert check_uri("soap.beep://192.0.2.103:3002") == "soap.beep://192.0.2.103:3002"
    for text in ("x", ":x", "1a:x", "a b:x", "tel:<1>", "tel:1 2", "tel:\x00"):
        with pytest.raises(PeerError):
            check_uri(text)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_user_can_be_written_and_read(user: str) -> None:
    uri = SipUri("sip", escape(user), "host.invalid")
    assert SipUri.parse(str(uri)).user_text == user


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_texts_raise_only_peer_error(text: str) -> None:
    for value in (text, f"sip:{text}", f"sip:a@{text}", f'"{text}" <sip:a@h>', f"<sip:a@h>;{text}"):
        for parse in (SipUri.parse, NameAddr.parse):
            try:
                again = parse(value)
            except PeerError:
                continue
            assert parse(str(again)) == again


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sip:a@h;tag=1", NameAddr("", "sip:a@h", (("tag", "1"),))),
        ("<sip:a@h;lr>;tag=1", NameAddr("", "sip:a@h;lr", (("tag", "1"),))),
        ("Jane  Doe <sip:a@h>", NameAddr("Jane Doe", "sip:a@h")),
        ('"Doe, \\"J\\"" <sip:a@h> ; tag = 1', NameAddr('Doe, "J"', "sip:a@h", (("tag", "1"),))),
        ("caller<sip:a@h>", NameAddr("caller", "sip:a@h")),
        ('""<tel:+1>', NameAddr("", "tel:+1")),
    ],
)
def test_name_addresses(text: str, found: NameAddr) -> None:
    assert NameAddr.parse(text) == found
    assert NameAddr.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "Doe, J <sip:a@h>",
        '"J <sip:a@h>',
        '"J" sip:a@h',
        "< sip:a@h>",
        "<sip:a@h",
        "<sip:a@h> x",
        "sip:a@h?x=y",
        "sip:a,b@h",
        "<sip:a@h>;tag=1;TAG=2",
        "é <sip:a@h>",
        "J\xa0D <sip:a@h>",
        "<<sip:a@h>>",
    ],
)
def test_impossible_name_addresses(text: str) -> None:
    with pytest.raises(PeerError):
        NameAddr.parse(text)


def test_tags_and_uris_of_a_name_address() -> None:
    address = NameAddr.parse("<sip:a@h>;tag=old;x=y")
    assert address.tag == "old"
    assert str(address.with_tag("new")) == "<sip:a@h>;x=y;tag=new"
    assert address.sip_uri == SipUri("sip", "a", "h")
    assert address.param("x") == "y"
    with pytest.raises(PeerError, match="unsupported scheme"):
        _ = NameAddr.parse("<tel:+1>").sip_uri


def test_a_name_address_cannot_break_out() -> None:
    for address in (
        NameAddr("a\r\nb", "sip:a@h"),
        NameAddr("", "sip:a@h>\r\nEvil: x"),
        NameAddr("", "sip:a b"),
    ):
        with pytest.raises(MisuseError):
            str(address)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("sip:[2001:db8::10]", "[2001:db8::10]", None),  # RFC 5118 section 4.1
        ("sip:[2001:db8::10:5070]", "[2001:db8::10:5070]", None),  # Section 4.3: no port in it
        ("sip:[2001:db8::10]:5070", "[2001:db8::10]", 5070),  # Section 4.4
        ("sip:[::ffff:192.0.2.2]", "[::ffff:192.0.2.2]", None),  # Section 4.8
    ],
)
def test_rfc_5118_references(text: str, host: str, port: int | None) -> None:
    uri = SipUri.parse(text)
    assert (uri.host, uri.port) == (host, port)


def test_rfc_5118_section_4_2_an_address_without_brackets() -> None:
    with pytest.raises(PeerError):
        SipUri.parse("sip:2001:db8::10")
