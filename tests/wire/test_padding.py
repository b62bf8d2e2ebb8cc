"""Padding: one size whatever the content, and no second way to write the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.wire import pad, unpad


@given(st.binary(max_size=60), st.integers(min_value=64, max_value=200))
def test_round_trip_at_one_size(data: bytes, size: int) -> None:
    padded = pad(data, size)
    assert len(padded) == size
    assert unpad(padded) == data


def test_the_largest_content_fits_and_one_byte_more_does_not() -> None:
    assert unpad(pad(bytes(60), 64)) == bytes(60)
    with pytest.raises(MisuseError):
        pad(bytes(61), 64)


@given(st.binary(max_size=100))
def test_hostile_bytes_raise_nothing_but_a_peer_error(data: bytes) -> None:
    try:
        content = unpad(data)
    except PeerError:
        return
    assert pad(content, len(data)) == data


@given(
    st.binary(max_size=40), st.integers(min_value=0, max_value=19), st.integers(min_value=1, max_value=255)
)
def test_filling_that_is_not_zero_is_refused(data: bytes, place: int, value: int) -> None:
    padded = bytearray(pad(data, 64))
    padded[-1 - place] = value
    with pytest.raises(PeerError, match="bad padding"):
        unpad(bytes(padded))


@pytest.mark.parametrize("padded", [b"", b"\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\xff" + bytes(60)])
def test_a_length_that_lies_is_refused(padded: bytes) -> None:
    with pytest.raises(PeerError, match="bad padding"):
        unpad(padded)
