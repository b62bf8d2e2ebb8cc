"""Answers: 256 KiB whatever was found, read back as they were, and never another question's."""

import struct
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError
from relay.forward_publish import (
    ANSWER_SIZE,
    MOST_BITS,
    PAGE_OF_SUMMARIES,
    PUT_ANSWER_SIZE,
    Digests,
    EntryKind,
    Fetch,
    Middle,
    Peers,
    PutAnswer,
    PutResult,
    Summary,
    Want,
    page_size,
    parse_digests,
    parse_peers,
    parse_slots,
    parse_summary,
)
from relay.forward_publish.answers import (
    HEADING_SIZE,
    Heading,
    digests_answer,
    peers_answer,
    slots_answer,
    summary_answer,
)
from relay.wire import encode, pad, unpad

KEYS = st.binary(min_size=16, max_size=32).filter(lambda key: len(key) in (16, 32))
FETCH = Fetch(EntryKind.LISTING, 3, 5, 2)


@settings(max_examples=30)
@given(st.sampled_from(EntryKind), st.integers(0, 512), st.integers(1, 2**16), st.booleans())
def test_slots_come_back(kind: EntryKind, count: int, pages: int, wide: bool) -> None:
    slots = [bytes([number % 251]) * kind.slot_size for number in range(min(count, page_size(kind)))]
    asked = Fetch(kind, 4, 9, 1)
    answer = slots_answer(asked, slots, pages=pages, wide=wide)
    assert len(answer) == ANSWER_SIZE
    heading, found = parse_slots(answer, asked)
    assert (found, heading.pages, heading.wide) == (slots, pages, wide)
    some = slots[:5]
    want = Want(kind, [bytes([number]) * 16 for number in range(5)])
    assert parse_slots(slots_answer(want, some), want)[1] == some


@settings(max_examples=30)
@given(st.integers(0, 128), st.integers(0, 3))
def test_the_middle_of_a_bucket_comes_back(count: int, wide: int) -> None:
    slots = [bytes([number]) * EntryKind.RECORD.slot_size for number in range(count)]
    asked = Middle(4, 9)
    answer = slots_answer(asked, slots, wide=wide)
    assert len(answer) == ANSWER_SIZE
    heading, found = parse_slots(answer, asked)
    assert (found, heading.pages, heading.wide) == (slots, 0, wide)
    for other in (Middle(4, 8), Middle(5, 9), Fetch(EntryKind.RECORD, 4, 9)):
        with pytest.raises(PeerError, match="another question"):
            parse_slots(answer, other)


@settings(max_examples=10)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
def test_digests_come_back(digest: bytes, count: int) -> None:
    asked = Digests(EntryKind.RECORD)
    children = [(digest, count)] * 4096
    answer = digests_answer(asked, children)
    assert len(answer) == ANSWER_SIZE
    assert parse_digests(answer, asked) == children


@settings(max_examples=30)
@given(
    st.lists(st.tuples(KEYS, st.integers(0, 2**63 - 1), st.binary(min_size=8, max_size=8)), max_size=40),
    st.integers(1, 9),
)
def test_summaries_come_back_with_short_keys(rows: list[tuple[bytes, int, bytes]], pages: int) -> None:
    asked = Summary(EntryKind.DESCRIPTOR, 1, 1)
    answer = summary_answer(asked, rows, pages=pages)
    assert len(answer) == ANSWER_SIZE
    assert parse_summary(answer, asked) == [(key[:16], revision, hashed) for key, revision, hashed in rows]


def test_a_full_page_of_summaries_fills_the_answer() -> None:
    asked = Summary(EntryKind.RECORD)
    rows = [(bytes(32), number, bytes(8)) for number in range(PAGE_OF_SUMMARIES)]
    assert PAGE_OF_SUMMARIES == 8160
    answer = summary_answer(asked, rows, pages=2)
    assert len(answer) == ANSWER_SIZE
    assert len(parse_summary(answer, asked)) == PAGE_OF_SUMMARIES


@settings(max_examples=20)
@given(st.lists(st.from_regex(r"[a-z2-7]{56}", fullmatch=True), max_size=70))
def test_names_come_back_at_most_64(onions: list[str]) -> None:
    asked = Peers("a" * 56)
    answer = peers_answer(asked, onions)
    assert len(answer) == ANSWER_SIZE
    assert parse_peers(answer, asked) == onions[:64]


