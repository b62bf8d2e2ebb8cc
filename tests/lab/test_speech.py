"""Microphone files hold real speech of the wanted length, level and gaps."""

import os
from pathlib import Path

import numpy as np
import pytest

from relay.core import TransportUnavailable
from relay.lab.speech import MICROPHONE_RATE, Voice, build_speech, sounds_directory


@pytest.mark.parametrize("voice", ["english", "french"])
def test_speech_and_silence_lie_where_stated(voice: Voice) -> None:
    speech = build_speech(voice, 20, sounds_directory(os.environ), gap=1.0)
    assert len(speech.sound.samples) == 20 * MICROPHONE_RATE
    silent = np.ones(len(speech.sound.samples), dtype=bool)
    for begin, end in speech.spoken:
        first, last = round(begin * MICROPHONE_RATE), round(end * MICROPHONE_RATE)
        silent[first:last] = False
        if end < 20:
            assert np.sqrt(np.mean(speech.sound.samples[first:last] ** 2)) == pytest.approx(0.1, abs=0.02)
    assert not speech.sound.samples[silent].any()
    assert 0.4 < (~silent).mean() < 0.9
    gaps = [after[0] - before[1] for before, after in zip(speech.spoken, speech.spoken[1:], strict=False)]
    assert gaps
    assert gaps == pytest.approx([1.0] * len(gaps), abs=1e-3)


def test_long_speech_repeats() -> None:
    speech = build_speech("french", 300, sounds_directory(os.environ))
    assert speech.spoken[-1][1] > 290


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(TransportUnavailable, match="asterisk-core-sounds"):
        sounds_directory({"BAYONNE_SOUNDS": str(tmp_path / "none")})
    with pytest.raises(TransportUnavailable, match="asterisk-core-sounds"):
        build_speech("english", 1, sounds_directory({"BAYONNE_SOUNDS": str(tmp_path)}))
