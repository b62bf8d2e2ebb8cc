"""The picture is drawn for honest lines, for odd ones, and for calls that never came to be."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from relay.lab.audio import Sound
from relay.lab.lines import Direction, LineSeen
from relay.lab.pictures import Mark, draw_observer

ORIGIN = 1000.0


def direction(begin: float, end: float, sizes: list[int]) -> Direction:
    times = ORIGIN + np.arange(begin, end, 0.02, dtype=np.float64)
    return Direction(times, np.resize(np.array(sizes, dtype=np.int64), len(times)))


def line(begin: float, end: float, sizes: list[int]) -> LineSeen:
    up, down = direction(begin, end, sizes), direction(begin, end, sizes)
    return LineSeen(("127.0.10.1", 40000), ("127.0.20.1", 7210), up, down, ())


@pytest.mark.parametrize("sizes", [[160], [160, 200], [100, 120, 140, 160]])
def test_a_call_is_drawn(tmp_path: Path, sizes: list[int]) -> None:
    speech = Sound(np.random.default_rng(1).normal(0, 0.1, 48_000 * 5), 48_000, ORIGIN + 2)
    draw_observer(
        tmp_path / "observer.png",
        {"alice": line(2, 9, sizes), "bob": line(3, 11.3, [160])},
        {"alice": speech, "bob": Sound(np.zeros(0), 48_000)},
        [Mark(ORIGIN, "dial"), Mark(ORIGIN + 0.1, "ring"), Mark(ORIGIN + 11.3, "bob's line ends")],
        origin=ORIGIN,
        begin=ORIGIN - 1,
        end=ORIGIN + 13,
        title="a call",
    )
    picture = imread(tmp_path / "observer.png")
    assert picture.shape[1] == 1650
    assert picture.std() > 0.05


def test_a_call_without_lines_is_drawn_too(tmp_path: Path) -> None:
    draw_observer(tmp_path / "observer.png", {}, {}, [], origin=0, begin=0, end=1)
    assert (tmp_path / "observer.png").stat().st_size > 1000
