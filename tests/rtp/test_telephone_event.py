"""Keys pressed: four bytes of which only key, duration and end go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.rtp.telephone_event import LAST_EVENT, TelephoneEvent

events = st.builds(TelephoneEvent, st.integers(0, LAST_EVENT), st.integers(0, 0xFFFF), st.booleans())


@given(events)
def test_round_trip(event: TelephoneEvent) -> None:
    assert TelephoneEvent.parse(event.to_bytes()) == event


@given(st.binary(max_size=12), st.sampled_from([8000, 16000, 48000]))
def test_hostile_payloads_are_the_peers_fault(payload: bytes, clock: int) -> None:
    try:
        event = TelephoneEvent.parse(payload, clock)
    except PeerError:
        assert len(payload) < 4 or payload[0] > LAST_EVENT
        return
    assert len(event.to_bytes(clock)) == 4


def test_the_layout_of_rfc_4733_section_2_3() -> None:
    # Key 5, let go, volume 10, 800 steps of 8 kHz: the example of section 5 has this form.
    assert TelephoneEvent(5, 800, end=True).to_bytes() == bytes((5, 0x80 | 10, 3, 32))


def test_durations_change_with_the_clock_and_never_overflow() -> None:
    event = TelephoneEvent.parse(bytes((1, 0, 0x12, 0xC0)), 48_000)
    assert event.duration == 800
    assert TelephoneEvent(1, 60_000).to_bytes(48_000)[2:] == b"\xff\xff"


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"\x01\x0a\x00", "truncated"), (b"\x10\x0a\x00\x00", "not a key")]
)
def test_what_is_no_key(payload: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as error:
        TelephoneEvent.parse(payload)
    assert error.value.reason == reason
