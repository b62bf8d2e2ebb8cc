"""`bayonne contact add NAME alice@example.org`, `accept-change`, `webfinger`: people whom a domain names.

The domain is asked by the running agent, through its Tor; this process asks nobody.
"""

import asyncio
import json
from pathlib import Path

import click

from relay.agent.contact_file import Contact
from relay.agent.control import ask
from relay.agent.credentials import own_identity
from relay.agent.domain_contacts import DomainContacts
from relay.agent.domain_desk import RESOLVE
from relay.agent.domain_pins import DomainPins
from relay.agent.domains import Account, Found, format_descriptor
from relay.agent.invitations import make_invitation
from relay.cli.contact_book import Opened, as_json, config, open_book, own_name
from relay.core import MisuseError
from relay.identity import InvitationKind, parse_address


def domain_contacts(opened: Opened) -> DomainContacts:
    """The people of an agent's files whom domains name."""
    return DomainContacts(opened.book, DomainPins(opened.state))


def add_from_domain(name: str, account: Account, own_name: str, opened: Opened) -> tuple[Contact, str]:
    """Ask, pin, add; returns the contact and its address."""
    opened.book.check_new(name, account.text)
    found = asyncio.run(_ask(account, opened))
    if found.public_key == opened.public_key:
        raise MisuseError("that account is your own; whoever adds it finds you")
    contact = domain_contacts(opened).add(
        name, found, own_name, opened.settings.contact_points, opened.wall, opened.entropy
    )
    return contact, found.address


async def _ask(account: Account, opened: Opened) -> Found:
    answer = await ask(
        opened.directory,
        RESOLVE,
        {"account": account.text},
        # It takes seconds; standard output is for what comes of it.
        lambda words: click.echo(f"{words} ...", err=True),
    )
    return Found(account, parse_address(answer["address"]), answer["href"])


@click.command(name="accept-change")
@click.argument("name")
@click.argument("address", required=False)
@own_name
@as_json
@config
def accept_change(name: str, address: str | None, own_name: str, as_json: bool, config: Path) -> None:
    """Believe NAME's domain, which says that NAME is somebody else now.

    First ask NAME by another way: whoever keeps the domain, or took it over, can name anybody.  Without ADDRESS, the
    new one, both are shown, and you are asked.
    """
    opened = open_book(config)
    people = domain_contacts(opened)
    contact = opened.book.named(name)
    pin = people.alarm(contact)
    if pin is None:
        raise MisuseError("nothing has changed at that contact's domain; 'bayonne contact list' shows alarms")
    if address is None:
        click.echo(f"{pin.account.text} was  {pin.address}", err=True)
        click.echo(f"{pin.account.text} is   {pin.offered}", err=True)
        click.confirm(f"Is the new one {contact.name}, as you know by another way?", abort=True, err=True)
        address = pin.offered
    made = people.accept_change(
        name, address.lower(), own_name, opened.settings.contact_points, opened.wall, opened.entropy
    )
    if as_json:
        click.echo(json.dumps({"name": made.name, "account": made.account, "address": address.lower()}))
        return
    click.echo(f"{made.name} is the new address now; 'bayonne contact list' says when a call is possible")


@click.command()
@click.argument("account")
@click.option(
    "--invitation",
    is_flag=True,
    help="Name a new standing invitation of yours, which can be withdrawn, instead of your listing.",
)
@config
def webfinger(account: str, invitation: bool, config: Path) -> None:
    """Print what your domain has to publish so that others find you as ACCOUNT, such as alice@example.org.

    Put it on the domain's web server, as the answer to https://DOMAIN/.well-known/webfinger?resource=acct:ACCOUNT, of
    type application/jrd+json.  It is public: everybody can see that ACCOUNT can be called so.
    """
    asked, opened = Account.parse(account), open_book(config)
    own = opened.book.listing
    if invitation:
        made, _ = make_invitation(
            opened.book,
            "",
            InvitationKind.STANDING,
            opened.public_key,
            opened.settings.contact_points,
            0,
            wall=opened.wall,
            entropy=opened.entropy,
        )
        href = made.format()
    elif own is None or own.withdrawn_at:
        raise MisuseError(
            "nobody could reach you by your address alone: publish a listing first ('bayonne contact listing "
            "publish'), or take --invitation"
        )
    else:
        href = own_identity(opened.state, opened.entropy).sip_uri(asked.user)
    click.echo(format_descriptor(asked, href))


COMMANDS = (accept_change, webfinger)
