"""Recorded human speech for the softphones' microphones, with gaps at known times.

The recordings are Debian's asterisk-core-sounds packages (CC BY-SA 3.0; English by Allison Smith, French by
June Wallack), read from where the package puts them or from BAYONNE_SOUNDS; nothing of them is in this
project.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from relay.core import Entropy, TransportUnavailable
from relay.lab.audio import Samples, Sound, read_wav, resample, speech_mask

Voice = Literal["english", "french"]

MICROPHONE_RATE = 48_000
_USUAL_PLACE = Path("/usr/share/asterisk/sounds")
_DIRECTORIES: dict[Voice, str] = {"english": "en_US_f_Allison", "french": "fr_CA_f_June"}
_PROMPTS = (
    "demo-congrats",
    "demo-instruct",
    "demo-abouttotry",
    "vm-options",
    "priv-callee-options",
    "demo-echotest",
    "vm-msginstruct",
    "dir-intro",
)
_LEVEL = 0.10
"""Root mean square of the speech itself: 20 dB below full scale."""

SPURT = 1.0
"""Seconds of speech or silence that one toss of the coin decides."""

_PHRASE = 4.0
_SHORTEST_GAP = 0.35


@dataclass(frozen=True, slots=True)
class Speech:
    """A microphone's sound, and where in it somebody speaks: (from, to) in seconds of the sound."""

    sound: Sound
    spoken: tuple[tuple[float, float], ...]


def sounds_directory(environment: Mapping[str, str]) -> Path:
    """Where the recordings are.  Raises `TransportUnavailable` when they are not installed."""
    named = environment.get("BAYONNE_SOUNDS")
    place = Path(named) if named else _USUAL_PLACE
    if not place.is_dir():
        raise TransportUnavailable(
            "the recorded speech (packages asterisk-core-sounds-en-wav and -fr-wav) is not installed; "
            "'make setup' installs it"
        )
    return place


def build_speech(
    voice: Voice, seconds: float, sounds: Path, *, gap: float = 1.5, lead: float | None = None
) -> Speech:
    """`seconds` of speech at 48 kHz: phrases of a few seconds, each followed by `gap` seconds of silence.

    The first begins after `lead` seconds (`gap`, when not given).  The prompts repeat when they run out.
    Pauses for breath inside a phrase stay as they are; digital silence fills the gaps, so that the times of
    speech and silence are known exactly.
    """
    length = round(seconds * MICROPHONE_RATE)
    samples = np.zeros(length)
    spoken: list[tuple[float, float]] = []
    position = round((gap if lead is None else lead) * MICROPHONE_RATE)
    for phrase in _phrases(voice, sounds):
        if position >= length:
            break
        piece = phrase[: length - position]
        samples[position : position + len(piece)] = piece
        spoken.append((position / MICROPHONE_RATE, (position + len(piece)) / MICROPHONE_RATE))
        position += len(phrase) + round(gap * MICROPHONE_RATE)
    return Speech(Sound(samples, MICROPHONE_RATE), tuple(spoken))


def build_random_speech(voice: Voice, seconds: float, sounds: Path, entropy: Entropy) -> Speech:
    """`seconds` of speech at 48 kHz in which a coin decides, for every second (`SPURT`), speech or silence.

    The coin makes the privacy test exact (`relay.lab.metrics.speech_leak` with `block=SPURT`, beginning on
    a whole second of this sound): any other order of the seconds was as likely, whatever else went on
    meanwhile. Speech goes on over seconds of speech as if there had been no silence in between.
    """
    size = round(SPURT * MICROPHONE_RATE)
    samples = np.zeros(round(seconds * MICROPHONE_RATE))
    spoken: list[tuple[float, float]] = []
    phrases = _phrases(voice, sounds)
    waiting = np.zeros(0)
    for begin in range(0, len(samples) - size + 1, size):
        if not entropy.below(2):
            continue
        while len(waiting) < size:
            waiting = np.concatenate([waiting, next(phrases)])
        samples[begin : begin + size] = waiting[:size]
        waiting = waiting[size:]
        at = begin / MICROPHONE_RATE
        if spoken and spoken[-1][1] == at:
            spoken[-1] = (spoken[-1][0], at + SPURT)
        else:
            spoken.append((at, at + SPURT))
    _soften(samples, spoken)
    return Speech(Sound(samples, MICROPHONE_RATE), tuple(spoken))


def _soften(samples: Samples, spoken: list[tuple[float, float]]) -> None:
    """Fade spurts in and out over 5 ms, so that a cut word does not click."""
    fade = np.linspace(0.0, 1.0, round(0.005 * MICROPHONE_RATE))
    for first, last in spoken:
        begin, end = round(first * MICROPHONE_RATE), round(last * MICROPHONE_RATE)
        samples[begin : begin + len(fade)] *= fade
        samples[end - len(fade) : end] *= fade[::-1]


def _phrases(voice: Voice, sounds: Path) -> Iterator[Samples]:
    """The voice's phrases, level and trimmed, over and over."""
    directory = sounds / _DIRECTORIES[voice]
    found: list[Samples] = []
    for name in _PROMPTS:
        path = directory / f"{name}.wav"
        if path.is_file():
            found += _split(resample(read_wav(path), MICROPHONE_RATE))
    if not found:
        raise TransportUnavailable(
            f"no {voice} speech was found in the recordings; asterisk-core-sounds-en-wav and -fr-wav hold it"
        )
    while True:
        yield from found


def _split(prompt: Sound) -> list[Samples]:
    """Cut a prompt at its longer pauses into phrases, each at one level and without silence at its ends."""
    step = 0.020
    size = round(step * prompt.rate)
    speaking = speech_mask(prompt, step, hangover=_SHORTEST_GAP)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], speaking, [False])).astype(np.int8)))
    phrases: list[Samples] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        last = end - round(_SHORTEST_GAP / step) + 2
        piece = prompt.samples[begin * size : last * size]
        for part in np.array_split(piece, max(1, round(len(piece) / (_PHRASE * prompt.rate)))):
            level = float(np.sqrt(np.mean(part**2))) if len(part) else 0.0
            if len(part) > 0.4 * prompt.rate and level > 0:
                phrases.append(np.clip(part * (_LEVEL / level), -0.95, 0.95))
    return phrases
