"""What listeners would say, by ViSQOL (Hines et al. 2015; Chinen et al. 2020); docs/adr/0011-audio.md says why.

Speech mode with the lattice that Google's own program uses; MOS-LQO, of which a recording compared with itself gets
about 4.5 and no more.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from bench.quality.path import Path, carry, narrow
from bench.quality.recordings import RATE, Samples, recordings
from relay.core import TransportUnavailable
from relay.rtp import Codec

_SEEDS = (1, 2)
Result = tuple[float, float]


@cache
def _visqol() -> Any:
    from visqol import VisqolApi

    made = VisqolApi()
    made.create(mode="speech", use_lattice_model=True)
    return made


def _score(spoken: Samples, path: Path | None, seed: int) -> Result:
    """(MOS, share of cells lost) of one recording over one path; without a path the recording itself."""
    if path is None:
        heard, lost = spoken, 0.0
    else:
        heard, lost = carry(spoken, path, seed)
    if path is not None and path.codec in (Codec.PCMA, Codec.PCMU):
        spoken = narrow(spoken)
    size = min(len(spoken), len(heard))
    found = _visqol().measure_from_arrays(spoken[:size], heard[:size], RATE)
    return float(found.moslqo), lost


def scores(paths: dict[str, Path | None], workers: int) -> dict[str, Result]:
    """Mean (MOS, loss) over all recordings, and over some draws where cells are lost.

    Raises `TransportUnavailable` where ViSQOL or the recordings are not installed.
    """
    try:
        import visqol  # noqa: F401
    except ImportError:
        raise TransportUnavailable("ViSQOL is not installed; ops/quality.sh installs it") from None
    spoken = recordings()
    jobs = [
        (name, sound, path, seed)
        for name, path in paths.items()
        for sound in spoken
        for seed in (_SEEDS if path is not None and path.loss else _SEEDS[:1])
    ]
    found: dict[str, list[Result]] = {name: [] for name in paths}
    with ProcessPoolExecutor(workers) as pool:
        for (name, *_), result in zip(
            jobs, pool.map(_score, *zip(*(job[1:] for job in jobs), strict=True)), strict=True
        ):
            found[name].append(result)
    return {
        name: (float(np.mean([mos for mos, _ in some])), float(np.mean([lost for _, lost in some])))
        for name, some in found.items()
    }
