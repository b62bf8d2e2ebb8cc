"""Sound as arrays: WAV files, resampling, and how late and how faithfully an ear heard what a mouth said."""

import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

from relay.core import MisuseError

Samples = NDArray[np.float64]

COMPARISON_RATE = 16_000
_SPEECH_BAND = (150.0, 3400.0)
_WINDOW = 0.5
_HOP = 0.25
_FOUND = 0.5
_WANDER = 0.080
"""How far, in seconds, one window's delay may lie from the whole recording's: a playout buffer moves."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono sound: samples in [-1, 1], their rate in Hz, the time of the first one (seconds, any clock)."""

    samples: Samples
    rate: int
    start: float = 0.0

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an ear's recording relates to a mouth's.

    `delay_ms` is the median over the windows that hold speech, `delay_p95_ms` their 95th percentile;
    `correlation` is the normalised correlation over all of them together, in [-1, 1], after each was aligned;
    `gain` is heard over spoken; `compared_seconds` is how much speech the figures stand on.
    """

    delay_ms: float
    delay_p95_ms: float
    correlation: float
    gain: float
    compared_seconds: float


def read_wav(path: Path) -> Sound:
    """Read 16-bit PCM, mono or mixed down to it.  Raises `MisuseError` for anything else."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise MisuseError(f"{path.name}: not a WAV file this program can read ({error})") from None
    if width != 2:
        raise MisuseError(f"{path.name}: only 16-bit PCM is read")
    return Sound(from_pcm(data, channels), rate)


def from_pcm(data: bytes, channels: int = 1) -> Samples:
    """Little-endian 16-bit PCM as mono samples."""
    whole = len(data) - len(data) % (2 * channels)
    values = np.frombuffer(data[:whole], dtype="<i2").astype(np.float64) / 32768.0
    mono: Samples = values.reshape(-1, channels).mean(axis=1)
    return mono


def to_pcm(samples: Samples) -> bytes:
    """Mono samples as little-endian 16-bit PCM, clipped."""
    return np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2").tobytes()


