import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.sip import Headers
from relay.sip.headers import MAX_FIELDS, MAX_LINE, canonical_name, parse_headers


def test_names_compare_without_case_and_with_compact_forms() -> None:
    headers = Headers([("v", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("cALL-id", "x")])
    assert headers.items() == [("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("Call-ID", "x")]
    assert headers.get("VIA") == headers.get("v")
    assert headers.get("i") == "x"
    assert "CALL-ID" in headers
    assert "Subject" not in headers
    assert canonical_name("X-Own") == "X-Own"


def test_lists_are_cut_and_other_headers_are_not() -> None:
    headers = Headers(
        [("Contact", '"Doe, Jane" <sip:a@h>, <sip:b@h>'), ("m", "<sip:c@h>"), ("Subject", "a, b")]
    )
    assert headers.all("Contact") == ['"Doe, Jane" <sip:a@h>', "<sip:b@h>", "<sip:c@h>"]
    assert headers.get("Contact") == '"Doe, Jane" <sip:a@h>'
    assert headers.all("s") == ["a, b"]
    assert headers.lines("Contact") == ['"Doe, Jane" <sip:a@h>, <sip:b@h>', "<sip:c@h>"]


def test_an_empty_list_is_no_element_but_an_empty_element_is_refused() -> None:
    headers = Headers([("Supported", ""), ("Allow", "INVITE,,ACK")])
    assert headers.get("Supported") == ""
    assert headers.all("Supported") == []
    with pytest.raises(PeerError):
        headers.all("Allow")


def test_set_keeps_the_place_of_the_first_and_drops_the_others() -> None:
    headers = Headers([("Route", "<sip:a>"), ("To", "<sip:t>"), ("Route", "<sip:b>")])
    headers.set("route", "<sip:c>")
    assert headers.items() == [("Route", "<sip:c>"), ("To", "<sip:t>")]
    headers.set("Expires", "60")
    headers.prepend("Via", "SIP/2.0/UDP h")
    assert [name for name, _ in headers] == ["Via", "Route", "To", "Expires"]
    headers.remove("ROUTE")
    assert "Route" not in headers
    assert len(headers) == 3


def test_a_copy_is_its_own() -> None:
    headers = Headers([("To", "<sip:t>")])
    twin = headers.copy()
    assert twin == headers
    twin.add("From", "<sip:f>")
    assert "From" not in headers
    assert "sip:t" not in repr(headers)


@pytest.mark.parametrize("value", ["x\r\nEvil: 1", "x\n", "x\ry", "\0", "x\x7f"])
def test_values_cannot_break_out(value: str) -> None:
    headers = Headers()
    for method in (headers.add, headers.set, headers.prepend):
        with pytest.raises(MisuseError):
            method("Subject", f"a{value}b")
        with pytest.raises(MisuseError):
            method(f"Sub{value}ject", "a")
    assert len(headers) == 0


def test_folded_lines_are_unfolded_with_one_blank() -> None:
    headers = parse_headers(["Subject : I know", "\t  you're there,  ", " ", " pick up"])
    assert headers.get("Subject") == "I know you're there,  pick up"


@pytest.mark.parametrize(
    "lines",
    [
        [" folded before anything"],
        ["no colon"],
        [": no name"],
        ["na me: x"],
        ["name\u00a0: x"],
        ["name: a\rb"],
        ["name: a\nb"],
        ["name: \0"],
        [""],
        ["name: x", " \n"],
    ],
)
def test_malformed_lines(lines: list[str]) -> None:
    with pytest.raises(PeerError):
        parse_headers(lines)


def test_fields_and_lengths_are_bounded() -> None:
    assert len(parse_headers(["a: b"] * MAX_FIELDS)) == MAX_FIELDS
    with pytest.raises(PeerError, match="too many headers"):
        parse_headers(["a: b"] * 16000)
    with pytest.raises(PeerError, match="too long"):
        parse_headers(["a: " + "b" * MAX_LINE])
    with pytest.raises(PeerError, match="too long"):
        parse_headers(["a: b"] + [" b"] * 30000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=8))
def test_lines_raise_only_peer_error(lines: list[str]) -> None:
    try:
        headers = parse_headers(lines)
        for name, _ in headers:
            headers.all(name)
    except PeerError:
        pass


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Subject", "X-Own", "To", "v", "Contact"]),
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
        ),
        max_size=10,
    )
)
def test_headers_come_back(fields: list[tuple[str, str]]) -> None:
    headers = Headers(fields)
    assert parse_headers(headers.to_text().split("\r\n")[:-1]) == headers
