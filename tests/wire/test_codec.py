"""The canonical codec: what it writes it reads, and anything else is a `PeerError`."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.wire import decode, encode


class Leaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: int
    key: bytes


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    leaves: tuple[Leaf, ...]
    ratio: float = 0.5
    present: bool = False


class Nest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    inner: "Nest | None" = None


leaves = st.builds(
    Leaf, number=st.integers(min_value=-(2**63), max_value=2**64 - 1), key=st.binary(max_size=40)
)
records = st.builds(
    Record,
    name=st.text(max_size=20),
    leaves=st.lists(leaves, max_size=4).map(tuple),
    ratio=st.floats(allow_nan=False),
    present=st.booleans(),
)


@given(records)
def test_round_trip(record: Record) -> None:
    data = encode(record)
    assert decode(data, Record, limit=len(data)) == record


@given(records)
def test_what_is_larger_than_the_limit_is_refused_unread(record: Record) -> None:
    data = encode(record)
    with pytest.raises(PeerError, match="oversized"):
        decode(data, Record, limit=len(data) - 1)


@given(records, st.data())
def test_every_truncation_is_refused(record: Record, data: st.DataObject) -> None:
    whole = encode(record)
    cut = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    with pytest.raises(PeerError):
        decode(whole[:cut], Record, limit=4096)


@given(records, st.binary(min_size=1, max_size=8))
def test_trailing_bytes_are_refused(record: Record, more: bytes) -> None:
    with pytest.raises(PeerError):
        decode(encode(record) + more, Record, limit=65536)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
def test_hostile_bytes_raise_nothing_but_a_peer_error(data: bytes) -> None:
    try:
        record = decode(data, Record, limit=4096)
    except PeerError:
        return
    assert encode(record) == data


@given(records, st.data())
def test_a_flipped_bit_is_refused_or_read_as_what_it_says(record: Record, data: st.DataObject) -> None:
    whole = bytearray(encode(record))
    bit = data.draw(st.integers(min_value=0, max_value=8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    try:
        read = decode(bytes(whole), Record, limit=65536)
    except PeerError:
        return
    assert encode(read) == bytes(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\xcc\x05\xc4\x00",  # 5 as uint8 instead of a fixint
        b"\x92\xcd\x00\x05\xc4\x00",  # 5 as uint16
        b"\x92\xd3\x00\x00\x00\x00\x00\x00\x00\x05\xc4\x00",  # 5 as int64
        b"\x92\x05\xc5\x00\x00",  # the empty bytes with a 16-bit length
        b"\xdc\x00\x02\x05\xc4\x00",  # two elements behind a 16-bit count
    ],
)
def test_a_second_way_to_write_the_same_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="non-canonical"):
        decode(data, Leaf, limit=64)
    assert decode(b"\x92\x05\xc4\x00", Leaf, limit=64) == Leaf(5, b"")


def test_an_element_too_many_is_refused() -> None:
    with pytest.raises(PeerError, match="malformed"):
        decode(b"\x93\x05\xc4\x00\x00", Leaf, limit=64)


def test_the_wrong_type_is_refused() -> None:
    with pytest.raises(PeerError, match="malformed"):
        decode(b"\x92\xa1a\xc4\x00", Leaf, limit=64)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(PeerError, match="malformed"):
        decode(b"\x91" * 60_000 + b"\xc0", Nest, limit=65536)


def test_an_error_holds_none_of_the_peers_bytes() -> None:
    with pytest.raises(PeerError) as caught:
        decode(encode(Record("198.51.100.7", ()))[:-1], Record, limit=4096)
    assert "198" not in str(caught.value)
    assert caught.value.__cause__ is None