def write_wav(path: Path, sound: Sound) -> None:
    """Write 16-bit mono PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(to_pcm(sound.samples))


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound at another rate (polyphase filter, no shift in time)."""
    if sound.rate == rate:
        return sound
    common = math.gcd(sound.rate, rate)
    samples = resample_poly(sound.samples, rate // common, sound.rate // common)
    return Sound(np.asarray(samples, dtype=np.float64), rate, sound.start)


def envelope(sound: Sound, step: float = 0.020) -> tuple[Samples, Samples]:
    """Times (of the middle of each step) and root mean square per step."""
    size = max(1, round(step * sound.rate))
    count = len(sound.samples) // size
    blocks = sound.samples[: count * size].reshape(count, size)
    times: Samples = sound.start + (np.arange(count) + 0.5) * size / sound.rate
    return times, np.asarray(np.sqrt(np.mean(blocks**2, axis=1)), dtype=np.float64)


def speech_mask(sound: Sound, step: float = 0.020, hangover: float = 0.100) -> NDArray[np.bool_]:
    """True for each step in which somebody speaks: above 35 dB below the loudest, held for `hangover`."""
    _, levels = envelope(sound, step)
    if not len(levels) or levels.max() <= 0:
        return np.zeros(len(levels), dtype=np.bool_)
    loud = levels > levels.max() * 10 ** (-35 / 20)
    held = np.convolve(loud, np.ones(1 + round(hangover / step)))[: len(loud)] > 0
    return np.asarray(held, dtype=np.bool_)


def compare(
    spoken: Sound,
    heard: Sound,
    *,
    between: tuple[float, float] = (-math.inf, math.inf),
    longest_delay: float = 1.0,
) -> Comparison | None:
    """Find what was spoken in what was heard.  Both sounds' `start` must be on one clock.

    First one delay for the whole recording, by cross-correlation over lags in [0, longest_delay] seconds;
    then the delay near it and the correlation in every window that holds speech and was spoken within
    `between` (times of the mouth).  Windows before the first and after the last one that is found in the
    ear at all do not count (nobody was connected yet, or any more); every window between those two counts,
    found or not. None when the two share no speech.
    """
    mouth, ear, begin = _on_one_grid(spoken, heard, longest_delay)
    if not np.any(mouth) or not np.any(ear):
        return None
    overall = _best_lag(mouth, ear, round(longest_delay * COMPARISON_RATE))
    windows = [
        _window(mouth, ear, at, overall)
        for at in _windows_with_speech(mouth)
        if between[0] <= begin + at / COMPARISON_RATE <= between[1] - _WINDOW
    ]
    found = [number for number, window in enumerate(windows) if window.correlation > _FOUND]
    if not found:
        return None
    windows = windows[found[0] : found[-1] + 1]
    cross, mouth_energy, ear_energy = (
        sum(getattr(window, name) for window in windows) for name in ("cross", "mouth_energy", "ear_energy")
    )
    delays = np.array([window.lag for window in windows]) * 1000.0 / COMPARISON_RATE
    return Comparison(
        delay_ms=round(float(np.median(delays)), 1),
        delay_p95_ms=round(float(np.percentile(delays, 95)), 1),
        correlation=round(cross / math.sqrt(mouth_energy * ear_energy), 4),
        gain=round(cross / mouth_energy, 3),
        compared_seconds=round(len(windows) * _HOP, 1),
    )


@dataclass(frozen=True, slots=True)
class _Window:
    lag: int
    cross: float
    mouth_energy: float
    ear_energy: float

    @property
    def correlation(self) -> float:
        return self.cross / math.sqrt(self.mouth_energy * self.ear_energy) if self.ear_energy > 0 else 0.0


def _windows_with_speech(mouth: Samples) -> list[int]:
    """First samples of the windows in which the mouth is not (nearly) silent."""
    size, hop = round(_WINDOW * COMPARISON_RATE), round(_HOP * COMPARISON_RATE)
    threshold = np.sqrt(np.mean(mouth[mouth != 0] ** 2)) * 0.25
    return [
        at
        for at in range(0, len(mouth) - size + 1, hop)
        if np.sqrt(np.mean(mouth[at : at + size] ** 2)) > threshold
    ]


def _window(mouth: Samples, ear: Samples, at: int, overall: int) -> _Window:
    """One window, aligned within `_WANDER` of the overall lag."""
    size, wander = round(_WINDOW * COMPARISON_RATE), round(_WANDER * COMPARISON_RATE)
    low = max(0, overall - wander)
    piece = mouth[at : at + size]
    stretch = ear[at + low : at + overall + wander + size]
    lag = low + int(np.argmax(fftconvolve(stretch, piece[::-1], mode="valid")))
    there = ear[at + lag : at + lag + size]
    return _Window(lag, float(piece @ there), float(piece @ piece), float(there @ there))


def _on_one_grid(spoken: Sound, heard: Sound, longest_delay: float) -> tuple[Samples, Samples, float]:
    """Both sounds in the speech band at the comparison's rate, from one common first sample on, and its time.

    The ear reaches further by the longest lag that is looked at, so that every lag can be read off by index.
    """
    begin = max(spoken.start, heard.start - longest_delay)
    length = max(0, round((min(spoken.end, heard.end) - begin) * COMPARISON_RATE))
    further = round((longest_delay + _WANDER) * COMPARISON_RATE)
    return _cut(spoken, begin, length), _cut(heard, begin, length + further), begin


def _cut(sound: Sound, begin: float, length: int) -> Samples:
    """`length` samples from time `begin` on, zero where the sound does not reach."""
    low = resample(sound, COMPARISON_RATE)
    cut = np.zeros(length)
    if len(low.samples) < 64 or length < 1:
        return cut
    band = sosfiltfilt(butter(4, _SPEECH_BAND, "bandpass", fs=COMPARISON_RATE, output="sos"), low.samples)
    offset = round((begin - low.start) * COMPARISON_RATE)
    first, last = max(0, offset), min(len(band), offset + length)
    if first < last:
        cut[first - offset : last - offset] = band[first:last]
    return cut


def _best_lag(mouth: Samples, ear: Samples, longest: int) -> int:
    """The lag in [0, longest] samples at which the ear resembles the mouth most."""
    return int(np.argmax(fftconvolve(ear[: len(mouth) + longest], mouth[::-1], mode="valid")))
