"""The encoding of rtpengine's control protocol."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.peers.bencode import Value, decode, encode

VALUES = st.recursive(
    st.integers() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def test_examples_of_the_format() -> None:
    assert encode({"command": "ping", "n": -3, "list": ["a", 1]}) == b"d7:command4:ping4:listl1:ai1ee1:ni-3ee"
    assert decode(b"d6:result4:ponge") == {"result": b"pong"}


@given(VALUES)
def test_what_is_encoded_comes_back(value: Value) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "data", [b"", b"i1", b"5:abc", b"-1:", b"d1:a", b"di1ei2ee", b"i1ei2e", b"x", b"l" * 40]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode(data)
