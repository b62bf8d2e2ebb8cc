"""`bayonne openpgp`: by which key of the owner's calls are signed.

It is kept with the contacts, sealed: its fingerprint names a person, and the configuration lies in the clear.
"""

import asyncio
import json
import sys
from pathlib import Path

import click

from relay.agent.openpgp import GnuPG
from relay.agent.voice_trust import read_fingerprint
from relay.cli.contact_book import config, open_book
from relay.core import TransportUnavailable

_LONGEST = 200

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(name="openpgp")
def command() -> None:
    """Have the keys of your calls signed by your own GnuPG."""


@command.command()
@as_json
@config
def use(as_json: bool, config: Path) -> None:
    """Sign calls by a key of yours, with contacts whose key you named ('bayonne contact set-pgp').

    Its fingerprint is asked for, or read from standard input, so that it stands neither in the shell's history nor in
    the list of processes.  A signature can be shown to others and proves that you had a call: see docs/threat-model.md.
    """
    opened = open_book(config)
    terminal = sys.stdin.isatty()
    typed = click.prompt("fingerprint of your own key") if terminal else sys.stdin.read(_LONGEST)
    key = read_fingerprint(typed)
    opened.book.set_openpgp(key)
    _say(as_json, key)
    try:
        if not asyncio.run(GnuPG(opened.settings.openpgp).knows(key)):
            click.echo("that key is not in your GnuPG keyring yet", err=True)
    except TransportUnavailable as error:
        click.echo(str(error), err=True)


@command.command()
@as_json
@config
def off(as_json: bool, config: Path) -> None:
    """Sign no call any more."""
    open_book(config).book.set_openpgp("")
    _say(as_json, "")


@command.command()
@as_json
@config
def show(as_json: bool, config: Path) -> None:
    """Say which key it is."""
    _say(as_json, open_book(config).book.openpgp)


def _say(as_json: bool, key: str) -> None:
    told = f"calls are signed by {key}" if key else "calls are not signed"
    click.echo(json.dumps({"key": key}) if as_json else told)
