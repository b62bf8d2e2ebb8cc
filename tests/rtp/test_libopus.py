"""Opus as the agent encodes it: one size whatever is said, losses mended, a peer raises nothing but its own fault."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError
from relay.rtp.libopus import LONGEST_FRAME, RATES, OpusDecoder, OpusEncoder, library, version
from relay.rtp.opus import FRAME_SIZE

SECONDS = 3.0
Sound = np.ndarray[tuple[int], np.dtype[np.float64]]


def times(rate: int) -> Sound:
    return np.arange(round(SECONDS * rate)) / rate


def syllables(rate: int) -> Sound:
    """Something like speech: a voice's harmonics that come and go four times a second, with pauses."""
    at = times(rate)
    voice = sum(np.sin(2 * np.pi * 130.0 * number * at) / number for number in range(1, 20))
    return np.asarray(6000.0 * voice * np.clip(np.sin(2 * np.pi * 4.0 * at), 0, 1) * (at % 1.5 < 1.0))


KINDS: dict[str, Callable[[int], Sound]] = {
    "speech": syllables,
    "silence": lambda rate: np.zeros(round(SECONDS * rate)),
    "tone": lambda rate: 9000.0 * np.sin(2 * np.pi * 425.0 * times(rate)),
    "noise": lambda rate: np.random.default_rng(5).normal(0.0, 4000.0, round(SECONDS * rate)),
    "full scale": lambda rate: 32767.0 * np.sign(np.sin(2 * np.pi * 100.0 * times(rate))),
}


def frames(sound: Sound, rate: int) -> list[bytes]:
    pcm = np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()
    size = 2 * rate // 50
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def sizes(kind: str, encoder: OpusEncoder, rate: int) -> set[int]:
    return {len(encoder.encode(pcm)) for pcm in frames(KINDS[kind](rate), rate)}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("recoverable", [False, True])
def test_every_frame_has_one_size_whatever_is_said(rate: int, recoverable: bool) -> None:
    for kind in KINDS:
        assert sizes(kind, OpusEncoder(rate, recoverable=recoverable), rate) == {FRAME_SIZE}, kind


def test_variable_rate_and_silence_left_out_are_caught_by_the_same_measure() -> None:
    found = {kind: sizes(kind, OpusEncoder(16_000, leaky=True), 16_000) for kind in ("speech", "silence")}
    assert len(found["speech"]) > 5
    assert found["speech"] != found["silence"]
    assert max(found["silence"]) < FRAME_SIZE


def test_sound_survives_the_way_there_and_back() -> None:
    for rate in RATES:
        encoder, decoder = OpusEncoder(rate), OpusDecoder(rate)
        sound = KINDS["tone"](rate)
        heard = b"".join(decoder.decode(encoder.encode(pcm)) for pcm in frames(sound, rate))
        loud = np.abs(np.fft.rfft(np.frombuffer(heard, "<i2")[rate : 2 * rate].astype(float)))
        assert int(np.argmax(loud)) == 425, "at the pitch it had"


def test_one_rate_is_heard_at_another() -> None:
    encoder, decoder = OpusEncoder(8_000), OpusDecoder(48_000)
    assert len(decoder.decode(encoder.encode(bytes(320)))) == 1920


def test_a_lost_frame_comes_back_out_of_the_next_one() -> None:
    """The voice begins in the very frame that is lost: nothing that came before could have said so."""
    rate = 16_000
    spoken = np.concatenate([np.zeros(rate // 2), KINDS["tone"](rate)[:rate]])
    energy = {}
    for recoverable in (True, False):
        encoder = OpusEncoder(rate, recoverable=recoverable, loss=20)
        decoder = OpusDecoder(rate)
        packets = [encoder.encode(pcm) for pcm in frames(spoken, rate)]
        lost = 25
        for packet in packets[:lost]:
            decoder.decode(packet)
        there = np.frombuffer(decoder.recover(packets[lost + 1]), "<i2").astype(float)
        assert len(there) == 320
        energy[recoverable] = float(np.sqrt(np.mean(there**2)))
    assert energy[True] > 1000.0
    assert energy[False] < energy[True] / 10, "without a copy there is nothing to recover it from"


def test_concealment_fades_into_silence() -> None:
    encoder, decoder = OpusEncoder(8_000), OpusDecoder(8_000)
    for pcm in frames(KINDS["tone"](8_000), 8_000)[:20]:
        decoder.decode(encoder.encode(pcm))
    guessed = [np.abs(np.frombuffer(decoder.conceal(), "<i2").astype(float)).max() for _ in range(25)]
    assert guessed[0] > 1000.0
    assert guessed[-1] < guessed[0] / 10


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_hostile_frames_are_the_peers_fault_and_of_bounded_length(frame: bytes, recover: bool) -> None:
    decoder = OpusDecoder(8_000)
    try:
        sound = decoder.recover(frame) if recover else decoder.decode(frame)
    except PeerError:
        return
    assert 0 < len(sound) <= 2 * LONGEST_FRAME * 160


def test_misuse_is_told() -> None:
    for maker in (OpusEncoder, OpusDecoder):
        with pytest.raises(MisuseError):
            maker(44_100)
    with pytest.raises(MisuseError):
        OpusEncoder(8_000).encode(bytes(319))
    with pytest.raises(PeerError):
        OpusDecoder(8_000).decode(bytes(1276))


def test_the_library_is_there_and_says_its_name() -> None:
    assert library() is library()
    assert version().startswith("libopus")
