"""`bayonne reflector`: host a reflector."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

import click

from relay.core import SystemClock, SystemEntropy, configure_logging, get_logger, load_configuration
from relay.node.reflector import ReflectorSettings, run


@click.command(name="reflector")
@click.option(
    "--config", "config", type=click.Path(path_type=Path), required=True, help="The reflector's TOML file."
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
    """Host a reflector: it relays voice cells between lines and learns nothing of who speaks, or whether."""
    settings = load_configuration(config, ReflectorSettings, environment=os.environ)
    settings.check()
    if check_config:
        click.echo(f"{config.name}: ok")
        return
    configure_logging(level=log_level, json=as_json)
    if not as_json:
        click.echo("starting; Tor takes up to a minute the first time")
    asyncio.run(run(settings, SystemClock(), SystemEntropy(), _print_json if as_json else _print_prose))


def _print_json(event: Mapping[str, object]) -> None:
    click.echo(json.dumps(event))


def _print_prose(event: Mapping[str, object]) -> None:
    """The reference goes to the operator on standard output; counts go to the log."""
    if event["event"] == "ready":
        click.echo(f"ready; hand this reference to your users:\n{event['reference']}")
    else:
        counts = {key: value for key, value in event.items() if key != "event"}
        get_logger("reflector").info("counts", **counts)
