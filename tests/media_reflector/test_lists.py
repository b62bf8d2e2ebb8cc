"""Signed lists: read by people and by agents alike, and every word in one is its maker's."""

import contextlib
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.media_reflector import ReflectorReference
from relay.media_reflector.descriptor import CLOCK_SKEW
from relay.media_reflector.lists import (
    LIST_LIMIT,
    MAX_REFERENCES,
    day_of,
    format_maker,
    parse_maker,
    read_list,
    sign_list,
    verify_list,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MAKER = KEY.public_key().public_bytes_raw()
ISSUED, UNTIL = date(2027, 1, 15), date(2027, 7, 15)
WALL = datetime(2027, 3, 1, tzinfo=UTC).timestamp()


def references(count: int) -> list[ReflectorReference]:
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return [
        ReflectorReference(letters[number % 32] * 53 + letters[number // 32] * 3, number.to_bytes(32))
        for number in range(count)
    ]


LISTED = references(3)
TEXT = sign_list("Friends of the free press", LISTED, ISSUED, UNTIL, KEY)


def test_a_signed_list_is_a_text_for_people() -> None:
    lines = TEXT.splitlines()
    assert lines[:5] == [
        "bayonne reflector list 1",
        "name: Friends of the free press",
        f"maker: {format_maker(MAKER)}",
        "issued: 2027-01-15",
        "until: 2027-07-15",
    ]
    assert lines[5:8] == [str(reference) for reference in LISTED]
    assert lines[8].startswith("signature: ")
    assert len(lines) == 9


def test_it_verifies() -> None:
    found = verify_list(TEXT, {MAKER}, WALL)
    assert found.references == tuple(LISTED)
    assert (found.name, found.maker) == ("Friends of the free press", MAKER)


@pytest.mark.parametrize(
    "carried",
    [
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\n\n"),
        "\n  " + TEXT.replace("\n", "   \n\t"),
        TEXT.removesuffix("\n"),
    ],
)
def test_what_a_mail_program_does_to_lines_does_no_harm(carried: str) -> None:
    assert read_list(carried) == read_list(TEXT)


def test_names_may_be_in_any_script() -> None:
    assert read_list(sign_list("Друзья · 友人", LISTED, ISSUED, UNTIL, KEY)).name == "Друзья · 友人"


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (datetime(2027, 1, 15, tzinfo=UTC).timestamp() - CLOCK_SKEW - 1, "later day"),
        (datetime(2027, 1, 15, tzinfo=UTC).timestamp() - CLOCK_SKEW, ""),
        (datetime(2027, 7, 16, tzinfo=UTC).timestamp() + CLOCK_SKEW, ""),
        (datetime(2027, 7, 16, tzinfo=UTC).timestamp() + CLOCK_SKEW + 1, "out of date"),
    ],
)
def test_it_is_good_from_its_first_day_to_the_end_of_its_last(moment: float, reason: str) -> None:
    if not reason:
        verify_list(TEXT, {MAKER}, moment)
        return
    with pytest.raises(PeerError, match=reason):
        verify_list(TEXT, {MAKER}, moment)


def test_a_maker_who_was_not_accepted() -> None:
    with pytest.raises(PeerError, match="not accepted"):
        verify_list(TEXT, {bytes(32)}, WALL)


def _lines(*changed: tuple[int, str]) -> str:
    lines = TEXT.splitlines()
    for number, line in changed:
        lines[number] = line
    return "\n".join(lines)


OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_MAKER = OTHER_KEY.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a reflector list"),
        ("bayonne reflector list 2\n", "not a reflector list"),
        ("\n".join(TEXT.splitlines()[:6]), "not whole"),
        ("\n".join(TEXT.splitlines()[:-1]), "'signature' expected"),
        (_lines((1, "name: Friends of the free Press")), "not signed"),
        (_lines((2, f"maker: {format_maker(OTHER_MAKER)}")), "not signed"),
        (_lines((4, "until: 2027-07-16")), "not signed"),
        (_lines((5, str(references(9)[8]))), "not signed"),
        (_lines((5, TEXT.splitlines()[6]), (6, TEXT.splitlines()[5])), "not signed"),
        (_lines((7, "")), "not signed"),
        (_lines((8, "signature: " + "a" * 103)), "not signed"),
        (_lines((8, "signature: ")), "not signed"),
        (_lines((8, "signature: ü")), "not signed"),
        (_lines((1, "title: x")), "'name' expected"),
        (_lines((2, "maker: me")), "not a list maker"),
        (_lines((3, "issued: 20270115")), "a day expected"),
        (_lines((3, "issued: yesterday")), "a day expected"),
        (_lines((3, "issued: 9999-12-31")), "a day expected"),
        (_lines((4, "until: 2029-01-01")), "a year at most"),
        (_lines((4, "until: 2027-01-14")), "a year at most"),
        (_lines((6, "# a comment that nobody signed")), "not a reflector reference"),
        (_lines((6, str(LISTED[0]))), "every reflector once"),
        (_lines((6, str(ReflectorReference(LISTED[0].onion, bytes([7]) * 32)))), "every reflector once"),
        (_lines((1, "name: " + "x" * 81)), "80 characters"),
        (_lines((1, "name: evil\u202egnp")), "80 characters"),
        (_lines((1, "name:")), "80 characters"),
        ("x" * (LIST_LIMIT + 1), "too long"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_it_is_used(text: str, reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        read_list(text)


def test_a_list_of_another_maker_cannot_take_this_ones_name() -> None:
    forged = sign_list("Friends of the free press", references(5), ISSUED, UNTIL, OTHER_KEY)
    with pytest.raises(PeerError, match="not accepted"):
        verify_list(forged, {MAKER}, WALL)
    passed_off = forged.replace(format_maker(OTHER_MAKER), format_maker(MAKER))
    with pytest.raises(PeerError, match="not signed"):
        verify_list(passed_off, {MAKER}, WALL)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(TEXT) - 2), character=st.characters())
def test_any_changed_character_is_noticed_or_means_nothing(position: int, character: str) -> None:
    changed = TEXT[:position] + character + TEXT[position + 1 :]
    with contextlib.suppress(PeerError):
        assert read_list(changed) == read_list(TEXT)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_noise_raises_only_the_peers_fault(text: str) -> None:
    for tried in (text, "bayonne reflector list 1\n" + text, TEXT + text):
        with contextlib.suppress(PeerError):
            read_list(tried)


def test_the_longest_list_is_within_the_limit() -> None:
    text = sign_list("友" * 80, references(MAX_REFERENCES), ISSUED, UNTIL, KEY)
    assert len(text) <= LIST_LIMIT
    assert len(read_list(text).references) == MAX_REFERENCES
    with pytest.raises(MisuseError, match="1 to 1000"):
        sign_list("x", references(MAX_REFERENCES + 1), ISSUED, UNTIL, KEY)


@pytest.mark.parametrize(
    ("name", "count", "days"),
    [("", 1, 1), (" x", 1, 1), ("a\nb", 1, 1), ("x", 0, 1), ("x", 1, 367), ("x", 1, -1)],
)
def test_what_no_agent_would_take_is_not_signed(name: str, count: int, days: int) -> None:
    with pytest.raises(MisuseError):
        sign_list(name, references(count), ISSUED, ISSUED + timedelta(days=days), KEY)


def test_makers_round_trip_and_damaged_ones_are_refused() -> None:
    text = format_maker(MAKER)
    assert parse_maker(f" {text}\n") == MAKER
    for damaged in ("", text[:-1], text + "a", text.upper(), text[:-1] + "b", str(LISTED[0])):
        with pytest.raises(MisuseError):
            parse_maker(damaged)


def test_the_day_of_a_moment_is_by_utc() -> None:
    assert day_of(datetime(2027, 1, 15, 23, 59, tzinfo=UTC).timestamp()) == ISSUED
