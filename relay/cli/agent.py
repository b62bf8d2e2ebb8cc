"""`bayonne agent`: the caller's daemon."""

import asyncio
import json
import os
import sys
from pathlib import Path

import click

from relay.agent import AcceptedReflectors, Agent, AgentSettings, JsonReporter, ProseReporter, StateDirectory
from relay.core import ConfigurationError, SystemClock, SystemEntropy, configure_logging, load_configuration


@click.command(name="agent")
@click.option(
    "--config", "config", type=click.Path(path_type=Path), required=True, help="The agent's TOML file."
)
@click.option("--check-config", is_flag=True, help="Check the configuration and stop.")
@click.option("--softphone", is_flag=True, help="Show how to register a softphone, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="How much goes to the log, on standard error.",
)
def command(config: Path, check_config: bool, softphone: bool, as_json: bool, log_level: str) -> None:
    """Run your agent: register any SIP softphone at it and call your contacts by name."""
    settings = load_configuration(config, AgentSettings, environment=os.environ)
    settings.check()
    if check_config:
        if troubles := AcceptedReflectors(settings).at(SystemClock().wall()).troubles:
            raise ConfigurationError(f"reflector_lists: {troubles[0]}")
        click.echo(f"{config.name}: ok")
        return
    if softphone:
        _show_softphone(settings, as_json)
        return
    configure_logging(level=log_level, json=as_json)
    clock = SystemClock()
    reporter = JsonReporter(clock, _print_line) if as_json else ProseReporter(_print_line)
    asyncio.run(Agent(settings, clock, SystemEntropy(), reporter).run())


def _show_softphone(settings: AgentSettings, as_json: bool) -> None:
    state = StateDirectory(settings.directory)
    state.prepare()
    phone = state.softphone(settings.name, SystemEntropy())
    if as_json:
        click.echo(
            json.dumps({"user": phone.user, "password": phone.password, "server": settings.sip_listen})
        )
        return
    click.echo(f"SIP server   {settings.sip_listen} (UDP or TCP)")
    click.echo(f"user name    {phone.user}")
    click.echo(f"password     {phone.password}")
    click.echo("codec        Opus (opus/48000/2), 20 ms; switch other encryption in the phone off")
    click.echo("then dial a contact's name, for example: bob")


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
