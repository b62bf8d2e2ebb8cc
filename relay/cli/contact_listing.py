"""`bayonne contact search` and `contact listing`: being found by people who have no invitation, and finding them.

The search looks at this machine's own copy of all listings, which the agent keeps; what is searched for leaves it not.
"""

import asyncio
import json
from pathlib import Path

import click
import msgspec

from relay.agent.contact_file import OwnListing
from relay.agent.kept import Kept
from relay.agent.listings import DATABASE, open_listings
from relay.cli.contact_book import as_json, config, open_book
from relay.contact_cache.search import Found
from relay.core import MisuseError
from relay.forward_publish import check_listing
from relay.identity import format_address


@click.command()
@click.argument("words", nargs=-1, required=True)
@as_json
@config
def search(words: tuple[str, ...], config: Path, as_json: bool) -> None:
    """Find people by WORDS of their listings: name, organisation, tags, languages.

    Anybody can publish any name: make sure of who it is before you trust it.  'bayonne contact add NAME ADDRESS' asks
    one of them to be your contact.
    """
    opened = open_book(config)
    if not opened.state.stamp(DATABASE):
        why = (
            "the agent has not fetched them yet"
            if opened.settings.search.enabled
            else "'[search] enabled' is off"
        )
        raise MisuseError(f"there are no listings on this machine: {why}")
    found = asyncio.run(_search(opened.state, " ".join(words)))
    if as_json:
        click.echo(json.dumps([_row(one) for one in found], ensure_ascii=False))
        return
    if not found:
        click.echo("nobody is listed with these words")
    for one in found:
        rest = ", ".join(part for part in (one.organisation, *one.tags, *one.languages) if part)
        click.echo(f"{one.name}" + (f"  ({rest})" if rest else ""))
        click.echo(f"    {format_address(one.identity)}")


async def _search(state: Kept, words: str) -> list[Found]:
    index = await open_listings(state)
    try:
        return await index.search(words)
    finally:
        await index.close()


def _row(one: Found) -> dict[str, object]:
    return {
        "name": one.name,
        "organisation": one.organisation,
        "tags": one.tags,
        "languages": one.languages,
        "address": format_address(one.identity),
    }


@click.group(name="listing")
def listing() -> None:
    """Be found by everybody: publish a listing, show it, or withdraw it."""


@listing.command()
@click.argument("name")
@click.option("--organisation", default="", metavar="TEXT", help="Whom you work for.")
@click.option(
    "--tag", "tags", multiple=True, metavar="WORD", help="What you are to be found by; up to 8 times."
)
@click.option("--language", "languages", multiple=True, metavar="CODE", help="de, en, pt-BR; up to 6 times.")
@config
def publish(
    name: str, organisation: str, tags: tuple[str, ...], languages: tuple[str, ...], config: Path
) -> None:
    """Let everybody find you under NAME.

    Everything that you write here is public, with your address.  Who finds you can ask to be your contact; 'bayonne
    contact requests' shows them.
    """
    check_listing(name, organisation, tags, languages)
    opened = open_book(config)
    old = opened.book.listing
    root = old.token_root if old is not None and not old.withdrawn_at else opened.entropy.token(32)
    opened.book.set_listing(OwnListing(name, organisation, tags, languages, root, int(opened.wall)))
    click.echo(
        "your listing is published from the agent's next round on; 'bayonne contact listing withdraw' ends it"
    )


@listing.command()
@config
def withdraw(config: Path) -> None:
    """Be found no more.  Copies of what was published go within two days."""
    opened = open_book(config)
    own = opened.book.listing
    if own is None or own.withdrawn_at:
        raise MisuseError("no listing is published")
    opened.book.set_listing(msgspec.structs.replace(own, withdrawn_at=int(opened.wall)))
    click.echo("your listing is withdrawn; copies of it go within two days")


@listing.command()
@config
def show(config: Path) -> None:
    """Show what everybody can find of you."""
    opened = open_book(config)
    own = opened.book.listing
    if own is None or own.withdrawn_at:
        click.echo("no listing is published")
        return
    click.echo(f"name          {own.name}")
    click.echo(f"organisation  {own.organisation}")
    click.echo(f"tags          {', '.join(own.tags)}")
    click.echo(f"languages     {', '.join(own.languages)}")
    click.echo(f"address       {format_address(opened.public_key)}")


COMMANDS = (search, listing)
