"""Tones, encoded once with libopus: what a caller hears while a line opens and when a call ended (RFC 6716,
7587).

24 kbit/s, constant bit rate, 20 ms, one channel: every frame has 60 bytes, exactly as speech has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np

from relay.core import MisuseError

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960
FRAME_SIZE = 60
BIT_RATE = 24_000

_AMPLITUDE = 6000.0
_RAMP = 240
"""Samples over which a tone fades in and out: without, its edges click."""


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine of `frequency` hertz (zero: silence) for `frames` times 20 ms."""

    frequency: float
    frames: int


WAITING_TONE = (Tone(425.0, 10), Tone(0.0, 40))
"""A soft beep every second: your line is being opened."""
HANG_UP_TONE = (Tone(425.0, 12), Tone(0.0, 13))
"""Half a second of the busy cadence (ITU-T E.180): the other side is gone."""


def pips(count: int) -> tuple[Tone, ...]:
    """`count` short pips, then a pause."""
    return (Tone(950.0, 4), Tone(0.0, 6)) * count + (Tone(0.0, 40),)


def encode_tone(pattern: Sequence[Tone]) -> list[bytes]:
    """The Opus frames (60 bytes, 20 ms each) of one round of `pattern`; send them in a loop."""
    if not pattern:
        raise MisuseError("an empty tone")
    samples = np.concatenate([_wave(tone) for tone in pattern])
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = SAMPLE_RATE
    encoder.layout = "mono"
    encoder.format = av.AudioFormat("s16")
    encoder.bit_rate = BIT_RATE
    encoder.options = {"vbr": "off", "frame_duration": "20", "application": "voip"}
    frames: list[bytes] = []
    for start in range(0, len(samples), FRAME_SAMPLES):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + FRAME_SAMPLES], format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return frames[: len(samples) // FRAME_SAMPLES]


def _wave(tone: Tone) -> np.ndarray:
    count = tone.frames * FRAME_SAMPLES
    if not tone.frequency:
        return np.zeros(count, dtype=np.int16)
    wave = _AMPLITUDE * np.sin(2 * np.pi * tone.frequency * np.arange(count) / SAMPLE_RATE)
    ramp = np.linspace(0.0, 1.0, _RAMP)
    wave[:_RAMP] *= ramp
    wave[-_RAMP:] *= ramp[::-1]
    return wave.astype(np.int16)
