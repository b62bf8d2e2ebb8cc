"""The modelled path carries what is said, loses what it says, and knows good from bad without the metric."""

import numpy as np
import pytest

from bench.quality.costs import per_packet
from bench.quality.delay import parts
from bench.quality.path import Path, carry, narrow
from bench.quality.recordings import RATE, Samples
from relay.rtp import Codec

SECONDS = 3


def voice() -> Samples:
    """Harmonics that come and go, below 3 kHz."""
    at = np.arange(SECONDS * RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 150 * number * at) / number for number in range(1, 16))
    return np.asarray(0.05 * sound * (0.3 + np.clip(np.sin(2 * np.pi * 2 * at), 0, 1)))


def likeness(spoken: Samples, heard: Samples) -> float:
    """Of the two spectra over time: what a codec keeps, whatever it does to phases."""
    size = 320

    def spectra(sound: Samples) -> Samples:
        blocks = sound[: len(sound) // size * size].reshape(-1, size) * np.hanning(size)
        return np.asarray(np.abs(np.fft.rfft(blocks)))

    reference = spectra(spoken)
    best = 0.0
    for shift in range(0, 3200, 40):
        there = spectra(heard[shift:])
        rows = min(len(there), len(reference))
        best = max(best, float(np.corrcoef(reference[:rows].ravel(), there[:rows].ravel())[0, 1]))
    return best


@pytest.mark.parametrize("codec", [Codec.OPUS, Codec.G722, Codec.PCMU])
def test_what_is_said_is_heard(codec: Codec) -> None:
    spoken = voice()
    heard, lost = carry(spoken, Path(codec), seed=1)
    assert lost == 0
    assert len(heard) >= len(spoken) - 0.1 * RATE
    assert likeness(narrow(spoken) if codec is Codec.PCMU else spoken, heard) > 0.9


def test_losses_are_drawn_as_said_and_heard() -> None:
    spoken = voice()
    heard, lost = carry(spoken, Path(Codec.OPUS, 0.3, recoverable=False), seed=1)
    clean, _ = carry(spoken, Path(Codec.OPUS), seed=1)
    assert 0.2 < lost < 0.4
    assert likeness(spoken, heard) < likeness(spoken, clean) - 0.02


def test_costs_and_delays_are_numbers_of_this_world() -> None:
    assert 1.0 < per_packet() < 2000.0
    plain, translated = (sum(part.milliseconds for part in parts(translated=one)) for one in (False, True))
    assert 40.0 < plain < translated < 200.0
