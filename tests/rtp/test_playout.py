"""The jitter buffer: order, pace, losses, clocks that differ, and timestamps that a peer makes up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.rtp import RtpPacket
from relay.rtp.cell import TIMESTAMP_STEP
from relay.rtp.playout import DEPTH, GIVE_UP, MOST, Place, Playout


def packet(number: int, origin: int = 4_294_960_000) -> RtpPacket:
    """Number `number` of a voice whose timestamps are about to wrap."""
    return RtpPacket(96, number & 0xFFFF, (origin + number * TIMESTAMP_STEP) & 0xFFFFFFFF, 1, b"%d" % number)


def play(numbers: list[int | None]) -> list[Place | None]:
    """One packet (or none) and one place a tick."""
    playout = Playout()
    places = []
    for number in numbers:
        if number is not None:
            playout.put(packet(number))
        places.append(playout.take())
    return places


def frames(places: list[Place | None]) -> list[bytes | None]:
    return [place.frame for place in places if place is not None]


def test_nothing_is_played_before_two_frames_came_and_then_all_in_order() -> None:
    places = play(list(range(30)))
    assert places[: DEPTH - 1] == [None]
    assert frames(places) == [b"%d" % number for number in range(29)]


def test_frames_out_of_order_are_put_right() -> None:
    assert frames(play([0, 1, 3, 2, 4, 6, 5, 7])) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_lost_frame_shows_with_the_one_after_it() -> None:
    places = play([0, 1, 2, None, 4, 5, 6])
    lost = places[4]
    assert lost == Place(None, b"4")
    assert frames(places)[4:] == [b"4", b"5"]


def test_two_lost_in_a_row_are_guessed_then_recovered() -> None:
    places = play([0, 1, 2, None, None, 5, 6, 7])
    assert places[4:7] == [Place(None), Place(None, b"5"), Place(b"5")]


def test_a_voice_that_stops_ends_and_another_begins() -> None:
    playout = Playout()
    for number in range(3):
        playout.put(packet(number))
    places = [playout.take() for _ in range(3 + GIVE_UP)]
    assert places[-1] is None
    assert playout.take() is None
    for number in (0, 1):
        playout.put(packet(number, origin=77))
    assert playout.take() == Place(b"0")


def test_a_slower_clock_is_followed_after_a_short_gap() -> None:
    playout, heard = Playout(), []
    came = 0
    for tick in range(2000):
        # 2 % slow: more than any telephone, so that it shows in a short test.
        while came * 1.02 <= tick:
            playout.put(packet(came))
            came += 1
        heard.append(playout.take())
    missing = sum(place is None or place.frame is None for place in heard)
    assert playout.counters["late"] < 20
    assert missing < 130, "40 frames that there never were, and what it takes to fill up again"


def test_a_faster_clock_costs_a_frame_now_and_then_and_no_delay() -> None:
    playout, came = Playout(), 0
    for tick in range(2000):
        while came / 1.02 <= tick:
            playout.put(packet(came))
            came += 1
        place = playout.take()
        if place is not None and place.frame is not None:
            assert came - int(place.frame) <= MOST + 2
    assert 0 < playout.counters["skipped"] < 60


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.integers(0, 0xFFFFFFFF), st.integers(0, 100 * TIMESTAMP_STEP)), max_size=200
    )
)
def test_made_up_timestamps_hold_nothing_up(stamps: list[int | None]) -> None:
    playout = Playout()
    for stamp in stamps:
        if stamp is not None:
            playout.put(RtpPacket(96, 1, stamp, 1, b"x"))
        playout.take()
        assert len(playout._frames) <= MOST
    for number in range(200):
        playout.put(packet(number))
        place = playout.take()
    assert place is not None
    assert place.frame is not None
