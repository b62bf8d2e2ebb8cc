"""`bayonne contact`: the people you call.  Works on the agent's state directory; a running agent notices at once."""

import json
import os
import sys
from pathlib import Path

import click

from relay.agent import AgentSettings, ContactBook, StateDirectory
from relay.core import ConfigurationError, PeerError, SystemEntropy, load_configuration
from relay.identity import Invitation

_config = click.option(
    "--config", "config", type=click.Path(path_type=Path), required=True, help="The agent's TOML file."
)


@click.group(name="contact")
def command() -> None:
    """Invite, add, list and remove the people you call."""


def _open(config: Path) -> tuple[AgentSettings, StateDirectory, ContactBook]:
    settings = load_configuration(config, AgentSettings, environment=os.environ)
    settings.check()
    state = StateDirectory(settings.directory)
    state.prepare()
    book = ContactBook(state)
    book.refresh()
    return settings, state, book


@command.command()
@click.argument("name")
@_config
def invite(name: str, config: Path) -> None:
    """Make an invitation for NAME and print it.

    Hand it over where nobody else reads it: who holds it can be this contact.
    """
    settings, state, book = _open(config)
    entropy = SystemEntropy()
    identity = state.identity(entropy)
    click.echo(book.invite(name, settings.contact_points, identity.public_key, entropy).format())


@command.command()
@click.argument("name")
@click.argument("invitation", required=False)
@_config
def add(name: str, invitation: str | None, config: Path) -> None:
    """Add the person who gave you an invitation, under the NAME that you will dial.

    Without INVITATION it is asked for, or read from standard input.  Better so: what stands on the command line can be
    read by every user of this machine, and stays in the shell's history.
    """
    _, _, book = _open(config)
    if invitation is None:
        terminal = sys.stdin.isatty()
        invitation = click.prompt("invitation", hide_input=True) if terminal else sys.stdin.readline()
    try:
        parsed = Invitation.parse(invitation)
    except PeerError:
        raise ConfigurationError(
            "that is no whole invitation; copy all of the line that begins with 'bayonne:'"
        ) from None
    book.accept(name, parsed, SystemEntropy())
    click.echo(f"{name} was added; 'bayonne contact list' says when a call is possible")


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@_config
def list_(config: Path, as_json: bool) -> None:
    """Show your contacts and whether they can be called."""
    _, _, book = _open(config)
    rows = [{"name": contact.name, "known": contact.whereabouts is not None} for contact in book]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("no contacts yet; 'bayonne contact invite NAME' makes an invitation")
    for row in rows:
        click.echo(f"{row['name']:<24} {'can be called' if row['known'] else 'not heard of yet'}")


@command.command()
@click.argument("name")
@_config
def remove(name: str, config: Path) -> None:
    """Forget NAME; the token that you gave them stops working."""
    _, _, book = _open(config)
    book.remove(name)
    click.echo(f"{name} was removed")
