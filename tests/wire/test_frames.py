"""Frames: cut anywhere and put together again; a length that lies costs no memory."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.wire import FrameReader, frame

payload_lists = st.lists(st.binary(max_size=100), max_size=6)


@given(payloads=payload_lists, cuts=st.lists(st.integers(min_value=0, max_value=700), max_size=12))
def test_frames_survive_any_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(limit=100)
    read: list[bytes] = []
    for start, end in pairwise(edges):
        read += reader.receive(stream[start:end])
    assert read == payloads


def test_a_frame_of_exactly_the_limit_passes() -> None:
    assert FrameReader(limit=5).receive(frame(b"12345")) == [b"12345"]


@given(st.integers(min_value=6, max_value=2**32 - 1))
def test_a_length_above_the_limit_is_refused_at_once(length: int) -> None:
    with pytest.raises(PeerError, match="oversized"):
        FrameReader(limit=5).receive(length.to_bytes(4))


def test_what_came_before_a_lie_does_not_save_it() -> None:
    with pytest.raises(PeerError, match="oversized"):
        FrameReader(limit=5).receive(frame(b"fine") + b"\xff\xff\xff\xff")


def test_a_reader_stays_refused() -> None:
    reader = FrameReader(limit=5)
    for _ in range(3):
        with pytest.raises(PeerError, match="oversized"):
            reader.receive(b"\xff\xff\xff\xff")


def test_a_refused_reader_holds_nothing() -> None:
    """However often a peer goes on after its lie, nothing is kept of it."""
    reader = FrameReader(limit=5)
    for _ in range(100):
        with pytest.raises(PeerError):
            reader.receive(b"\xff" * 10_000)
    assert reader.buffered == 0


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_hostile_bytes_raise_nothing_but_a_peer_error(chunks: list[bytes]) -> None:
    reader = FrameReader(limit=20)
    for chunk in chunks:
        try:
            assert all(len(payload) <= 20 for payload in reader.receive(chunk))
        except PeerError:
            return
        assert reader.buffered < 4 + 20


def test_frames_may_be_empty() -> None:
    assert FrameReader(limit=5).receive(frame(b"") * 3) == [b"", b"", b""]