def test_an_answer_to_another_question_is_refused() -> None:
    answer = slots_answer(FETCH, [], pages=1)
    for other in (
        Fetch(EntryKind.RECORD, 3, 5, 2),
        Fetch(EntryKind.LISTING, 4, 5, 2),
        Fetch(EntryKind.LISTING, 3, 4, 2),
        Fetch(EntryKind.LISTING, 3, 5, 1),
        Want(EntryKind.LISTING, (bytes(16),)),
    ):
        with pytest.raises(PeerError, match="another question"):
            parse_slots(answer, other)
    with pytest.raises(PeerError, match="another question"):
        parse_digests(answer, Digests(EntryKind.LISTING))
    with pytest.raises(PeerError, match="another question"):
        parse_peers(answer, Peers())


def _headed(**changes: Any) -> bytes:
    """The answer to `FETCH` with another heading."""
    answer = slots_answer(FETCH, [b"x" * 510], pages=1)
    heading = msgspec.msgpack.decode(unpad(answer[:HEADING_SIZE]), type=Heading)
    return pad(encode(msgspec.structs.replace(heading, **changes)), HEADING_SIZE) + answer[HEADING_SIZE:]


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": 513},
        {"count": -1},
        {"pages": 0},
        {"pages": 2**16 + 1},
        {"wide": 2},
        {"wide": -1},
    ],
)
def test_a_heading_that_lies_is_refused(changes: dict[str, Any]) -> None:
    assert parse_slots(_headed(), FETCH)[1] == [b"x" * 510]
    with pytest.raises(PeerError):
        parse_slots(_headed(**changes), FETCH)


def test_a_width_where_it_says_nothing_is_refused() -> None:
    asked = Peers()
    answer = peers_answer(asked, [])
    heading = msgspec.msgpack.decode(unpad(answer[:HEADING_SIZE]), type=Heading)
    changed = pad(encode(msgspec.structs.replace(heading, wide=1)), HEADING_SIZE)
    assert parse_peers(answer, asked) == []
    with pytest.raises(PeerError, match="malformed"):
        parse_peers(changed + answer[HEADING_SIZE:], asked)


def test_what_lies_behind_the_last_slot_is_refused() -> None:
    answer = slots_answer(FETCH, [b"x" * 510], pages=1)
    for wrong in (
        b"",
        answer[:-1],
        answer + b"\0",
        answer[:-1] + b"\1",
        bytes(ANSWER_SIZE),
        b"\xff" * ANSWER_SIZE,
    ):
        with pytest.raises(PeerError):
            parse_slots(wrong, FETCH)
    want = Want(EntryKind.LISTING, (bytes(16),))
    with pytest.raises(PeerError, match="malformed"):
        parse_slots(slots_answer(want, [b"x" * 510, b"y" * 510]), want)


@settings(max_examples=100)
@given(st.integers(0, HEADING_SIZE - 1), st.binary(min_size=1, max_size=12))
def test_a_patched_heading_raises_only_peer_error(start: int, patch: bytes) -> None:
    answer = slots_answer(FETCH, [b"x" * 510], pages=1)
    torn = answer[:start] + patch + answer[start + len(patch) :]
    for parse in (
        lambda: parse_slots(torn, FETCH),
        lambda: parse_summary(torn, Summary(EntryKind.LISTING, 3, 5, 2)),
    ):
        with suppress(PeerError):
            parse()


@given(st.sampled_from(PutResult), st.integers(1, MOST_BITS))
def test_what_became_of_a_put_comes_back(result: PutResult, bits: int) -> None:
    answer = PutAnswer(result, bits if result is PutResult.MORE_WORK else 0)
    assert len(answer.to_bytes()) == PUT_ANSWER_SIZE == 64
    assert PutAnswer.parse(answer.to_bytes()) == answer


def test_more_work_than_anybody_does_is_refused() -> None:
    for wrong in (
        PutAnswer(PutResult.MORE_WORK, MOST_BITS + 1),
        PutAnswer(PutResult.MORE_WORK, 0),
        PutAnswer(PutResult.ACCEPTED, 3),
    ):
        with pytest.raises(PeerError, match="malformed"):
            PutAnswer.parse(wrong.to_bytes())


@given(st.binary(max_size=66), st.integers(0, 64))
def test_garbage_for_a_put_raises_only_peer_error(data: bytes, length: int) -> None:
    for wrong in (data, (length.to_bytes(4) + data).ljust(64, b"\0")):
        try:
            PutAnswer.parse(wrong)
        except PeerError:
            continue
        assert struct.unpack(">I", wrong[:4])[0] == 3, "three bytes say it all"
