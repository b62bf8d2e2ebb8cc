"""`bayonne contact-point`: ringing and lookup, hosted as an onion service."""

import asyncio
import json
import os
import sys
from pathlib import Path

import click

from relay.core import SystemClock, SystemEntropy, configure_logging, load_configuration
from relay.node.contact_point import run
from relay.node.contact_point_settings import ContactPointSettings


@click.command(name="contact-point")
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    required=True,
    help="The contact point's TOML file; see ops/config/contact-point.toml.",
)
@click.option("--check-config", is_flag=True, help="Check the configuration and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="How much goes to the log, on standard error.",
)
def command(config: Path, check_config: bool, as_json: bool, log_level: str) -> None:
    """Host a contact point: it passes on sealed messages, keeps contact records, and reads neither."""
    settings = load_configuration(config, ContactPointSettings, environment=os.environ)
    settings.check()
    if check_config:
        click.echo(f"{config.name}: ok")
        return
    configure_logging(level=log_level, json=as_json)

    def ready(onion: str) -> None:
        if as_json:
            line = json.dumps({"event": "ready", "onion": onion})
        else:
            line = f"ready; callers put this name under contact_points in their configuration: {onion}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    if not as_json:
        click.echo("starting; Tor takes up to a minute the first time")
    asyncio.run(run(settings, SystemClock(), SystemEntropy(), ready))
