"""Delay and correlation come out as they were put in, whatever else the recording holds."""

import os
from pathlib import Path

import numpy as np
import pytest

from relay.core import MisuseError
from relay.lab.audio import Sound, compare, envelope, read_wav, resample, speech_mask, write_wav
from relay.lab.speech import Speech, build_speech, sounds_directory

RATE = 48_000


@pytest.fixture(scope="module")
def speech() -> Speech:
    return build_speech("english", 16, sounds_directory(os.environ))


def heard_after(sound: Sound, delay: float, *, gain: float = 1.0, noise: float = 0.0) -> Sound:
    generator = np.random.default_rng(7)
    samples = (
        gain * sound.samples + generator.normal(0, noise, len(sound.samples))
        if noise
        else gain * sound.samples
    )
    return Sound(samples, sound.rate, sound.start + delay)


def tone(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 0.2 * np.sin(2 * np.pi * 425 * np.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize("delay", [0.0, 0.0213, 0.150, 0.742])
def test_a_known_delay_is_found(speech: Speech, delay: float) -> None:
    found = compare(speech.sound, heard_after(speech.sound, delay))
    assert found is not None
    assert found.delay_ms == pytest.approx(delay * 1000, abs=0.1)
    assert found.correlation > 0.999
    assert found.gain == pytest.approx(1.0, abs=0.01)


def test_gain_does_not_count_and_noise_does(speech: Speech) -> None:
    quiet = compare(speech.sound, heard_after(speech.sound, 0.1, gain=0.2))
    noisy = compare(speech.sound, heard_after(speech.sound, 0.1, noise=0.5))
    assert quiet is not None
    assert noisy is not None
    assert quiet.correlation > 0.999
    assert quiet.gain == pytest.approx(0.2, abs=0.01)
    assert noisy.correlation < 0.7
    assert noisy.delay_ms == pytest.approx(100, abs=1)


def test_tones_before_and_after_do_not_disturb(speech: Speech) -> None:
    """As a caller hears it: a waiting tone, the other side from the middle of a word on, a hang-up tone."""
    delay, first, last = 0.180, 5.0, 12.0
    begin, end = round(first * RATE), round(last * RATE)
    samples = np.concatenate([tone(first), speech.sound.samples[begin:end], tone(3.0)])
    found = compare(speech.sound, Sound(samples, RATE, speech.sound.start + delay))
    assert found is not None
    assert found.delay_ms == pytest.approx(180, abs=0.5)
    assert found.correlation > 0.8


def test_sound_that_was_lost_in_the_middle_counts(speech: Speech) -> None:
    samples = speech.sound.samples.copy()
    samples[round(5.2 * RATE) : round(11 * RATE)] = np.random.default_rng(2).normal(0, 0.1, round(5.8 * RATE))
    found = compare(speech.sound, Sound(samples, RATE, speech.sound.start + 0.1))
    assert found is not None
    assert found.correlation < 0.8


def test_only_the_time_asked_for_counts(speech: Speech) -> None:
    samples = speech.sound.samples.copy()
    samples[round(8 * RATE) :] *= np.random.default_rng(2).normal(0, 1, len(samples) - round(8 * RATE))
    heard = Sound(samples, RATE, speech.sound.start + 0.1)
    begin = speech.sound.start
    early = compare(speech.sound, heard, between=(begin, begin + 8))
    assert early is not None
    assert early.correlation > 0.99
    assert early.compared_seconds < 7
    assert compare(speech.sound, heard, between=(begin + 100, begin + 101)) is None


def test_a_playout_buffer_that_moves_is_followed(speech: Speech) -> None:
    middle = len(speech.sound.samples) // 2
    pause = np.zeros(round(0.040 * RATE))
    samples = np.concatenate([speech.sound.samples[:middle], pause, speech.sound.samples[middle:]])
    found = compare(speech.sound, Sound(samples, RATE, speech.sound.start + 0.100))
    assert found is not None
    assert found.correlation > 0.95
    assert 100 <= found.delay_ms <= 140
    assert found.delay_p95_ms == pytest.approx(140, abs=0.5)


def test_another_voice_is_not_found_alike(speech: Speech) -> None:
    other = build_speech("french", 16, sounds_directory(os.environ))
    found = compare(speech.sound, Sound(other.sound.samples, RATE, speech.sound.start + 0.1))
    assert found is None or found.correlation < 0.4


def test_silence_is_nothing_to_compare(speech: Speech) -> None:
    silence = Sound(np.zeros(RATE), RATE, speech.sound.start)
    assert compare(speech.sound, silence) is None
    assert compare(silence, speech.sound) is None
    assert compare(speech.sound, Sound(np.zeros(0), RATE)) is None


def test_wav_files_round_trip(tmp_path: Path) -> None:
    sound = Sound(np.round(np.random.default_rng(1).uniform(-0.9, 0.9, 999) * 32767) / 32768, 8000)
    write_wav(tmp_path / "a.wav", sound)
    back = read_wav(tmp_path / "a.wav")
    assert back.rate == 8000
    assert np.max(np.abs(back.samples - sound.samples)) < 1 / 16000


def test_what_is_no_wav_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(MisuseError):
        read_wav(tmp_path / "a.wav")


def test_resampling_keeps_time_and_level() -> None:
    low = Sound(np.sin(2 * np.pi * 400 * np.arange(8000) / 8000), 8000, start=5.0)
    high = resample(low, RATE)
    assert (high.rate, high.start, high.seconds) == (RATE, 5.0, 1.0)
    times, levels = envelope(high)
    assert times[0] == pytest.approx(5.01)
    assert levels[10:40] == pytest.approx(np.full(30, 1 / np.sqrt(2)), rel=0.01)


def test_speech_is_marked_where_it_was_put(speech: Speech) -> None:
    mask = speech_mask(speech.sound)
    times, _ = envelope(speech.sound)
    begin, end = speech.spoken[1]
    before = speech.spoken[0][1]
    assert mask[(times > begin) & (times < end)].mean() > 0.7
    assert not mask[(times > before + 0.2) & (times < begin - 0.05)].any()
