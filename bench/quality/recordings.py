"""Recorded speech in a wide band: Debian's asterisk-core-sounds-en-g722 (CC BY-SA 3.0, Allison Smith), 16 kHz.

The lab's own recordings end at 4 kHz, which would spare a codec the upper half of what it is there for.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relay.core import TransportUnavailable
from relay.rtp import Codec, coder

Samples = NDArray[np.float64]
RATE = 16_000
SECONDS = 8
PLACE = "BAYONNE_WIDEBAND_SOUNDS"
_PROMPTS = ("demo-congrats", "demo-instruct")
_LEVEL = 0.05
"""Root mean square of full scale: 26 dB below it, as speech is for such tests (ITU-T P.56, P.830)."""


def recordings() -> list[Samples]:
    """Some stretches of `SECONDS` each, in [-1, 1].  Raises `TransportUnavailable` where they are not installed."""
    directory = Path(os.environ.get(PLACE, "/usr/share/asterisk/sounds")) / "en_US_f_Allison"
    found = []
    for name in _PROMPTS:
        path = directory / f"{name}.g722"
        if not path.is_file():
            raise TransportUnavailable("asterisk-core-sounds-en-g722 is not there; ops/quality.sh fetches it")
        pcm = np.frombuffer(coder(Codec.G722).decode(path.read_bytes()), "<i2").astype(np.float64)
        piece = pcm[RATE : (1 + SECONDS) * RATE] / 32768
        found.append(np.clip(piece * _LEVEL / np.sqrt(np.mean(piece**2)), -0.99, 0.99))
    return found
