"""The picture: what a packet costs each relay, and how full a core is with how many lines."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import Report
from relay.lab.load.measure import MAX_CPU
from relay.lab.pictures import BLUE, GREEN, VERMILION

_FAINT = "#8a8a8a"


def draw(path: Path, report: Report) -> None:
    """Save it as PNG; what was not measured stays empty."""
    figure = Figure(figsize=(11, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    costs, curve = figure.subplots(1, 2)
    _draw_costs(costs, report)
    _draw_curve(curve, report)
    figure.savefig(path)


def _draw_costs(axes: Axes, report: Report) -> None:
    names = list(reversed(report.costs))
    colours = [
        BLUE if name.startswith("native") else GREEN if name.startswith("plain") else _FAINT for name in names
    ]
    bars = axes.barh(names, [report.costs[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("CPU microseconds per packet through")
    axes.set_title("What one packet costs", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)


def _draw_curve(axes: Axes, report: Report) -> None:
    for workers, colour in ((1, BLUE), (2, VERMILION)):
        points = sorted((one for one in report.curve if one.workers == workers), key=lambda one: one.lines)
        if not points:
            continue
        label = "one worker" if workers == 1 else "two workers"
        lines, cpu = [one.lines for one in points], [100 * one.cpu for one in points]
        axes.plot(lines, cpu, color=colour, label=label, linewidth=1.5)
        for carried, face in ((True, colour), (False, "white")):
            chosen = [one for one in points if one.carried is carried]
            axes.scatter(
                [one.lines for one in chosen],
                [100 * one.cpu for one in chosen],
                facecolor=face,
                edgecolor=colour,
                zorder=3,
            )
    axes.axhline(100 * MAX_CPU, color=_FAINT, linestyle=":", linewidth=1)
    axes.set_xlabel("lines, all full both ways (hollow: not all carried)")
    axes.set_ylabel("of one core, %")
    axes.set_ylim(bottom=0)
    axes.set_title("How full a core is", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if report.curve:
        axes.legend(frameon=False)
