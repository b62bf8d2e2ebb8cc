"""`bayonne bench`: how many lines this machine carries, found with a real load on its loopback."""

import json

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from relay.core import SystemClock, configure_logging

_QUICK_SECONDS = 2.0
_FINE, _COARSE = 0.05, 0.2


@click.command(name="bench")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Workers of the reflector, each with a core of its own.",
)
@click.option(
    "--link", type=click.FloatRange(1, 1e6), help="This machine's network line in Mbit/s, each way."
)
@click.option(
    "--seconds", type=click.FloatRange(1, 60), default=5.0, show_default=True, help="Length of each load."
)
@click.option("--quick", is_flag=True, help="Short loads and a coarse answer, in about half a minute.")
@click.option(
    "--data-plane",
    type=click.Choice(["auto", "native", "plain"]),
    default="auto",
    show_default=True,
    help="Which data plane to load.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to standard error."
)
def command(
    workers: int, link: float | None, seconds: float, quick: bool, data_plane: str, as_json: bool
) -> None:
    """Say how many lines a reflector carries here, and what keeps it from more.

    Every line is as busy as it can be: a cell in every tick, both ways, opened and sealed.  That is the data plane
    alone: opening lines, and what they ask for, takes more.  All of it stays on this machine's loopback; other programs
    that are busy meanwhile make the answer smaller.
    """
    # numpy and the data planes are not needed for --help.
    from relay.lab.load.capacity import find_capacity
    from relay.media_reflector.forwarding import load_forwarding

    configure_logging(level="error", json=as_json)
    console = Console(stderr=True, highlight=False, markup=False)
    name = load_forwarding(data_plane).name
    console.print(f"data plane: {name}, {workers} worker{'s' if workers > 1 else ''}")
    if name == "plain" and data_plane == "auto":
        console.print("the native data plane is not built here; 'make setup' builds it where there is rustc")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("")

        def about_to_try(lines: int) -> None:
            progress.update(task, description=f"loading {lines:,} lines")
            if not console.is_terminal:
                console.print(f"loading {lines:,} lines ...")

        found = find_capacity(
            SystemClock(),
            workers=workers,
            link=link,
            seconds=_QUICK_SECONDS if quick else seconds,
            precision=_COARSE if quick else _FINE,
            prefer=name,
            about_to_try=about_to_try,
        )
    for seen in found.tried:
        verdict = "all carried" if seen.carried else f"{seen.missed} ticks missed, {seen.loss:.2%} lost"
        if not seen.load_kept_up:
            verdict = "the load generator could not keep up"
        console.print(f"{seen.lines:>8,} lines: {seen.cpu:>4.0%} of a core, {verdict}")
    if found.shared:
        console.print("reflector and load generator shared cores; alone the reflector carries more")
    if as_json:
        tried = [
            {
                "lines": seen.lines,
                "cpu": round(seen.cpu, 4),
                "microseconds_per_cell": round(seen.microseconds_per_cell, 3),
                "loss": round(seen.loss, 6),
                "missed": seen.missed,
                "departure_p99_ms": round(seen.counts.deviation(0.99) * 1e3, 3),
                "carried": seen.carried,
                "load_kept_up": seen.load_kept_up,
            }
            for seen in found.tried
        ]
        result = {"lines": found.lines, "limited_by": found.limit.value, "data_plane": name}
        click.echo(json.dumps({**result, "workers": workers, "shared_cores": found.shared, "tried": tried}))
    else:
        click.echo(found.sentence())
