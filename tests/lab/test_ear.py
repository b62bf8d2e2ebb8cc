"""The modelled sound card plays frames when a listener would hear them."""

import time
from pathlib import Path

import numpy as np
import pytest

from relay.core import SystemClock
from relay.lab.audio import Sound, write_wav
from relay.lab.ear import WAV_HEADER_SIZE, DatedFrames, as_heard, as_spoken, dated_frames
from relay.lab.growth import Growth, GrowthWatch

RATE = 48_000
BLOCK = 960


def frames(arrivals: list[float]) -> DatedFrames:
    """One block of 20 ms at each arrival; block k holds the value k + 1."""
    samples = np.repeat(np.arange(1.0, len(arrivals) + 1), BLOCK)
    dated = tuple((at, (k + 1) * BLOCK) for k, at in enumerate(arrivals))
    return DatedFrames(Sound(samples, RATE), dated)


def played(heard: Sound) -> list[int]:
    return [int(value) for value in heard.samples[::BLOCK]]


def test_the_mouth_spoke_a_frame_before_it_appeared_and_late_sightings_do_not_count() -> None:
    spoken = as_spoken(frames([10.020 + 0.003, 10.040 + 0.001, 10.060, 10.080 + 0.004]))
    assert spoken.start == pytest.approx(10.0)


def test_punctual_frames_wait_for_the_buffer_to_fill() -> None:
    arrivals = [5.0, *(4.999 + 0.02 * k for k in range(1, 6))]
    heard = as_heard(frames(arrivals))
    assert heard.start == 5.0
    assert played(heard) == [1, 2, 3, 4, 5, 6]
    assert played(as_heard(frames(arrivals), playout_start=0.040)) == [0, 1, 2, 3, 4, 5, 6]


def test_a_late_frame_is_heard_as_silence_and_refills_the_buffer() -> None:
    heard = as_heard(frames([0.0, 0.019, 0.039, 0.161, 0.162, 0.18]), playout_start=0.040)
    assert played(heard) == [0, 1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6]


def test_a_burst_drops_the_oldest_beyond_the_limit() -> None:
    heard = as_heard(frames([0.0, 0.019] + [0.05] * 12), playout_start=0.040)
    assert played(heard) == [0, 1, 2, *range(7, 15)]


def test_nothing_received_is_nothing_heard() -> None:
    assert as_heard(frames([])).seconds == 0
    assert as_spoken(frames([])).seconds == 0


def test_growth_is_dated(tmp_path: Path) -> None:
    write_wav(tmp_path / "before.wav", Sound(np.zeros(3), RATE))
    watch = GrowthWatch(tmp_path, SystemClock())
    wrote: list[float] = []
    try:
        with (tmp_path / "dump-enc.wav").open("wb", buffering=0) as file:
            file.write(bytes(WAV_HEADER_SIZE))
            for _ in range(5):
                time.sleep(0.02)
                wrote.append(time.monotonic())
                file.write(bytes(2 * BLOCK))
            time.sleep(0.05)
    finally:
        watch.close()
        watch.close()
    [growth] = watch.files()
    dated = dated_frames(Growth(growth.path, growth.seen))
    assert [count for _, count in dated.arrivals] == [BLOCK * (k + 1) for k in range(5)]
    late = [at - when for (at, _), when in zip(dated.arrivals, wrote, strict=True)]
    assert min(late) >= 0
    assert sorted(late)[2] < 0.005
