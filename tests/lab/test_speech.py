"""Microphone files hold real speech of the wanted length, level and gaps."""

import os
from pathlib import Path

import numpy as np
import pytest

from relay.core import SeededEntropy, TransportUnavailable
from relay.lab.speech import MICROPHONE_RATE, Voice, build_random_speech, build_speech, sounds_directory


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


def test_a_coin_decides_every_second() -> None:
    speech = build_random_speech("english", 60.5, sounds_directory(os.environ), SeededEntropy(3))
    marked = np.zeros(60, dtype=bool)
    for begin, end in speech.spoken:
        assert begin == int(begin)
        assert end == int(end)
        marked[int(begin) : int(end)] = True
    seconds = speech.sound.samples[: 60 * MICROPHONE_RATE].reshape(60, MICROPHONE_RATE)
    levels = np.sqrt(np.mean(seconds**2, axis=1))
    assert (levels[marked] > 0.03).all()
    assert not levels[~marked].any()
    assert 20 <= marked.sum() <= 40
    again = build_random_speech("english", 60.5, sounds_directory(os.environ), SeededEntropy(4))
    assert again.spoken != speech.spoken


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(TransportUnavailable, match="asterisk-core-sounds"):
        sounds_directory({"BAYONNE_SOUNDS": str(tmp_path / "none")})
    with pytest.raises(TransportUnavailable, match="asterisk-core-sounds"):
        build_speech("english", 1, sounds_directory({"BAYONNE_SOUNDS": str(tmp_path)}))
