"""Between a telephone's sound and the 20 ms grid: one frame a tick whatever the phone does, delay that stays small."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from relay.agent.transcoder import Earpiece, Microphone
from relay.rtp import Codec, OpusDecoder, OpusEncoder, RtpPacket, coder
from relay.rtp.opus import FRAME_SIZE

CODECS = pytest.mark.parametrize("codec", [Codec.G722, Codec.PCMA, Codec.PCMU])


def tone(codec: Codec, seconds: float, pitch: float = 425.0) -> bytes:
    at = np.arange(round(seconds * codec.rate)) / codec.rate
    return (8000 * np.sin(2 * math.pi * pitch * at)).astype("<i2").tobytes()


def packets(codec: Codec, seconds: float, milliseconds: int) -> list[bytes]:
    coded = coder(codec).encode(tone(codec, seconds))
    size = 8 * milliseconds
    return [coded[at : at + size] for at in range(0, len(coded), size)]


def run(microphone: Microphone, said: list[bytes], milliseconds: int, ticks: int) -> Iterator[bytes]:
    """The phone speaks as time goes by, the agent ticks every 20 ms."""
    came = 0
    for tick in range(ticks):
        while came < len(said) and came * milliseconds <= tick * 20:
            assert microphone.put(said[came])
            came += 1
        yield microphone.tick()


def pitch_of(sound: bytes, rate: int) -> float:
    samples = np.frombuffer(sound, "<i2").astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


@CODECS
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 60])
def test_packets_of_every_length_become_one_frame_a_tick(codec: Codec, milliseconds: int) -> None:
    microphone = Microphone(codec)
    frames = list(run(microphone, packets(codec, 2.0, milliseconds), milliseconds, 100))
    assert {len(frame) for frame in frames} == {FRAME_SIZE}
    decoder = OpusDecoder(codec.rate)
    heard = b"".join(decoder.decode(frame) for frame in frames)
    assert pitch_of(heard[codec.rate :], codec.rate) == pytest.approx(425.0, abs=2.0)
    assert microphone.counters["underruns"] <= 1, "once, when the sound is over"
    assert microphone.counters["overruns"] == 0


@CODECS
def test_a_phone_that_says_nothing_is_a_frame_a_tick_all_the_same(codec: Codec) -> None:
    microphone = Microphone(codec)
    assert {len(microphone.tick()) for _ in range(50)} == {FRAME_SIZE}


def test_a_phone_whose_clock_is_fast_is_cut_and_one_whose_clock_is_slow_is_filled() -> None:
    for length, counted in ((19, "overruns"), (21, "underruns")):
        microphone = Microphone(Codec.PCMU)
        frames = list(run(microphone, [bytes(160)] * 3000, length, 2000))
        assert len(frames) == 2000
        assert 0 < microphone.counters[counted] < 60
        assert len(microphone._pcm) <= 2 * 320 + 60 * 16


def hear(earpiece: Earpiece, frames: list[bytes | None]) -> list[bytes]:
    """Each tick one packet came, or was lost."""
    heard = []
    for number, frame in enumerate(frames):
        if frame is not None:
            earpiece.put(RtpPacket(96, number, 960 * number, 1, frame))
        heard += earpiece.tick()
    return heard


def opus(seconds: float) -> list[bytes | None]:
    encoder, sound = OpusEncoder(48_000), tone(Codec.OPUS, seconds)
    return [encoder.encode(sound[at : at + 1920]) for at in range(0, len(sound), 1920)]


@CODECS
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 60])
def test_the_phone_gets_packets_of_its_own_length(codec: Codec, milliseconds: int) -> None:
    heard = hear(Earpiece(codec, milliseconds), opus(2.0))
    assert {len(packet) for packet in heard} == {8 * milliseconds}
    assert len(heard) * milliseconds >= 1900
    sound = coder(codec).decode(b"".join(heard))
    assert pitch_of(sound[codec.rate :], codec.rate) == pytest.approx(425.0, abs=2.0)


def test_lost_frames_leave_no_hole() -> None:
    frames = opus(2.0)
    for lost in range(10, 90, 9):
        frames[lost] = None
    earpiece = Earpiece(Codec.PCMA, 20)
    heard = hear(earpiece, frames)
    assert len(heard) >= 98
    sound = np.frombuffer(coder(Codec.PCMA).decode(b"".join(heard[2:])), "<i2").reshape(-1, 160)
    level = np.sqrt(np.mean(sound.astype(float) ** 2, axis=1))
    assert level.min() > 0.2 * np.median(level)
    assert earpiece.playout.counters["recovered"] == 9


def test_a_frame_of_60_ms_is_heard_once_and_whole() -> None:
    context_frames = opus(1.2)
    # Three frames of 20 ms in one packet (RFC 6716 section 3.2.5, code 3, constant size).
    bundles: list[bytes | None] = []
    for at in range(0, len(context_frames), 3):
        three = [frame for frame in context_frames[at : at + 3] if frame is not None]
        head = bytes((three[0][0] | 0x03, 3))
        bundles += [head + b"".join(frame[1:] for frame in three), None, None]
    earpiece = Earpiece(Codec.PCMU, 20)
    heard = hear(earpiece, bundles)
    assert 50 <= len(heard) <= 60
    assert earpiece.playout.counters["missing"] + earpiece.playout.counters["recovered"] <= 5


def test_garbage_in_the_place_of_opus_is_a_gap_like_any_other() -> None:
    frames = opus(1.0)
    frames[20] = b"\xff\xff\xff"
    assert len(hear(Earpiece(Codec.G722, 20), frames)) == 49


def test_a_tone_takes_the_place_of_the_voice() -> None:
    earpiece = Earpiece(Codec.PCMU, 20)
    encoder = OpusEncoder(48_000)
    beep = tone(Codec.OPUS, 1.0, 950.0)
    voice = opus(1.0)
    heard = []
    for number, frame in enumerate(voice):
        assert frame is not None
        earpiece.put(RtpPacket(96, number, 960 * number, 1, frame))
        heard += earpiece.tone(encoder.encode(beep[1920 * number : 1920 * (number + 1)]))
        assert earpiece.tick() == []
    sound = coder(Codec.PCMU).decode(b"".join(heard))
    assert pitch_of(sound[8000:], 8000) == pytest.approx(950.0, abs=4.0)
