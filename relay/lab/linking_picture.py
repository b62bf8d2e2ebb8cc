"""The picture of what a contact point can tell of whose tokens are whose: by their number, and over a period's end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from relay.lab.pictures import BLUE, GREEN, PURPLE, VERMILION
from relay.lab.token_linking import Row
from relay.lab.token_succession import Succession

_INK, _FAINT = "#222222", "#8a8a8a"
_SIZE, _DPI = (14.0, 5.0), 130
_COLOURS = (BLUE, GREEN, PURPLE, VERMILION, "#e69f00", "#56b4e9")


def draw_linking(
    path: Path, curves: Mapping[str, Sequence[Row]], successions: Sequence[Succession] = ()
) -> None:
    """Draw and save the picture as PNG; bars are standard deviations from run to run.

    From left to right: precision and recall of the pairs called one owner's, the area under the curve, both over the
    number of tokens at the contact point; and the area for pairs of an old and a new token.  `curves` by what the
    population does; within one, rows of several numbers of contacts are lines of their own.
    """
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.1))
    FigureCanvasAgg(figure)
    called, area, renewed = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    for colour, (name, rows) in zip(_COLOURS * len(curves), curves.items(), strict=False):
        for number, contacts in enumerate(sorted({row.scenario.contacts for row in rows})):
            chosen = [row for row in rows if row.scenario.contacts == contacts]
            chosen.sort(key=lambda row: row.scenario.tokens)
            marker = "os^Dv"[number % 5]
            label = f"{name}, {contacts} contacts"
            _plot(area, chosen, "auc", colour, marker, label)
            _plot(called, chosen, "precision", colour, marker)
            _plot(called, chosen, "recall", colour, "", dashed=True)
    area.axhline(0.5, color=_FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    area.text(0.01, 0.505, "guessing", transform=area.get_yaxis_transform(), fontsize=7.5, color=_FAINT)
    _finish(called, "of the pairs called one owner's: precision (solid), recall (dashed)", (-0.03, 1.05))
    _finish(area, "area under the curve", (0.4, 1.05))
    for axis in (called, area):
        axis.set_xscale("log")
        axis.set_xlabel("tokens at the contact point", color=_INK, fontsize=8)
    figure.legend(loc="outside lower left", fontsize=7.5, frameon=False, ncols=4)
    _draw_successions(renewed, successions)
    figure.savefig(path, metadata={"Software": None})


def _plot(
    axis: Axes,
    rows: Sequence[Row],
    figure: str,
    colour: str,
    marker: str,
    label: str | None = None,
    *,
    dashed: bool = False,
) -> None:
    axis.errorbar(
        [row.scenario.tokens for row in rows],
        [getattr(row.figures, figure) for row in rows],
        yerr=[getattr(row.errors, figure) for row in rows],
        color=colour,
        marker=marker,
        markersize=4,
        linewidth=1.0,
        linestyle=(0, (4, 3)) if dashed else "-",
        capsize=2,
        label=label,
    )


def _draw_successions(axis: Axes, successions: Sequence[Succession]) -> None:
    names = [each.change.renewal.value for each in successions]
    axis.bar(
        names,
        [each.figures.auc for each in successions],
        yerr=[each.errors.auc for each in successions],
        color=[BLUE if name == "shipped" else _FAINT for name in names],
        capsize=3,
    )
    axis.axhline(0.5, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    _finish(axis, "old and new tokens of one owner: area under the curve", (0.4, 1.05))
    axis.tick_params(axis="x", rotation=30)


def _finish(axis: Axes, label: str, limits: tuple[float, float]) -> None:
    axis.set_ylim(*limits)
    axis.set_ylabel(label, color=_INK, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["bottom", "left"]].set_color(_FAINT)
    axis.tick_params(colors=_INK, labelsize=8)
