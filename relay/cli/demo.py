"""`bayonne demo`: a real call on this machine, and what an observer got out of it."""

import asyncio
import os
from pathlib import Path

import click

from relay.core import SystemClock, SystemEntropy


@click.command(name="demo")
@click.option(
    "--seconds", type=click.FloatRange(10, 600), default=20.0, show_default=True, help="Length of the speech."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-out"),
    show_default=True,
    help="Where recordings, captures, figures and the picture go.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as JSON; progress goes to standard error."
)
@click.option(
    "--keep-running", is_flag=True, help="Keep both agents running afterwards, for a softphone of yours."
)
def command(seconds: float, out: Path, as_json: bool, keep_running: bool) -> None:
    """Hold a real anonymous call on this machine and show what an observer saw.

    A private Tor network, a contact point, two reflectors, two agents and two softphones; about a minute
    and a half.
    """
    try:
        from rich.console import Console

        from relay.lab.demo import DemoOptions, run_demo
    except ImportError as error:
        raise click.ClickException(
            f"the demo needs the library '{error.name}'; 'make setup' installs it"
        ) from None
    options = DemoOptions(seconds=seconds, out=out, json=as_json, keep_running=keep_running)
    try:
        asyncio.run(run_demo(options, Console(stderr=as_json), SystemClock(), SystemEntropy(), os.environ))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.exceptions.Abort from None
