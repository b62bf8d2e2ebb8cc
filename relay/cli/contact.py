"""`bayonne contact`: the people you call.  Works on the agent's state directory; a running agent notices at once."""

import json
from pathlib import Path

import click

from relay.agent.contact_file import Contact
from relay.agent.domain_contacts import DomainContacts
from relay.agent.domain_pins import Pin
from relay.agent.invitations import why_not_yet
from relay.agent.permissions import format_hours, parse_hours
from relay.agent.reachability import written
from relay.cli import contact_domains, contact_invitations, contact_listing, contact_verification
from relay.cli.contact_book import as_json, config, open_book
from relay.cli.contact_domains import domain_contacts
from relay.identity import format_address

DAY = 86400.0
UNCHECKED = 21 * DAY
"""Seconds without an answer after which `list` says so: longer than the agent lets pass between two questions."""


@click.group(name="contact")
def command() -> None:
    """Invite, add, list, search, verify, block and remove the people you call."""


for part in (
    *contact_invitations.COMMANDS,
    *contact_listing.COMMANDS,
    *contact_domains.COMMANDS,
    *contact_verification.COMMANDS,
):
    command.add_command(part)


@command.command(name="list")
@as_json
@config
def list_(config: Path, as_json: bool) -> None:
    """Show your contacts, whether they can be called, and whether you compared words with them."""
    opened = open_book(config)
    people = domain_contacts(opened)
    contacts = sorted(opened.book, key=lambda contact: contact.name.casefold())
    if as_json:
        click.echo(json.dumps([_row(one, people, opened.wall) for one in contacts]))
        return
    if not contacts:
        click.echo("no contacts yet; 'bayonne contact invite NAME' makes an invitation")
    for contact in contacts:
        hours = "" if contact.hours is None else f"; may ring {format_hours(contact.hours)}"
        click.echo(f"{contact.name:<24} {_words(contact, people.doubt(contact), opened.wall)}{hours}")
        if trust := _trust_words(contact):
            click.echo(f"{'':<24} {trust}")
        if contact.account:
            click.echo(f"{'':<24} {_at_domain(contact, people.pin(contact), opened.wall)}")


def _row(contact: Contact, people: DomainContacts, wall: float) -> dict[str, object]:
    pin = people.pin(contact)
    return {
        "name": contact.name,
        "state": contact.state,
        "known": contact.callable_at(wall),
        "blocked": contact.blocked,
        "hours": format_hours(contact.hours),
        "missed": len(contact.missed),
        "trouble": why_not_yet(contact.introducing, wall) if contact.introducing is not None else "",
        "account": contact.account,
        "address": format_address(contact.public_key),
        "alarm": people.doubt(contact),
        "offered": pin.offered if pin is not None else "",
        "withdrawn": pin is not None and pin.withdrawn,
        "checked": pin.checked_at if pin is not None else 0,
        "verified": [
            {"mode": one.mode, "end": one.own_end, "since": one.date} for one in contact.trust.verified
        ],
        "voice_alarm": contact.trust.alarm,
        "openpgp": contact.trust.pgp,
    }


def _words(contact: Contact, alarm: str, wall: float) -> str:
    if contact.blocked:
        return "blocked"
    if alarm:
        return f"ALARM: {alarm}"
    if contact.introducing is not None:
        return why_not_yet(contact.introducing, wall) or "not heard of yet"
    if contact.callable_at(wall):
        return "can be called"
    return "not heard of yet" if contact.whereabouts is None else "not heard of for days"


def _trust_words(contact: Contact) -> str:
    if contact.introducing is not None:
        return ""
    if contact.trust.alarm:
        return f"ALARM: {contact.trust.alarm}; 'bayonne contact verify {contact.name}'"
    if not contact.trust.verified:
        return "not verified"
    return "; ".join(f"verified {one.date} ({one.mode})" for one in contact.trust.verified)


def _at_domain(contact: Contact, pin: Pin | None, wall: float) -> str:
    if pin is not None and pin.withdrawn:
        return f"{contact.account} (not published any more)"
    if pin is not None and (silent := wall - pin.checked_at) > UNCHECKED:
        return f"{contact.account} (its domain said nothing of use for {int(silent // DAY)} days)"
    return contact.account


@command.command()
@click.argument("name")
@config
def remove(name: str, config: Path) -> None:
    """Forget NAME; the tokens that you gave them stop working."""
    domain_contacts(open_book(config)).remove(name)
    click.echo(f"{name} was removed")


@command.command()
@click.argument("name")
@config
def block(name: str, config: Path) -> None:
    """Let NAME ring no more.

    They are not told: it is as if your agent did not run.  Nobody else notices.
    """
    opened = open_book(config)
    opened.book.block(name, opened.entropy)
    click.echo(f"{name} was blocked; 'bayonne contact unblock {name}' takes it back")


@command.command()
@click.argument("name")
@config
def unblock(name: str, config: Path) -> None:
    """Let NAME ring again, once their agent found your next record."""
    open_book(config).book.unblock(name)
    click.echo(f"{name} may ring again, after some hours at most")


@command.command()
@click.argument("name")
@click.argument("hours")
@config
def hours(name: str, hours: str, config: Path) -> None:
    """When NAME may ring: 08:00-22:00 by this machine's clock, or "always".

    At other times your phone stays silent, the call counts as missed, and the caller hears what callers hear when
    nobody answers.
    """
    allowed = parse_hours(hours)
    open_book(config).book.set_hours(name, allowed)
    click.echo(f"{name} may ring {format_hours(allowed)}")


@command.command()
@as_json
@config
def missed(config: Path, as_json: bool) -> None:
    """Show calls of the last days that you did not take, the latest first."""
    found = sorted(
        ((minute, contact.name) for contact in open_book(config).book for minute in contact.missed),
        reverse=True,
    )
    if as_json:
        click.echo(json.dumps([{"name": name, "minute": minute} for minute, name in found]))
        return
    if not found:
        click.echo("no missed calls")
    for minute, name in found:
        click.echo(f"{written(minute)}  {name}")
