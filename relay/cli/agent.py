"""`bayonne agent`: the caller's daemon."""

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

import click

from relay.agent import AcceptedReflectors, AgentSettings, JsonReporter, ProseReporter, StateDirectory
from relay.agent.amnesia import amnesic_directory, in_memory
from relay.agent.credentials import own_softphone
from relay.agent.daemon import Daemon
from relay.agent.events import Reporter
from relay.agent.web_get import web_trust
from relay.cli.opening import config, load_settings, open_place, open_plain, open_vault
from relay.cli.passphrases import passphrases
from relay.core import ConfigurationError, SystemClock, SystemEntropy, configure_logging


@click.command(name="agent")
@config
@click.option("--check-config", is_flag=True, help="Check the configuration and stop.")
@click.option("--softphone", is_flag=True, help="Show how to register a softphone, and stop.")
@click.option(
    "--amnesic",
    is_flag=True,
    help="Begin with nothing and keep everything in memory: when the agent ends it was never there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="How much goes to the log, on standard error.",
)
def command(
    config: Path, check_config: bool, softphone: bool, amnesic: bool, as_json: bool, log_level: str
) -> None:
    """Run your agent: register any SIP softphone at it and call your contacts by name.

    What it keeps is sealed under a passphrase, which it asks for, and has you choose at the first start.
    """
    settings = load_settings(config)
    if check_config:
        web_trust(settings.domains.path)
        if troubles := AcceptedReflectors(settings).at(SystemClock().wall()).troubles:
            raise ConfigurationError(f"reflector_lists: {troubles[0]}")
        click.echo(f"{config.name}: ok")
        return
    if softphone:
        _show_softphone(settings, as_json)
        return
    configure_logging(level=log_level, json=as_json)
    clock = SystemClock()
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    report = JsonReporter(clock, _print_line) if as_json else ProseReporter(_print_line, colour=colour)
    if amnesic:
        _run_amnesic(settings, clock, report)
    elif not settings.vault.sealed:
        open_plain(settings.directory)
        _serve(Daemon(settings, clock, SystemEntropy(), report))
    else:
        _check_alone(settings.directory)
        files = open_vault(settings.directory, passphrases())
        _serve(Daemon(settings, clock, SystemEntropy(), report, files=files))


def _run_amnesic(settings: AgentSettings, clock: SystemClock, report: Reporter) -> None:
    entropy = SystemEntropy()
    directory = amnesic_directory(settings.directory)
    with in_memory(directory, entropy) as files:
        _serve(Daemon(settings, clock, entropy, report, files=files, directory=directory, lockable=False))


def _serve(daemon: Daemon) -> None:
    # To look for garbage in all that was imported would stop the loop, and cells with it, for 60 ms.
    gc.collect()
    gc.freeze()
    asyncio.run(daemon.run())


def _check_alone(directory: Path) -> None:
    """Before a passphrase is asked for in vain."""
    claim = StateDirectory(directory)
    claim.claim()
    claim.release()


def _show_softphone(settings: AgentSettings, as_json: bool) -> None:
    phone = own_softphone(open_place(settings).state, settings.name, SystemEntropy())
    proxy = f"sip:{settings.sip_listen};lr"
    if as_json:
        shown = {"user": phone.user, "password": phone.password, "server": settings.sip_listen}
        click.echo(json.dumps({**shown, "outbound_proxy": proxy}))
        return
    click.echo(f"SIP server       {settings.sip_listen} (UDP or TCP)")
    click.echo(f"outbound proxy   {proxy} (without it, the phone asks the world for any host that you dial)")
    click.echo(f"user name        {phone.user}")
    click.echo(f"password         {phone.password}")
    click.echo("codec            Opus (opus/48000/2), 20 ms; switch other encryption in the phone off")
    click.echo("then dial a contact's name, for example: bob")


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
