"""`bayonne contact verify`, `set-pgp`: is it really them?  What there is to compare, the running agent knows."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import click

from relay.agent.contact_file import Contact
from relay.agent.control import ask
from relay.agent.openpgp import GnuPG
from relay.agent.verification_desk import COMPARED, WORDS
from relay.agent.voice_security import End, Mode
from relay.agent.voice_trust import VoiceTrust, read_fingerprint
from relay.agent.zid_cache import ZidCache
from relay.cli.contact_book import Opened, as_json, config, open_book
from relay.core import MisuseError, RefusedByPolicy, SystemClock, TransportUnavailable

yes = click.option("--yes", is_flag=True, help="Do not ask.")

_WHERE = {
    (
        Mode.AGENTS,
        End.AGENT,
    ): "The keys of this call are in your agent and {name}'s, which shows {name} the same words.",
    (
        Mode.PHONE_AGENT,
        End.AGENT,
    ): "The keys of this call are in your agent and {name}'s phone, which shows the same.",
    (
        Mode.PHONE_AGENT,
        End.PHONE,
    ): "The keys of this call are in your phone and {name}'s agent: your phone shows what "
    "to compare, and this agent has nothing to show.",
    (
        Mode.PHONES,
        End.PHONE,
    ): "The keys of this call are in both phones: they show what to compare, and this agent has "
    "nothing to show, because it cannot listen.",
}
_PHONES_BUSINESS = "Your phone keeps for itself whom it knows.  Here is only noted that you compared."


@click.command()
@click.argument("name")
@click.option(
    "--undo",
    is_flag=True,
    help="Forget what was compared: NAME has another phone or machine, or begins anew.",
)
@yes
@as_json
@config
def verify(name: str, undo: bool, yes: bool, as_json: bool, config: Path) -> None:
    """Compare words with NAME, while you talk: is nobody in the middle?

    Shows words and characters.  Read the words to each other, by voice, and say whether they were the same.  Once is
    enough: later calls go on from this one, and your agent says ALARM where one does not.  If they were not the same,
    the call ends.

    With --json and without --yes the words are printed and nothing is decided.
    """
    opened = open_book(config)
    if undo:
        _begin_anew(name, yes, as_json, opened)
        return
    found = asyncio.run(_ask(opened, WORDS, {"name": name}))
    if as_json and not yes:
        click.echo(json.dumps(found))
        return
    if not as_json:
        _show(found)
    same = yes or click.confirm("Do they say the same?", default=None, err=True)
    said = {"name": name, "characters": found["characters"], "same": "yes" if same else "no"}
    answer = asyncio.run(_ask(opened, COMPARED, said))
    if not same:
        raise RefusedByPolicy(
            f"somebody is in the middle of this call: it was ended, and {found['name']} is not verified; say nothing "
            "in calls with them that others must not hear, and ask them by another way"
        )
    if as_json:
        click.echo(json.dumps({**found, "verified": answer["verified"] == "yes"}))
        return
    click.echo(f"{found['name']} is verified; 'bayonne contact verify {found['name']} --undo' takes it back")


def _show(found: Mapping[str, str]) -> None:
    if found["alarm"]:
        click.secho(f"ALARM: {found['alarm']}", fg="red", bold=True)
    click.echo(_WHERE[Mode(found["mode"]), End(found["end"])].format(name=found["name"]))
    if found["words"]:
        click.echo(f"\n    {found['words']}\n    {found['characters']}\n")
    else:
        click.echo(_PHONES_BUSINESS)
    if found["compared"]:
        click.echo(f"You compared on {found['compared']}.")


def _begin_anew(name: str, yes: bool, as_json: bool, opened: Opened) -> None:
    """Both the contact's verification and what calls go on from: the one without the other would be an alarm."""
    contact = opened.book.named(name)
    if not yes:
        click.echo(
            f"What you compared with {contact.name}, and what later calls went on from, will be forgotten.  The next "
            "call is like the first one: whoever is there then is taken for them until you compare words.  Do this "
            "only if you know by another way, not from the call itself, that they have another phone or machine.",
            err=True,
        )
        click.confirm("Begin anew?", abort=True, err=True)
    ZidCache(opened.state, SystemClock(), opened.entropy).forget_contact(contact.id)
    opened.book.judge(contact, VoiceTrust.begun_anew)
    if as_json:
        click.echo(json.dumps({"name": contact.name, "verified": False}))
        return
    click.echo(f"{contact.name} is not verified; compare words in the next call")


@click.command(name="set-pgp")
@click.argument("name")
@click.argument("fingerprint", required=False)
@click.option("--none", "none", is_flag=True, help="NAME has no OpenPGP key any more.")
@as_json
@config
def set_pgp(name: str, fingerprint: str | None, none: bool, as_json: bool, config: Path) -> None:
    """Have calls with NAME signed, and their signatures checked, by OpenPGP: FINGERPRINT is that of NAME's key.

    Needs a key of your own ('bayonne openpgp use') and NAME's public key in your GnuPG keyring.  A signature can be
    shown to others, and proves to them that you had a call: see docs/threat-model.md.
    """
    if (fingerprint is None) is not none:
        raise MisuseError("give the fingerprint of the contact's key, or --none")
    opened = open_book(config)
    key = read_fingerprint(fingerprint) if fingerprint is not None else ""
    contact = opened.book.named(name)
    opened.book.judge(contact, lambda trust: trust.with_pgp(key))
    if as_json:
        click.echo(json.dumps({"name": contact.name, "openpgp": key}))
        return
    click.echo(
        f"{contact.name} signs with {key}" if key else f"nothing is signed for {contact.name} any more"
    )
    if key:
        _say_what_is_missing(key, contact, opened)


def _say_what_is_missing(key: str, contact: Contact, opened: Opened) -> None:
    if not opened.book.openpgp:
        click.echo("signing is off until you name your own key: 'bayonne openpgp use'", err=True)
    try:
        known = asyncio.run(GnuPG(opened.settings.openpgp).knows(key))
    except TransportUnavailable as error:
        click.echo(str(error), err=True)
        return
    if not known:
        click.echo(
            f"that key is not in your GnuPG keyring yet: import {contact.name}'s, and compare its fingerprint",
            err=True,
        )


async def _ask(opened: Opened, command: str, arguments: Mapping[str, str]) -> dict[str, str]:
    return await ask(opened.settings.directory, command, arguments, lambda words: None)


COMMANDS = (verify, set_pgp)
