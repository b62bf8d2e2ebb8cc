"""What is accepted: named reflectors, and lists of accepted makers; a list that is late changes no guard."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.agent.accepted import GRACE, AcceptedReflectors
from relay.agent.settings import AgentSettings
from relay.media_reflector import ReflectorReference, format_maker, sign_list

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MAKER = format_maker(KEY.public_key().public_bytes_raw())
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ISSUED = date(2027, 1, 15)
WALL = 1_800_000_000.0  # 2027-01-15
DAY = 86400.0
LISTED = [ReflectorReference(letter * 56, letter.encode() * 32) for letter in "abc"]
NAMED = ReflectorReference("d" * 56, b"d" * 32)
IDENTITIES = {reference.identity for reference in LISTED}


def write(
    path: Path, listed: list[ReflectorReference] = LISTED, key: Ed25519PrivateKey = KEY, days: int = 30
) -> None:
    path.write_text(sign_list("friends", listed, ISSUED, ISSUED + timedelta(days=days), key))


def reading(*paths: Path, makers: tuple[str, ...] = (MAKER,)) -> AcceptedReflectors:
    return AcceptedReflectors(
        AgentSettings(
            "x",
            reflectors=(str(NAMED),),
            reflector_lists=tuple(map(str, paths)),
            list_makers=makers,
        )
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "friends.txt"


def test_named_ones_and_those_on_good_lists(path: Path) -> None:
    write(path)
    accepted = reading(path).at(WALL)
    assert set(accepted.references) == IDENTITIES | {NAMED.identity}
    assert (accepted.whole, accepted.troubles, accepted.lapsed) == (True, (), frozenset())
    assert accepted.pending(IDENTITIES) == frozenset()


def test_one_that_two_lists_name_counts_once(path: Path, tmp_path: Path) -> None:
    write(path)
    write(tmp_path / "more.txt", [LISTED[0], NAMED])
    assert len(reading(path, tmp_path / "more.txt").at(WALL).references) == 4


@pytest.mark.parametrize("order", [("true.txt", "false.txt"), ("false.txt", "true.txt")])
def test_a_maker_cannot_move_away_what_another_one_lists(tmp_path: Path, order: tuple[str, str]) -> None:
    write(tmp_path / "true.txt")
    moved = [ReflectorReference("z" * 55 + one.onion[0], one.identity) for one in LISTED]
    write(tmp_path / "false.txt", moved, OTHER)
    makers = (MAKER, format_maker(OTHER.public_key().public_bytes_raw()))
    accepted = reading(*(tmp_path / name for name in order), makers=makers).at(WALL)
    assert set(accepted.references) == IDENTITIES | {NAMED.identity}
    for true, false in zip(LISTED, moved, strict=True):
        assert set(accepted.places(true.identity)) == {true, false}
    assert accepted.places(b"unknown") == ()


def test_what_the_owner_named_stands_whatever_a_list_says_of_it(path: Path) -> None:
    write(path, [ReflectorReference("e" * 56, NAMED.identity)])
    assert reading(path).at(WALL).references[NAMED.identity] == NAMED


def test_a_maker_who_is_not_accepted_adds_nothing_and_keeps_nothing(path: Path) -> None:
    write(path, key=OTHER)
    accepted = reading(path).at(WALL)
    assert set(accepted.references) == {NAMED.identity}
    assert accepted.troubles == ("friends.txt: its maker is not among your list_makers",)
    assert accepted.pending(IDENTITIES) == frozenset()


def test_a_list_that_ran_out_is_not_used_but_its_guards_wait_for_the_next(path: Path) -> None:
    write(path, days=30)
    accepted = reading(path).at(WALL + 33 * DAY)
    assert set(accepted.references) == {NAMED.identity}
    assert accepted.pending(IDENTITIES | {b"x" * 32}) == IDENTITIES
    assert "ask its maker" in accepted.troubles[0]
    late = reading(path).at(WALL + 33 * DAY + GRACE)
    assert late.pending(IDENTITIES) == frozenset()


@pytest.mark.parametrize("content", [None, b"", b"bayonne reflector list 1\n", b"\xff\xfe"])
def test_a_list_that_cannot_be_read_just_now_drops_no_guard(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    accepted = reading(path).at(WALL)
    assert not accepted.whole
    assert accepted.pending(IDENTITIES) == IDENTITIES
    assert accepted.troubles[0].startswith("friends.txt: ")
    assert str(path) not in accepted.troubles[0]


def test_a_list_from_tomorrow_waits(path: Path) -> None:
    write(path)
    accepted = reading(path).at(WALL - 3 * DAY)
    assert set(accepted.references) == {NAMED.identity}
    assert accepted.pending(IDENTITIES) == IDENTITIES


def test_a_new_list_in_the_same_file_is_noticed(path: Path) -> None:
    write(path)
    accepted = reading(path)
    accepted.at(WALL)
    write(path, LISTED[:1])
    assert set(accepted.at(WALL).references) == {LISTED[0].identity, NAMED.identity}
    path.unlink()
    assert not accepted.at(WALL).whole


def test_a_list_that_did_not_change_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    accepted = reading(path)
    before = accepted.at(WALL)
    monkeypatch.setattr("relay.agent.accepted.read_list", None)
    assert accepted.at(WALL) == before
