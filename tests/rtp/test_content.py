"""The content of a cell: constant size, voice first, nothing spliced, nothing unbounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError
from relay.rtp.cell import CONTENT_SIZE
from relay.rtp.content import (
    MAX_DATAGRAM,
    MAX_EVENTS_QUEUED,
    MAX_QUEUED,
    MAX_VOICE_SIZE,
    MAX_ZRTP_QUEUED,
    STALE_AFTER,
    STANDING_CELLS,
    ContentPacker,
    ContentUnpacker,
    Datagram,
    Kind,
)

OTHER = [Kind.CONTROL, Kind.RTCP, Kind.ZRTP]
VOICE = bytes(range(84))


def _drain(packer: ContentPacker) -> list[bytes]:
    contents = []
    while not packer.idle:
        contents.append(packer.next())
    return contents


def _receive(contents: list[bytes], unpacker: ContentUnpacker | None = None) -> list[Datagram]:
    unpacker = unpacker or ContentUnpacker()
    return [datagram for content in contents for datagram in unpacker.receive(content, 0.0)]


def test_a_voice_frame_fits_one_cell_and_leaves_room() -> None:
    packer = ContentPacker()
    packer.offer_voice(VOICE)
    packer.offer_control(b"hang up")
    content = packer.next()
    assert len(content) == CONTENT_SIZE
    assert packer.idle
    assert _receive([content]) == [Datagram(Kind.VOICE, VOICE), Datagram(Kind.CONTROL, b"hang up")]


def test_an_idle_content_is_zeros_of_the_same_size() -> None:
    assert ContentPacker().next() == bytes(CONTENT_SIZE)
    assert _receive([bytes(CONTENT_SIZE)]) == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(OTHER), st.binary(min_size=1, max_size=1500)), max_size=6),
    st.lists(st.binary(min_size=1, max_size=MAX_VOICE_SIZE), max_size=2),
)
def test_what_was_offered_arrives_in_order_by_kind(
    others: list[tuple[Kind, bytes]], voices: list[bytes]
) -> None:
    packer = ContentPacker()
    for voice in voices:
        packer.offer_voice(voice)
    for kind, data in others:
        assert packer.offer(kind, data)
    contents = _drain(packer)
    assert {len(content) for content in contents} <= {CONTENT_SIZE}
    received = _receive(contents)
    assert [d.data for d in received if d.kind is Kind.VOICE] == voices
    assert [(d.kind, d.data) for d in received if d.kind is not Kind.VOICE] == others


def test_control_travels_beside_speech_without_delaying_it() -> None:
    packer, unpacker = ContentPacker(), ContentUnpacker()
    packer.offer_control(bytes(range(250)))
    arrived = []
    for number in range(20):
        packer.offer_voice(VOICE[:83] + bytes([number]))
        arrived.append(unpacker.receive(packer.next(), 0.0))
    assert all(any(d.kind is Kind.VOICE and d.data[-1] == n for d in got) for n, got in enumerate(arrived))
    assert [d.data for got in arrived for d in got if d.kind is Kind.CONTROL] == [bytes(range(250))]


def test_at_most_two_voice_frames_wait_and_the_oldest_goes() -> None:
    packer = ContentPacker()
    for number in range(5):
        packer.offer_voice(bytes([number]) * 84)
    assert packer.counters["voice_dropped"] == 3
    assert [d.data[0] for d in _receive(_drain(packer))] == [3, 4]


def test_voice_that_is_too_large_or_empty_is_counted() -> None:
    packer = ContentPacker()
    packer.offer_voice(bytes(MAX_VOICE_SIZE + 1))
    packer.offer_voice(b"")
    assert packer.idle
    assert packer.counters["voice_oversized"] == 2


def test_a_sixty_millisecond_packet_takes_two_cells() -> None:
    packer = ContentPacker()
    packer.offer_voice(bytes(range(192)))
    contents = _drain(packer)
    assert len(contents) == 2
    assert _receive(contents) == [Datagram(Kind.VOICE, bytes(range(192)))]


def test_the_control_queue_is_bounded_and_says_so() -> None:
    packer = ContentPacker()
    accepted = [packer.offer_control(bytes(MAX_DATAGRAM)) for _ in range(10)]
    assert accepted.count(True) == MAX_QUEUED // MAX_DATAGRAM
    assert packer.counters["queue_full"] == accepted.count(False)
    _drain(packer)
    assert packer.offer_control(bytes(MAX_DATAGRAM))


def test_misuse() -> None:
    with pytest.raises(MisuseError):
        ContentPacker().offer_control(bytes(MAX_DATAGRAM + 1))
    with pytest.raises(MisuseError):
        ContentPacker().offer_control(b"")
    with pytest.raises(MisuseError):
        ContentPacker().offer(Kind.VOICE, b"x")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=100, max_size=900), min_size=1, max_size=8),
    st.sets(st.integers(0, 80)),
)
def test_lost_cells_lose_datagrams_but_never_splice_them(datagrams: list[bytes], lost: set[int]) -> None:
    packer = ContentPacker()
    for number, data in enumerate(datagrams):
        packer.offer_control(bytes([number]) * len(data))
    contents = [content for index, content in enumerate(_drain(packer)) if index not in lost]
    sent = [bytes([number]) * len(data) for number, data in enumerate(datagrams)]
    received = [d.data for d in _receive(contents)]
    remaining = iter(sent)
    assert all(data in remaining for data in received), "in order, each as it was sent"


def test_a_stale_half_datagram_is_given_up() -> None:
    packer, unpacker = ContentPacker(), ContentUnpacker()
    packer.offer_control(bytes(200))
    first, second = _drain(packer)
    assert unpacker.receive(first, 0.0) == []
    assert unpacker.receive(second, STALE_AFTER + 0.1) == []
    assert unpacker.counters["incomplete"] == 1


def test_reassembly_is_bounded() -> None:
    unpacker = ContentUnpacker()
    for number in range(1000):
        flags = 0x80 if number == 0 else 0
        content = bytes([Kind.ZRTP | flags, 108, number & 0xFF]) + bytes(108)
        assert unpacker.receive(content, 0.0) == []
    assert unpacker.counters["oversized"] == 1
    assert sum(len(partial.data) for partial in unpacker._partial.values()) <= MAX_DATAGRAM * len(Kind)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=CONTENT_SIZE))
def test_noise_is_counted_and_never_raises(content: bytes) -> None:
    unpacker = ContentUnpacker()
    for datagram in unpacker.receive(content, 0.0):
        assert 0 < len(datagram.data) <= MAX_DATAGRAM


@pytest.mark.parametrize(
    "content",
    [
        b"\xc1",
        b"\xc1\x00",
        b"\xc1\x05abc",
        b"\xf1\x01a",
        b"\xc8\x01a",
        b"\x81\x05\x00a",
        b"\x00\x01",
        b"\xc1\x01a\x00\x00\x01",
    ],
)
def test_a_malformed_content_is_counted(content: bytes) -> None:
    unpacker = ContentUnpacker()
    unpacker.receive(content, 0.0)
    assert unpacker.counters["malformed"] == 1


def test_a_standing_frame_is_given_up_after_a_second_and_a_moving_one_never() -> None:
    late = ContentPacker()
    late.offer_voice(VOICE)
    for _ in range(STANDING_CELLS):
        late.offer_voice(VOICE)
        late.next()
    assert late.counters["voice_trimmed"] == 1
    late.offer_voice(VOICE)
    late.next()
    assert late.idle, "from here on each frame leaves with the next cell"
    punctual = ContentPacker()
    for _ in range(10 * STANDING_CELLS):
        punctual.offer_voice(VOICE)
        punctual.next()
    assert punctual.counters["voice_trimmed"] == 0


def test_keys_pressed_ride_beside_the_voice_and_never_crowd_out_what_ends_the_call() -> None:
    packer = ContentPacker()
    for number in range(MAX_EVENTS_QUEUED + 5):
        packer.offer_event(bytes([number]) * 16)
    assert packer.counters["events_dropped"] == 5
    assert packer.offer_control(b"BYE")
    unpacker, kinds = ContentUnpacker(), []
    for _ in range(MAX_EVENTS_QUEUED + 1):
        packer.offer_voice(bytes(72))
        content = packer.next()
        assert len(content) == CONTENT_SIZE
        kinds += [datagram.kind for datagram in unpacker.receive(content, 0.0)]
    assert kinds.count(Kind.VOICE) == MAX_EVENTS_QUEUED + 1, "no voice is put off for a key"
    assert kinds.count(Kind.EVENT) == MAX_EVENTS_QUEUED
    assert kinds.count(Kind.CONTROL) == 1
    assert packer.idle


def test_a_flood_of_zrtp_keeps_nothing_else_out() -> None:
    packer, unpacker = ContentPacker(), ContentUnpacker()
    for _ in range(MAX_ZRTP_QUEUED + 5):
        packer.offer_zrtp(bytes(500))
    packer.offer_zrtp(b"")
    packer.offer_zrtp(bytes(MAX_DATAGRAM + 1))
    assert packer.counters["zrtp_dropped"] == 7
    assert packer.offer_control(b"BYE")
    kinds = []
    while not packer.idle:
        packer.offer_voice(VOICE[:82])
        content = packer.next()
        assert len(content) == CONTENT_SIZE
        kinds += [datagram.kind for datagram in unpacker.receive(content, 0.0)]
        if Kind.CONTROL in kinds:
            break
    assert kinds.count(Kind.ZRTP) == MAX_ZRTP_QUEUED
    packer.offer_zrtp(bytes(500))
    assert packer.counters["zrtp_dropped"] == 7, "there is room again"


def test_what_is_in_no_hurry_is_overtaken() -> None:
    packer, unpacker = ContentPacker(), ContentUnpacker()
    assert packer.offer(Kind.REKEY, bytes(range(250)) * 5)
    first = packer.next()
    packer.offer_voice(VOICE)
    packer.offer_control(b"hang up")
    contents = [first, *(packer.next() for _ in range(13))]
    arrived = [unpacker.receive(content, 0.0) for content in contents]
    assert arrived[1] == [Datagram(Kind.VOICE, VOICE), Datagram(Kind.CONTROL, b"hang up")]
    assert [d.data for got in arrived[2:] for d in got] == [bytes(range(250)) * 5]
    assert packer.idle


def test_new_keys_that_find_no_room_never_keep_a_farewell_out() -> None:
    """A phone whose frames fill every cell: the offer is said again and again, and cannot leave."""
    packer, unpacker = ContentPacker(), ContentUnpacker()
    offer = bytes(range(1, 251)) * 5
    taken = 0
    for number in range(15_000):
        if number % 150 == 0:
            taken += packer.offer(Kind.REKEY, offer)
        packer.offer_voice(bytes(CONTENT_SIZE - 4))
        packer.next()
    assert taken == 1
    assert packer.offer_control(b"BYE")
    arrived = [found for _ in range(20) for found in unpacker.receive(packer.next(), 0.0)]
    assert [found for found in arrived if found.kind is not Kind.VOICE] == [
        Datagram(Kind.CONTROL, b"BYE"),
        Datagram(Kind.REKEY, offer),
    ]
    assert packer.idle


def test_a_signature_is_in_no_hurry_at_all_and_one_waits() -> None:
    packer = ContentPacker()
    signature, offer, bye = bytes(range(256)) * 8, bytes(range(250)) * 5, b"BYE" * 100
    assert packer.offer(Kind.SIGNATURE, signature)
    assert not packer.offer(Kind.SIGNATURE, b"another one")
    contents = [packer.next() for _ in range(3)]
    assert packer.offer(Kind.REKEY, offer)
    assert packer.offer_control(bye)
    contents += _drain(packer)
    assert all(len(content) == CONTENT_SIZE for content in contents)
    assert _receive(contents) == [
        Datagram(Kind.CONTROL, bye),
        Datagram(Kind.REKEY, offer),
        Datagram(Kind.SIGNATURE, signature),
    ]
    assert packer.offer(Kind.SIGNATURE, b"another one")
