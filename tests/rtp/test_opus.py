"""Tones: every frame has the size that speech has, and they can be heard."""

import av
import numpy as np
import pytest

from relay.core import MisuseError
from relay.rtp.opus import FRAME_SIZE, HANG_UP_TONE, WAITING_TONE, Tone, encode_tone, pips


@pytest.mark.parametrize("pattern", [WAITING_TONE, HANG_UP_TONE, pips(1), pips(3)])
def test_frames_have_one_size_and_the_pattern_its_length(pattern: tuple[Tone, ...]) -> None:
    frames = encode_tone(pattern)
    assert len(frames) == sum(tone.frames for tone in pattern)
    assert {len(frame) for frame in frames} == {FRAME_SIZE}


def test_the_tone_sounds_where_the_pattern_says() -> None:
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = 48_000
    decoder.layout = "mono"
    loudness = []
    for frame in encode_tone((Tone(425.0, 20), Tone(0.0, 20))):
        for decoded in decoder.decode(av.Packet(frame)):
            loudness.append(float(np.abs(decoded.to_ndarray().astype(float)).max()))
    loud, quiet = np.median(loudness[3:18]), np.median(loudness[25:38])
    assert loud > 50 * max(quiet, 1e-6)


def test_an_empty_pattern_is_misuse() -> None:
    with pytest.raises(MisuseError):
        encode_tone(())
