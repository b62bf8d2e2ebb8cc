"""Which Opus can pass untouched, and under which payload types."""

import pytest

from relay.sip.line_voice import MOST_EVENT_MAPS, NEUTRAL, LineVoice
from relay.sip.opus_offer import find_voice, line_offer
from relay.sip.sdp import Media, SessionDescription
from tests.sip.test_opus_offer import offer_of


def section(formats: str, *maps: str) -> Media:
    return Media("audio", 4000, "RTP/AVP", tuple(formats.split()), tuple(("rtpmap", one) for one in maps))


def test_linphones_keys_pass_on_whichever_clock_it_sends_them() -> None:
    line = find_voice(offer_of("linphone-5.1.65")).line
    assert line == LineVoice(96, ((99, 48_000), (100, 16_000), (101, 8_000)))
    assert line.event_rate(100) == 16_000
    assert line.event_rate(96) is None
    assert line.said_event == (101, 8_000)


@pytest.mark.parametrize("line", [NEUTRAL, LineVoice(127), LineVoice(98, ((99, 48_000), (97, 16_000)))])
def test_what_is_written_is_read_back(line: LineVoice) -> None:
    made = line_offer(line, (), address="192.0.2.1", port=9, session_id=1)
    assert LineVoice.of(SessionDescription.parse(made.to_bytes()).media[0]) == line


@pytest.mark.parametrize(
    ("formats", "maps"),
    [
        ("0 8", ()),
        ("95", ("95 opus/48000/2",)),
        ("0", ("0 opus/48000/2",)),
        ("96", ("96 opus/16000/2",)),
        ("97", ("96 opus/48000/2",)),
    ],
)
def test_without_opus_under_a_type_of_its_own_nothing_passes(formats: str, maps: tuple[str, ...]) -> None:
    assert LineVoice.of(section(formats, *maps)) is None


def test_keys_under_a_type_that_means_something_else_do_not_pass() -> None:
    line = LineVoice.of(
        section("96 13 96 97 98", "96 opus/48000/2", "13 telephone-event/8000", "97 telephone-event/44100")
    )
    assert line == LineVoice(96)
    assert line.said_event is None


def test_there_are_never_many_kinds_of_keys() -> None:
    types = range(97, 127)
    line = LineVoice.of(
        section(
            " ".join(map(str, (96, *types))), "96 opus/48000/2", *(f"{n} telephone-event/8000" for n in types)
        )
    )
    assert line is not None
    assert len(line.events) == MOST_EVENT_MAPS
