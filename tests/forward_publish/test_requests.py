"""Requests: one size, one form, and nothing but `PeerError` for what is none."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError
from relay.forward_publish import (
    MOST_WANTED,
    REQUEST_SIZE,
    Digests,
    EntryKind,
    Fetch,
    Middle,
    Peers,
    Put,
    Request,
    RequestKind,
    Summary,
    Want,
    parse_request,
)
from relay.forward_publish.requests import _Wire
from relay.forward_publish.work import WORK_SIZE
from relay.wire import pad
from tests.forward_publish.shelves import stored_record

KINDS = st.sampled_from(EntryKind)
PREFIXES = st.integers(0, 14).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, 2**bits - 1)))
PAGES = st.integers(0, 2**16 - 1)
SHORT = st.binary(min_size=16, max_size=16)
REQUESTS = st.one_of(
    st.builds(Put, KINDS, st.binary(max_size=4080), st.binary(min_size=WORK_SIZE, max_size=WORK_SIZE)),
    st.builds(lambda kind, where, page: Fetch(kind, where[0], where[1], page), KINDS, PREFIXES, PAGES),
    st.builds(lambda kind, where, page: Summary(kind, where[0], where[1], page), KINDS, PREFIXES, PAGES),
    PREFIXES.filter(lambda where: where[0] < 14).map(lambda where: Middle(*where)),
    st.builds(Digests, KINDS),
    st.builds(Want, KINDS, st.lists(SHORT, min_size=1, max_size=MOST_WANTED, unique=True).map(tuple)),
    st.builds(Peers, st.just("") | st.from_regex(r"[a-z2-7]{56}", fullmatch=True)),
)


@given(REQUESTS)
def test_every_request_comes_back_and_all_have_one_size(request: Request) -> None:
    data = request.to_bytes()
    assert len(data) == REQUEST_SIZE
    assert parse_request(data) == request


def test_the_largest_of_each_fit() -> None:
    Put(EntryKind.DESCRIPTOR, bytes(4080), bytes(WORK_SIZE)).to_bytes()
    Want(EntryKind.DESCRIPTOR, [bytes([number]) * 16 for number in range(MOST_WANTED)]).to_bytes()
    record = stored_record()
    put = Put.of(record, bytes(WORK_SIZE))
    assert (put.kind, put.body) == (EntryKind.RECORD, record.to_bytes())


def test_a_request_shows_no_key_where_it_is_printed() -> None:
    put = Put.of(stored_record(), bytes(WORK_SIZE))
    for request in (
        put,
        Fetch(EntryKind.RECORD, 14, 4711),
        Middle(13, 4711),
        Want(EntryKind.RECORD, (bytes(16),)),
        Peers("a" * 56),
    ):
        shown = repr(request)
        assert not any(word in shown for word in ("4711", "x00", "aaaa")), shown


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"request": 0}, "malformed"),
    ({"request": 8}, "malformed"),
    ({"request": RequestKind.FETCH}, "wrong kind"),
    ({"request": RequestKind.FETCH, "kind": 4}, "wrong kind"),
    ({"request": RequestKind.PUT, "kind": -1, "work": bytes(WORK_SIZE)}, "wrong kind"),
    ({"request": RequestKind.FETCH, "kind": 1, "bits": 15}, "bad prefix"),
    ({"request": RequestKind.SUMMARY, "kind": 1, "bits": 3, "prefix": 8}, "bad prefix"),
    ({"request": RequestKind.FETCH, "kind": 1, "page": -1}, "malformed"),
    ({"request": RequestKind.FETCH, "kind": 1, "page": 2**16}, "malformed"),
    ({"request": RequestKind.FETCH, "kind": 1, "body": b"x"}, "non-canonical"),
    ({"request": RequestKind.FETCH, "kind": 1, "onion": "a" * 56}, "non-canonical"),
    ({"request": RequestKind.MIDDLE}, "wrong kind"),
    ({"request": RequestKind.MIDDLE, "kind": 2}, "non-canonical"),
    ({"request": RequestKind.MIDDLE, "kind": 1, "page": 1}, "non-canonical"),
    ({"request": RequestKind.MIDDLE, "kind": 1, "bits": 14}, "bad prefix"),
    ({"request": RequestKind.MIDDLE, "kind": 1, "bits": 2, "prefix": 4}, "bad prefix"),
    ({"request": RequestKind.DIGESTS, "kind": 1, "bits": 1}, "non-canonical"),
    ({"request": RequestKind.PUT, "kind": 1}, "malformed"),
    ({"request": RequestKind.PUT, "kind": 1, "work": bytes(9)}, "malformed"),
    ({"request": RequestKind.WANT, "kind": 1}, "malformed"),
    ({"request": RequestKind.WANT, "kind": 1, "keys": (bytes(15),)}, "malformed"),
    ({"request": RequestKind.WANT, "kind": 1, "keys": (bytes(16), bytes(16))}, "malformed"),
    (
        {"request": RequestKind.WANT, "kind": 1, "keys": tuple(bytes([n]) * 16 for n in range(65))},
        "malformed",
    ),
    ({"request": RequestKind.PEERS, "onion": "a" * 55}, "malformed"),
    ({"request": RequestKind.PEERS, "onion": "a" * 56 + "\n"}, "malformed"),
    ({"request": RequestKind.PEERS, "kind": 1}, "non-canonical"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_what_no_client_of_ours_sends_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        parse_request(_Wire(**fields).to_bytes())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (bytes(REQUEST_SIZE - 1), "truncated"),
        (bytes(REQUEST_SIZE + 1), "oversized"),
        (bytes(REQUEST_SIZE), "malformed"),
        (b"\xff" * REQUEST_SIZE, "bad padding"),
        (pad(b"\x91\xcc\x02", REQUEST_SIZE), "wrong kind|non-canonical"),
    ],
)
def test_a_request_has_one_size_and_one_form(data: bytes, reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        parse_request(data)


@settings(max_examples=300)
@given(REQUESTS, st.integers(0, REQUEST_SIZE - 1), st.binary(min_size=1, max_size=16))
def test_a_patched_request_is_another_one_or_none(request: Request, start: int, patch: bytes) -> None:
    data = request.to_bytes()
    torn = (data[:start] + patch + data[start + len(patch) :])[:REQUEST_SIZE]
    with suppress(PeerError):
        assert parse_request(torn).to_bytes() == torn


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_garbage_raises_only_peer_error(data: bytes, length: int) -> None:
    for wrong in (data, (length.to_bytes(4) + data).ljust(REQUEST_SIZE, b"\0")):
        with pytest.raises(PeerError):
            parse_request(wrong)
