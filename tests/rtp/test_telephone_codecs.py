"""G.711 and G.722: against FFmpeg, which is another implementation, and against themselves."""

from typing import Literal

import av
import numpy as np
import pytest

from relay.core import MisuseError
from relay.rtp.telephone_codecs import Codec, PhoneFormat, coder

BYTES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype("<i2")
LAWS = pytest.mark.parametrize(("codec", "name"), [(Codec.PCMU, "pcm_mulaw"), (Codec.PCMA, "pcm_alaw")])


def ffmpegs(name: Literal["pcm_alaw", "pcm_mulaw"]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    context = av.CodecContext.create(name, "r")
    context.sample_rate, context.layout = 8000, "mono"
    return np.asarray(context.decode(av.Packet(BYTES))[0].to_ndarray().reshape(-1), dtype=np.int16)


@LAWS
def test_every_byte_means_what_ffmpeg_says(codec: Codec, name: Literal["pcm_alaw", "pcm_mulaw"]) -> None:
    assert np.array_equal(np.frombuffer(coder(codec).decode(BYTES), "<i2"), ffmpegs(name))


@LAWS
def test_every_sample_gets_the_nearest_level(codec: Codec, name: Literal["pcm_alaw", "pcm_mulaw"]) -> None:
    levels = ffmpegs(name).astype(np.int64)
    coded = np.frombuffer(coder(codec).encode(ALL_SAMPLES.tobytes()), np.uint8)
    error = np.abs(levels[coded] - ALL_SAMPLES)
    nearest = np.min(np.abs(levels[:, None] - ALL_SAMPLES[None, ::97].astype(np.int64)), axis=0)
    assert np.array_equal(error[::97], nearest)


@LAWS
def test_every_byte_comes_back(codec: Codec, name: Literal["pcm_alaw", "pcm_mulaw"]) -> None:
    code = coder(codec)
    came = code.encode(code.decode(BYTES))
    # The mu law has two zeros, of which silence is the one.
    assert [(a, b) for a, b in zip(BYTES, came, strict=True) if a != b] == (
        [(0x7F, 0xFF)] if codec is Codec.PCMU else []
    )


def test_silence_is_what_telephones_call_silence() -> None:
    assert coder(Codec.PCMU).encode(bytes(4)) == b"\xff\xff"
    assert coder(Codec.PCMA).encode(bytes(4)) == b"\xd5\xd5"


def test_g722_keeps_a_tone_and_its_sizes() -> None:
    code = coder(Codec.G722)
    tone = (8000 * np.sin(2 * np.pi * 3000 * np.arange(16000) / 16000)).astype("<i2").tobytes()
    heard = b""
    for at in range(0, len(tone), 640):
        coded = code.encode(tone[at : at + 640])
        assert len(coded) == 160
        heard += code.decode(coded)
    assert len(heard) == len(tone)
    loud = np.abs(np.fft.rfft(np.frombuffer(heard, "<i2")[8000:].astype(float)))
    assert int(np.argmax(loud)) * 2 == 3000


@pytest.mark.parametrize("codec", [Codec.G722, Codec.PCMA, Codec.PCMU])
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60])
def test_packets_of_every_length_are_decoded(codec: Codec, milliseconds: int) -> None:
    assert len(coder(codec).decode(bytes(8 * milliseconds))) == 2 * codec.rate * milliseconds // 1000


def test_opus_has_no_coder_here_and_is_not_transcoded() -> None:
    with pytest.raises(MisuseError):
        coder(Codec.OPUS)
    assert not PhoneFormat(96).transcoded
    assert PhoneFormat(0, Codec.PCMU).transcoded
    assert (Codec.G722.rate, Codec.G722.clock_rate) == (16_000, 8_000)
