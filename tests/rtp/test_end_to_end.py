"""The end-to-end layer: constant size, nothing opens twice, nothing on the wire counts up."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, SeededEntropy
from relay.rtp.cell import BODY_SIZE, CONTENT_SIZE
from relay.rtp.end_to_end import EndToEndOpener, EndToEndSealer
from relay.rtp.replay import WINDOW_SIZE

KEY = bytes(range(32))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=CONTENT_SIZE, max_size=CONTENT_SIZE), min_size=1, max_size=5))
def test_round_trip_at_one_size(contents: list[bytes]) -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    for content in contents:
        body = sealer.seal(content)
        assert len(body) == BODY_SIZE
        assert opener.open(body) == content
    assert opener.lost == 0


def test_the_same_content_never_looks_the_same() -> None:
    sealer = EndToEndSealer(KEY)
    bodies = [sealer.seal(bytes(CONTENT_SIZE)) for _ in range(500)]
    assert len(set(bodies)) == 500
    counters = [int.from_bytes(body[:4]) for body in bodies]
    steps = {(later - earlier) & 0xFFFFFFFF for earlier, later in pairwise(counters)}
    assert 1 not in steps
    assert len(steps) > 490, "a bare counter would step by one each time"


def test_random_bodies_do_not_open_and_are_counted() -> None:
    entropy, opener = SeededEntropy(1), EndToEndOpener(KEY)
    assert all(opener.open(entropy.token(BODY_SIZE)) is None for _ in range(200))
    assert opener.counters["not_authentic"] == 200
    assert opener.lost == 0


def test_a_body_opens_once() -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    body = sealer.seal(bytes(CONTENT_SIZE))
    assert opener.open(body) == bytes(CONTENT_SIZE)
    assert opener.open(body) is None
    assert opener.counters["replayed"] == 1


@settings(max_examples=80, deadline=None)
@given(position=st.integers(0, BODY_SIZE - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    body = bytearray(EndToEndSealer(KEY).seal(bytes(CONTENT_SIZE)))
    body[position] ^= 1 << bit
    assert EndToEndOpener(KEY).open(bytes(body)) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_of_any_size_is_refused(body: bytes) -> None:
    assert EndToEndOpener(KEY).open(body) is None


def test_another_key_opens_nothing() -> None:
    assert EndToEndOpener(bytes(32)).open(EndToEndSealer(KEY).seal(bytes(CONTENT_SIZE))) is None


def test_gaps_are_counted_as_lost_and_late_ones_are_taken_back() -> None:
    sealer, opener = EndToEndSealer(KEY, counter=50), EndToEndOpener(KEY)
    bodies = [sealer.seal(bytes(CONTENT_SIZE)) for _ in range(10)]
    for index in (0, 1, 5, 9):
        assert opener.open(bodies[index]) is not None
    assert opener.lost == 6
    assert opener.open(bodies[3]) is not None
    assert opener.lost == 5


def test_too_late_is_a_replay() -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    bodies = [sealer.seal(bytes(CONTENT_SIZE)) for _ in range(WINDOW_SIZE + 2)]
    assert opener.open(bodies[-1]) is not None
    assert opener.open(bodies[0]) is None
    assert opener.counters["replayed"] == 1


@pytest.mark.parametrize("start", [(1 << 32) - 3, (1 << 33) - 2, (1 << 31) - 2])
def test_the_counter_continues_beyond_its_32_bits_on_the_wire(start: int) -> None:
    sealer, opener = EndToEndSealer(KEY, counter=start), EndToEndOpener(KEY)
    # An opener that has followed the call so far.
    opener._window.accept(start - 1)
    bodies = [sealer.seal(bytes([n]) * CONTENT_SIZE) for n in range(8)]
    for n in (1, 0, 2, 4, 5, 3, 7, 6):
        assert opener.open(bodies[n]) == bytes([n]) * CONTENT_SIZE


NEXT = bytes(range(1, 33))


def body_of(sealer: EndToEndSealer, number: int = 0) -> bytes:
    return sealer.seal(bytes([number]) * CONTENT_SIZE)


def test_the_next_epoch_opens_from_when_it_is_expected_and_the_last_one_a_while_longer() -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    late, straggler = body_of(sealer, 1), body_of(sealer, 2)
    sealer.rekey(NEXT)
    first = body_of(sealer, 3)
    assert opener.open(first) is None, "not expected yet"
    opener.expect(NEXT)
    assert opener.epoch == 0
    assert opener.open(first) == bytes([3]) * CONTENT_SIZE
    assert opener.epoch == 1
    assert opener.open(late) == bytes([1]) * CONTENT_SIZE
    for _ in range(WINDOW_SIZE + 1):
        assert opener.open(body_of(sealer)) is not None
    assert opener._previous is None
    assert opener.open(straggler) is None
    assert (opener.counters["not_authentic"], opener.counters["replayed"]) == (2, 0)


def test_what_was_opened_in_one_epoch_opens_in_no_other() -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    old = body_of(sealer)
    assert opener.open(old) is not None
    opener.expect(NEXT)
    assert opener.open(old) is None
    sealer.rekey(NEXT)
    new = body_of(sealer)
    assert opener.open(new) is not None
    assert opener.open(new) is None
    assert opener.open(old) is None
    assert opener.counters["replayed"] == 3


def test_the_counter_goes_on_over_epochs_so_that_nothing_on_the_wire_begins_anew() -> None:
    sealer, opener = EndToEndSealer(KEY), EndToEndOpener(KEY)
    opener.open(body_of(sealer))
    opener.expect(NEXT)
    sealer.rekey(NEXT)
    assert sealer.counter == 1
    for _ in range(3):
        body_of(sealer)
    assert opener.open(body_of(sealer)) is not None
    assert opener.lost == 3


def test_misuse() -> None:
    with pytest.raises(MisuseError):
        EndToEndSealer(bytes(16))
    with pytest.raises(MisuseError):
        EndToEndSealer(KEY).seal(b"short")
