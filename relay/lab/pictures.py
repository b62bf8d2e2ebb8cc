"""The picture of a call: what was spoken above, what an observer of each line got out of it below.

Colours are Okabe and Ito's, which the colour-blind can tell apart.  Drawn straight on matplotlib's Agg
canvas, so that no display and no global state is involved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from relay.lab.audio import Sound, envelope
from relay.lab.lines import LineSeen
from relay.lab.metrics import rate_over_time
from relay.rtp.cell import TICK

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_INK, _FAINT = "#222222", "#8a8a8a"
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
_WIDTH, _DPI = 11.0, 150
_ENVELOPE_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in the call: monotonic time, and a word or two."""

    at: float
    label: str


def draw_observer(
    path: Path,
    lines: Mapping[str, LineSeen],
    spoken: Mapping[str, Sound],
    marks: Sequence[Mark],
    *,
    origin: float,
    begin: float,
    end: float,
    title: str = "",
) -> None:
    """Draw and save the picture as PNG.

    `lines` by whose line it is, `spoken` by speaker (dated sounds), `marks` of the call; all times on the
    monotonic clock, the axis in seconds after `origin`, from `begin` to `end`.
    """
    names = list(lines)
    heights = [0.55 * max(1, len(spoken))] + [1.15, 0.75] * len(names)
    layout = ConstrainedLayoutEngine(hspace=0.02, h_pad=0.03)
    figure = Figure(figsize=(_WIDTH, 1.5 + sum(heights) * 1.08), dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    axes: list[Axes] = list(grid[:, 0])
    _draw_speech(axes[0], spoken, origin, end)
    for number, name in enumerate(names):
        _draw_rate(axes[1 + 2 * number], name, lines[name], origin)
        _draw_sizes(axes[2 + 2 * number], lines[name], origin)
    for axis in axes:
        _finish(axis, begin - origin, end - origin)
        for mark in marks:
            axis.axvline(mark.at - origin, color=_FAINT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    _letter(axes[0], marks, origin, begin, end)
    axes[-1].set_xlabel("seconds after dialling", color=_INK)
    if title:
        figure.suptitle(title, fontsize=11, color=_INK, x=0.01, ha="left")
    figure.savefig(path, metadata={"Software": None})


def _draw_speech(axis: Axes, spoken: Mapping[str, Sound], origin: float, end: float) -> None:
    """One lane per speaker with the envelope of what the microphone really said."""
    for lane, sound in enumerate(spoken.values()):
        level = -lane
        if len(sound.samples):
            times, levels = envelope(sound, _ENVELOPE_STEP)
            keep = times <= end
            shape = 0.44 * levels[keep] / max(float(levels.max()), 1e-9)
            colour = (PURPLE, GREEN)[lane % 2]
            axis.fill_between(
                times[keep] - origin, level - shape, level + shape, color=colour, linewidth=0, step="mid"
            )
    axis.set_ylim(-len(spoken) + 0.45, 0.55)
    axis.set_yticks([-lane for lane in range(len(spoken))], [f"{name}\nspeaks" for name in spoken])
    axis.tick_params(axis="y", length=0)


def _draw_rate(axis: Axes, name: str, line: LineSeen, origin: float) -> None:
    """Cells per second, up above the axis and down below it."""
    for direction, sign, colour in ((line.up, 1, BLUE), (line.down, -1, VERMILION)):
        if not len(direction.times):
            continue
        # Half a tick before the first cell, so that no cell falls on an edge.
        edges, rates = rate_over_time(
            direction.times, direction.times[0] - TICK / 2, direction.times[-1] + TICK / 2
        )
        axis.stairs(sign * rates, edges - origin, fill=True, color=colour, alpha=0.85, linewidth=0)
    axis.axhline(0, color="white", linewidth=1)
    axis.set_ylim(-66, 66)
    axis.set_yticks([-50, 0, 50], ["50", "0", "50"])
    axis.set_ylabel(f"{name}'s line\ncells per second", color=_INK)
    _direction_words(axis, "to the reflector", "from the reflector")


def _draw_sizes(axis: Axes, line: LineSeen, origin: float) -> None:
    """The size of every single cell, up above the axis and down below it."""
    for direction, sign, colour in ((line.up, 1, BLUE), (line.down, -1, VERMILION)):
        axis.plot(
            direction.times - origin,
            sign * direction.sizes,
            linestyle="none",
            marker="|",
            markersize=3.0,
            markeredgewidth=0.5,
            color=colour,
            rasterized=True,
        )
    sizes = sorted({int(size) for one in (line.up, line.down) for size in one.sizes})
    top = max([*sizes, 160]) * 1.6
    shown = sizes if len(sizes) <= 3 else [sizes[0], sizes[-1]]
    axis.axhline(0, color=_FAINT, linewidth=0.6)
    axis.set_ylim(-top, top)
    ticks = [-size for size in reversed(shown)] + [0] + shown
    axis.set_yticks(ticks, [str(abs(size)) for size in ticks])
    axis.set_ylabel("bytes of\neach cell", color=_INK)
    said = f"all {sizes[0]} bytes" if len(sizes) == 1 else f"{len(sizes)} different sizes"
    words = f"{len(line.up.times)} cells up, {len(line.down.times)} down, {said}"
    middle = ((line.start + line.stop) / 2 - origin, top * 0.27)
    axis.text(*middle, words, fontsize=7.5, color=_INK, ha="center", va="center", bbox=_PAPER)


def _direction_words(axis: Axes, above: str, below: str) -> None:
    for text, height, colour, side in ((above, 0.98, BLUE, "top"), (below, 0.02, VERMILION, "bottom")):
        axis.text(
            0.004, height, text, transform=axis.transAxes, fontsize=7, color=colour, va=side, bbox=_PAPER
        )


def _finish(axis: Axes, left: float, right: float) -> None:
    axis.set_xlim(left, right)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(_FAINT)
    axis.tick_params(colors=_INK, labelsize=8)
    axis.tick_params(axis="x", color=_FAINT)
    axis.yaxis.label.set_fontsize(8)


def _letter(axis: Axes, marks: Sequence[Mark], origin: float, begin: float, end: float) -> None:
    """Label the marks above the top panel, each on the lowest level where it does not run into another."""
    width = end - begin
    free_from: list[float] = []
    for mark in sorted(marks, key=lambda one: one.at):
        needed = width * (0.0085 * len(mark.label) + 0.006)
        level = next((k for k, free in enumerate(free_from) if mark.at >= free), len(free_from))
        if level == len(free_from):
            free_from.append(0.0)
        free_from[level] = mark.at + needed
        axis.annotate(
            mark.label,
            (mark.at - origin, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1.5, 2 + 9.5 * level),
            textcoords="offset points",
            fontsize=7.5,
            color=_INK,
            annotation_clip=False,
        )
