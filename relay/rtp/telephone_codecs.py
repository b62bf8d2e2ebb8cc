"""The codecs that every telephone has: G.711 in both laws and G.722 (RFC 3551 sections 4.5.2 and 4.5.14).

A coder turns any whole number of bytes or samples into the other; G.711 has no memory, G.722 has, so each direction of
a call has a coder of its own.  PCM is little-endian, 16 bits, mono.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from relay.core import MisuseError

Table = NDArray[np.int64]

_MU_BIAS = 33
_SEGMENTS = 8


class Codec(Enum):
    """What a phone speaks, by its name in session descriptions."""

    OPUS = "opus"
    G722 = "G722"
    PCMA = "PCMA"
    PCMU = "PCMU"

    @property
    def rate(self) -> int:
        """Samples a second."""
        return {Codec.OPUS: 48_000, Codec.G722: 16_000}.get(self, 8_000)

    @property
    def clock_rate(self) -> int:
        """Steps of the RTP timestamp a second; G.722's is half its sampling rate, by an old mistake that stays."""
        return 48_000 if self is Codec.OPUS else 8_000


BYTES_PER_MILLISECOND = 8
"""Of G.711 and G.722 alike: 64 kbit/s."""


@dataclass(frozen=True, slots=True)
class PhoneFormat:
    """What one phone and its agent agreed on.

    `milliseconds` of sound are in each packet that the phone is sent; `event_type` is the payload type of its telephone
    events, None where it takes none, and `event_rate` their clock.
    """

    payload_type: int
    codec: Codec = Codec.OPUS
    milliseconds: int = 20
    event_type: int | None = None
    event_rate: int = 8_000

    @property
    def transcoded(self) -> bool:
        """Whether the agent has to stand between this phone's sound and the cells."""
        return self.codec is not Codec.OPUS


@dataclass(frozen=True, slots=True)
class Coder:
    """Both directions of one codec, with their memory."""

    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


def coder(codec: Codec) -> Coder:
    """A fresh coder.  Raises `MisuseError` for Opus, which is no telephone's codec of old."""
    match codec:
        case Codec.PCMU | Codec.PCMA:
            expand, compress = _tables(codec)
            return Coder(
                lambda pcm: compress[np.frombuffer(pcm, "<i2").astype(np.int64) + 32768].tobytes(),
                lambda data: expand[np.frombuffer(data, np.uint8)].tobytes(),
            )
        case Codec.G722:
            encoder, decoder = _Ffmpeg("w"), _Ffmpeg("r")
            return Coder(encoder.encode, decoder.decode)
        case Codec.OPUS:
            raise MisuseError("Opus is not coded here")


@cache
def _tables(codec: Codec) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """What each of 256 bytes means, and the byte for each of 65,536 samples (index: sample + 32,768)."""
    codes = np.arange(256)
    meant = _mu_law(codes) if codec is Codec.PCMU else _a_law(codes)
    # Of the two zeros of the mu law, the one that silence is known by.
    order = np.lexsort((-codes, meant))
    levels = meant[order]
    samples = np.arange(-32768, 32768)
    # The nearest level, which is what G.711's decision values amount to; ties go towards zero.
    above = np.clip(np.searchsorted(levels, samples), 1, 255)
    low, high = levels[above - 1], levels[above]
    down = (samples - low < high - samples) | ((samples - low == high - samples) & (samples > 0))
    nearest = np.where(down, above - 1, above)
    return meant.astype("<i2"), order[nearest].astype(np.uint8)


def _mu_law(codes: Table) -> Table:
    """ITU-T G.711 table 2: inverted bits; sign, three bits of segment, four of step; 14 bits wide, here 16."""
    plain = ~codes & 0xFF
    magnitude = ((2 * (plain & 0x0F) + _MU_BIAS) << (plain >> 4 & 0x07)) - _MU_BIAS
    return np.where(plain & 0x80, -magnitude, magnitude) * 4


def _a_law(codes: Table) -> Table:
    """ITU-T G.711 table 1: every second bit inverted; 13 bits wide, here 16."""
    plain = codes ^ 0x55
    segment, step = plain >> 4 & 0x07, plain & 0x0F
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return np.where(plain & 0x80, magnitude, -magnitude) * 8


class _Ffmpeg:
    """One direction of G.722, by FFmpeg."""

    def __init__(self, mode: Literal["r", "w"]) -> None:
        self._context = av.CodecContext.create("g722", mode)
        self._context.sample_rate = Codec.G722.rate
        self._context.layout = "mono"
        self._context.format = av.AudioFormat("s16")

    def encode(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = Codec.G722.rate
        return b"".join(bytes(packet) for packet in self._context.encode(frame))

    def decode(self, data: bytes) -> bytes:
        frames = self._context.decode(av.Packet(data))
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)
