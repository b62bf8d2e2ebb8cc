"""What a softphone's mouth said and what its ear heard, both on the machine's monotonic clock.

baresip without a sound card paces its microphone in real time but plays to nowhere.  Its `sndfile` filter
writes every microphone frame as it is encoded and every received frame as it is decoded, one write(2) each;
`GrowthWatch` dates them.

- **Mouth.**  A frame of 20 ms leaves the microphone when its last sample was spoken, so its first sample
  was spoken 20 ms before the frame appeared.  baresip paces frames without drift; the earliest of all the
  frames' dates fixes the start, because a frame can only be seen late.
- **Ear.**  Decoded frames pass through a model of the sound card that is missing, with the playout buffer that
  baresip has by default (`audio_buffer 20-160`): it starts, and starts again after it ran dry, at 20 ms, drops
  its oldest sound above 160 ms, and never shrinks by itself.  The card reads blocks of 20 ms; a listener hears
  a block from the moment it is read.  Lost and late frames become the silence that a listener would hear.

Mouth-to-ear delay so defined contains the microphone's frame, both codecs, the network and the playout
buffer; not the analogue side of a sound card.
"""

from dataclasses import dataclass

import numpy as np

from relay.lab.audio import Sound, from_pcm
from relay.lab.growth import Growth

WAV_HEADER_SIZE = 44
_RATE_AT = 24
FRAME = 0.020
PLAYOUT_START = 0.020
PLAYOUT_LIMIT = 0.160


@dataclass(frozen=True, slots=True)
class DatedFrames:
    """PCM as it appeared: `arrivals` holds (time, number of samples that had appeared by then)."""

    sound: Sound
    arrivals: tuple[tuple[float, int], ...]


def dated_frames(growth: Growth) -> DatedFrames:
    """Read a dump file (16-bit mono, at its codec's rate) together with the times at which it grew."""
    data = growth.path.read_bytes()
    rate = int.from_bytes(data[_RATE_AT : _RATE_AT + 4], "little")
    samples = from_pcm(data[WAV_HEADER_SIZE:])
    arrivals = [
        (at, min((size - WAV_HEADER_SIZE) // 2, len(samples)))
        for at, size in growth.seen
        if size > WAV_HEADER_SIZE + 1
    ]
    return DatedFrames(Sound(samples, rate), tuple(arrivals))


def as_spoken(frames: DatedFrames) -> Sound:
    """The microphone's sound, its start set to when its first sample was spoken."""
    if not frames.arrivals:
        return Sound(np.zeros(0), frames.sound.rate)
    start = min(at - count / frames.sound.rate for at, count in frames.arrivals)
    return Sound(frames.sound.samples, frames.sound.rate, start)


def as_heard(
    frames: DatedFrames, *, playout_start: float = PLAYOUT_START, playout_limit: float = PLAYOUT_LIMIT
) -> Sound:
    """The ear's sound as the modelled sound card plays it."""
    rate = frames.sound.rate
    if not frames.arrivals:
        return Sound(np.zeros(0), rate)
    block, enough, limit = (round(seconds * rate) for seconds in (FRAME, playout_start, playout_limit))
    began = frames.arrivals[0][0]
    played: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    silence = np.zeros(block)
    arrived = taken = next_arrival = 0
    filling = True
    now = began
    while next_arrival < len(frames.arrivals) or arrived - taken >= block:
        while next_arrival < len(frames.arrivals) and frames.arrivals[next_arrival][0] <= now:
            arrived = frames.arrivals[next_arrival][1]
            next_arrival += 1
        taken = max(taken, arrived - limit)
        waiting = arrived - taken
        if filling and (waiting >= enough or next_arrival == len(frames.arrivals)):
            filling = False
        if filling or waiting < block:
            filling = True
            played.append(silence)
        else:
            played.append(frames.sound.samples[taken : taken + block])
            taken += block
        now = began + len(played) * FRAME
    return Sound(np.concatenate(played) if played else np.zeros(0), rate, began)
