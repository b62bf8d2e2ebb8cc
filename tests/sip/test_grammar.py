import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.sip.grammar import (
    MAX_ELEMENTS,
    decimal,
    format_parameters,
    has_forbidden_control,
    parameter,
    parse_host_port,
    parse_parameters,
    quote,
    split_outside,
    unquote,
)

printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(printable)
def test_quoted_strings_come_back(text: str) -> None:
    assert unquote(quote(text)) == text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_scanners_raise_only_peer_error(text: str) -> None:
    for scan in (
        unquote,
        lambda value: split_outside(value, ","),
        lambda value: parse_parameters(value, "25.1"),
        lambda value: parse_host_port(value, "25.1"),
        lambda value: decimal(value, 255, "25.1"),
    ):
        try:
            scan(text)
        except PeerError:
            continue


def test_commas_inside_quotes_and_angle_brackets_do_not_split() -> None:
    assert split_outside('"a, \\"b" <sip:x,y@h>, c ,d', ",") == ['"a, \\"b" <sip:x,y@h>', "c", "d"]


@pytest.mark.parametrize("text", ['"open', '"escaped\\"', "<open", "a, <b, c"])
def test_what_opens_must_close(text: str) -> None:
    with pytest.raises(PeerError):
        split_outside(text, ",")


def test_elements_are_bounded() -> None:
    assert len(split_outside("a," * (MAX_ELEMENTS - 1) + "a", ",")) == MAX_ELEMENTS
    with pytest.raises(PeerError, match="too many elements"):
        split_outside("a," * 60000, ",")


def test_quoted_control_characters_are_left_out() -> None:
    assert unquote('"BEL:\\\x07 NUL:\\\x00 end"') == "BEL: NUL: end"


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "\\\r", "a\0", "\x7f", "\\\\\x00", "\ud800"])
def test_forbidden_controls(text: str) -> None:
    assert has_forbidden_control(text)


@pytest.mark.parametrize("text", ["", "a\tb", "é…\u2028", "\\\x00", "\\\\\\\x7f"])
def test_allowed_text(text: str) -> None:
    assert not has_forbidden_control(text)


def test_parameters() -> None:
    found = parse_parameters(' ; lr;TAG = a;name="x;\\"y" ;received=[2001:db8::1]'.strip(), "25.1")
    assert found == (("lr", None), ("tag", "a"), ("name", 'x;"y'), ("received", "[2001:db8::1]"))
    assert parameter(found, "lr") == ""
    assert parameter(found, "absent") is None
    assert parse_parameters(format_parameters(found), "25.1") == found


@pytest.mark.parametrize("text", ["a", ";", ";;a", ";a=", ";=b", ";a;A", ";a=b c", ';a="b"c', ";a\u00a0=b"])
def test_malformed_parameters(text: str) -> None:
    with pytest.raises(PeerError):
        parse_parameters(text, "25.1")


def test_parameters_cannot_break_out() -> None:
    with pytest.raises(MisuseError):
        format_parameters((("tag", "x\r\nVia: y"),))
    with pytest.raises(MisuseError):
        format_parameters((("a;b", None),))
    assert format_parameters((("tag", "x;y"),)) == ';tag="x;y"'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Example.COM", ("example.com", None)),
        ("192.0.2.1 : 5060", ("192.0.2.1", 5060)),
        ("[2001:DB8::1]:5061", ("[2001:db8::1]", 5061)),
        ("host.", ("host.", None)),
    ],
)
def test_hosts(text: str, found: tuple[str, int | None]) -> None:
    assert parse_host_port(text, "25.1") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5060",
        "h:",
        "h:0",
        "h:65536",
        "h:5 0",
        "h:-1",
        "h:٥",
        "a_b",
        "-a",
        "a..b",
        "[::1",
        "[zz]",
        "[::1]x",
        "[]",
        "a" * 256,
        "h:" + "0" * 30 + "1",
        "höst",
    ],
)
def test_impossible_hosts(text: str) -> None:
    with pytest.raises(PeerError):
        parse_host_port(text, "25.1")


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "٣", "256", "9" * 400])
def test_impossible_numbers(text: str) -> None:
    with pytest.raises(PeerError):
        decimal(text, 255, "25.1")
