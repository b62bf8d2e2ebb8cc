"""`bayonne contact invite, add, invitations, withdraw, requests, accept, refuse`: how people become contacts."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.agent.contact_file import KeptInvitation
from relay.agent.domains import Account
from relay.agent.following import read_handed
from relay.agent.invitations import USUAL_EXPIRY, make_invitation, parse_expiry, status_word
from relay.cli.contact_book import Opened, as_json, config, open_book, own_name
from relay.cli.contact_domains import add_from_domain
from relay.core import ConfigurationError, MisuseError
from relay.forward_publish import RecordStatus
from relay.identity import InvitationKind, format_address, qr_png, qr_svg, qr_text


@click.command()
@click.argument("name", required=False)
@click.option(
    "--once", "kind", flag_value="once", default=True, help="For one person, NAME; this is the default."
)
@click.option(
    "--standing", "kind", flag_value="standing", help="For anybody who gets it; you accept each of them."
)
@click.option("--expires", default=None, metavar="TIME", help="36h, 7d (the default), or never.")
@click.option(
    "--qr",
    type=click.Path(path_type=Path),
    help="Write a QR code to this .png or .svg file; - shows it here.",
)
@config
def invite(name: str | None, kind: str, expires: str | None, qr: Path | None, config: Path) -> None:
    """Make an invitation for NAME and print it.

    Hand it over where nobody else reads it: who comes first can be this contact.
    """
    once = kind == "once"
    if once and not name:
        raise MisuseError("say for whom: 'bayonne contact invite NAME', or --standing")
    if not once and name:
        raise MisuseError("a standing invitation is for nobody in particular; leave the name out")
    lasts = parse_expiry(expires or USUAL_EXPIRY)
    if qr is not None and str(qr) != "-" and qr.suffix.lower() not in (".png", ".svg"):
        raise MisuseError("--qr: the file's name ends in .png or .svg")
    opened = open_book(config)
    invitation, kept = make_invitation(
        opened.book,
        name or "",
        InvitationKind.ONCE if once else InvitationKind.STANDING,
        opened.public_key,
        opened.settings.contact_points,
        lasts,
        wall=opened.wall,
        entropy=opened.entropy,
    )
    uri = invitation.format()
    if qr is not None:
        _draw(uri, qr, opened, kept)
    click.echo(uri)


def _draw(uri: str, qr: Path, opened: Opened, kept: KeptInvitation) -> None:
    try:
        if str(qr) == "-":
            click.echo(qr_text(uri), err=True)
        elif qr.suffix.lower() == ".svg":
            qr_svg(uri, qr)
        else:
            qr_png(uri, qr)
    except OSError as error:
        opened.book.withdraw(kept.id, opened.wall)
        raise ConfigurationError(f"--qr: the file cannot be written ({error.strerror})") from None


@click.command()
@click.argument("name")
@click.argument("invitation", required=False)
@own_name
@as_json
@config
def add(name: str, invitation: str | None, own_name: str, as_json: bool, config: Path) -> None:
    """Add the person who gave you an invitation, under the NAME that you will dial.

    Without INVITATION it is asked for, or read from standard input.  Better so: what stands on the command line can be
    read by every user of this machine, and stays in the shell's history.  Instead of an invitation it may be the
    address of somebody who published a listing, or an account such as alice@example.org, where that domain publishes
    one: the agent, which has to run for this, asks the domain through Tor.
    """
    opened = open_book(config)
    if invitation is None:
        terminal = sys.stdin.isatty()
        invitation = click.prompt("invitation", hide_input=True) if terminal else sys.stdin.read(4096)
    handed = read_handed(invitation, own_name, opened.settings.contact_points, opened.wall)
    if isinstance(handed, Account):
        contact, address = add_from_domain(name, handed, own_name, opened)
    elif handed.public_key == opened.public_key:
        raise MisuseError("that invitation is your own; hand it to somebody else")
    else:
        contact = opened.book.add(name, handed.public_key, handed.introducing, handed.home, opened.entropy)
        address = format_address(handed.public_key)
    if as_json:
        click.echo(json.dumps({"name": contact.name, "account": contact.account, "address": address}))
        return
    if contact.account:
        click.echo(f"{contact.account} is {address}; should the domain ever name another one, you are warned")
    click.echo(f"{name} was added; 'bayonne contact list' says when a call is possible")


@click.command()
@as_json
@config
def invitations(config: Path, as_json: bool) -> None:
    """Show the invitations that you made, and what became of them."""
    opened = open_book(config)
    rows = [
        {
            "number": kept.id,
            "kind": kept.kind.name.lower(),
            "name": kept.name,
            "status": status_word(kept.status_at(opened.wall)),
            "expires": kept.expires,
        }
        for kept in opened.book.invitations
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("no invitations; 'bayonne contact invite NAME' makes one")
    for kept in opened.book.invitations:
        until = f", expires {_day(kept.expires)}" if kept.expires and _is_open(kept, opened.wall) else ""
        whom = kept.name or "anybody"
        click.echo(f"{kept.id}  for {whom:<24} {status_word(kept.status_at(opened.wall))}{until}")


def _is_open(kept: KeptInvitation, wall: float) -> bool:
    return kept.status_at(wall) is RecordStatus.OPEN


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


@click.command()
@click.argument("number")
@config
def withdraw(number: str, config: Path) -> None:
    """Take back the invitation NUMBER; who comes by it later is told so."""
    opened = open_book(config)
    kept = opened.book.withdraw(number, opened.wall)
    click.echo(f"the invitation for {kept.name or 'anybody'} was withdrawn")


@click.command()
@as_json
@config
def requests(config: Path, as_json: bool) -> None:
    """Show who asks to be your contact, by a standing invitation or your listing.

    The names are what they call themselves; nobody has checked them.
    """
    book = open_book(config).book
    found = book.requests
    if as_json:
        click.echo(json.dumps([{"number": one.id, "name": one.name, "at": one.received_at} for one in found]))
        return
    if not found:
        click.echo("nobody asks")
    for one in found:
        click.echo(f"{one.id}  {_day(one.received_at)}  says to be '{one.name}'")
    if book.is_crowded:
        click.echo(f"no more than these {len(found)} are kept; when others ask, the earliest give way")


@click.command()
@click.argument("number")
@click.argument("name", required=False)
@config
def accept(number: str, name: str | None, config: Path) -> None:
    """Take the person of request NUMBER as a contact, under NAME."""
    opened = open_book(config)
    if name is None:
        said = next((one.name for one in opened.book.requests if one.id == number.lower()), "")
        name = opened.book.free_name(said)
    made = opened.book.accept(number, name, opened.entropy)
    click.echo(f"{made.name} is a contact now")


@click.command()
@click.argument("number")
@config
def refuse(number: str, config: Path) -> None:
    """Drop the request NUMBER; the person is not told."""
    open_book(config).book.refuse(number)
    click.echo("the request was dropped")


COMMANDS = (invite, add, invitations, withdraw, requests, accept, refuse)
