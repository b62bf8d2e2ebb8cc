"""`bayonne reflectors`: signed lists of reflectors, made, checked and read."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core import ConfigurationError, SystemClock, SystemEntropy
from relay.media_reflector import (
    ReflectorList,
    ReflectorReference,
    format_maker,
    parse_maker,
    read_list,
    sign_list,
    verify_list,
)
from relay.media_reflector.lists import LIST_LIMIT, LONGEST_VALIDITY, day_of

_SEED_SIZE = 32

_json = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(name="reflectors")
def command() -> None:
    """Make, check and read signed lists of reflectors.

    Callers accept a list's maker, and draw the few reflectors that they use from all lists they accept.
    """


@command.command()
@click.argument("references", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The file of the maker's key.")
@click.option("--new-key", is_flag=True, help="Make the key first; without this it must be there.")
@click.option("--name", required=True, help="What the list is called, for people.")
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST_VALIDITY),
    default=180,
    show_default=True,
    help="How long the list is good.",
)
def sign(references: Path, key: Path, new_key: bool, name: str, days: int) -> None:
    """Sign a list and print it.

    REFERENCES is a file of references as `bayonne reflector` prints them, one a line, or `-` for standard input; empty
    lines and lines that begin with # do not count.
    """
    lines = [line.strip() for line in _read(references).splitlines()]
    found = [ReflectorReference.parse(line) for line in lines if line and not line.startswith("#")]
    issued = day_of(SystemClock().wall())
    private = _make_key(key) if new_key else _load_key(key)
    click.echo(sign_list(name, found, issued, issued + timedelta(days=days), private), nl=False)
    maker = format_maker(private.public_key().public_bytes_raw())
    click.echo(f"tell your users, by a way they trust, who signed it:\n{maker}", err=True)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--maker", "makers", multiple=True, help="A maker that you accept; may be given several times.")
@_json
def verify(file: Path, makers: tuple[str, ...], as_json: bool) -> None:
    """Check that a list is whole, good today, and signed by a maker that you accept.

    Without --maker any maker will do: then this says only that whoever it names did sign it.
    """
    text = _read(file)
    accepted = [parse_maker(maker) for maker in makers] or [read_list(text).maker]
    found = verify_list(text, accepted, SystemClock().wall())
    if as_json:
        _print_json(found)
        return
    click.echo(f"good until {found.until}: {len(found.references)} reflectors, signed by")
    click.echo(format_maker(found.maker))
    if not makers:
        click.echo("ask the maker, by a way you trust, whether that is who they are")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_json
def show(file: Path, as_json: bool) -> None:
    """Show what a list says; its signature must be its maker's, its day may be over."""
    found = read_list(_read(file))
    if as_json:
        _print_json(found)
        return
    over = found.seconds_over(SystemClock().wall()) > 0
    click.echo(f"name     {found.name}")
    click.echo(f"maker    {format_maker(found.maker)}")
    click.echo(f"issued   {found.issued}")
    click.echo(f"until    {found.until}{' (out of date)' if over else ''}")
    for reference in found.references:
        click.echo(str(reference))


def _print_json(found: ReflectorList) -> None:
    click.echo(
        json.dumps(
            {
                "name": found.name,
                "maker": format_maker(found.maker),
                "issued": found.issued.isoformat(),
                "until": found.until.isoformat(),
                "reflectors": [str(reference) for reference in found.references],
            }
        )
    )


def _read(path: Path) -> str:
    try:
        if str(path) == "-":
            return sys.stdin.read(LIST_LIMIT + 1)
        with path.open(encoding="utf-8") as file:
            return file.read(LIST_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path.name}: not a text in UTF-8") from None


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        seed = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path.name}: cannot be read ({error.strerror}); --new-key makes a key"
        ) from None
    if len(seed) != _SEED_SIZE:
        raise ConfigurationError(f"{path.name}: not a maker's key")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _make_key(path: Path) -> Ed25519PrivateKey:
    """Never in place of another file: who loses a maker's key cannot renew its lists."""
    seed = SystemEntropy().token(_SEED_SIZE)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path.name}: is there already; leave --new-key away to use it") from None
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be made ({error.strerror})") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(seed)
    return Ed25519PrivateKey.from_private_bytes(seed)
