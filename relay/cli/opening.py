"""What commands beside an agent begin with: its configuration, and what it keeps, opened."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.agent import AgentSettings
from relay.agent.amnesia import amnesic_places, is_ours
from relay.agent.control import ANSWER_SECONDS, NobodyThere, ask
from relay.agent.daemon import KEY
from relay.agent.kept import Damaged, Kept, PlainFiles
from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_destroying import plain_files
from relay.agent.vault_directory import VAULT, VaultDirectory
from relay.agent.vault_moving import clear_up, move_in
from relay.cli.passphrases import Passphrases, passphrase_option, passphrases
from relay.core import ConfigurationError, RefusedByPolicy, SystemEntropy, load_configuration, wipe
from relay.identity.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])

_config = click.option(
    "--config", "config", type=click.Path(path_type=Path), required=True, help="The agent's TOML file."
)


def config(command: F) -> F:
    """The options of every command that opens what an agent keeps."""
    return _config(passphrase_option(command))


@dataclass(frozen=True, slots=True)
class Place:
    """What an agent keeps, and the directory that its door is in."""

    state: Kept
    directory: Path


def load_settings(path: Path) -> AgentSettings:
    """Raises `ConfigurationError`."""
    settings = load_configuration(path, AgentSettings, environment=os.environ)
    settings.check()
    return settings


def open_place(settings: AgentSettings) -> Place:
    """In the clear; or by the key of the agent that runs; or by the passphrase, a new one where there is no vault yet.

    Raises `ConfigurationError`, `MisuseError`, `NotKept`, `WrongPassphrase`.
    """
    directory = settings.directory
    if (running := _amnesic(directory)) is not None:
        return running
    if not settings.vault.sealed:
        return Place(open_plain(directory), directory)
    if (running := by_running_agent(directory)) is not None:
        return running
    return Place(open_vault(directory, passphrases()), directory)


def open_plain(directory: Path) -> PlainFiles:
    """Raises `ConfigurationError`."""
    if VaultDirectory(directory, SystemEntropy()).exists:
        raise ConfigurationError(
            "vault.sealed: there is a vault in the state directory; leave 'sealed' on, or name another directory"
        )
    return PlainFiles(directory)


def tell_damage(sentence: str) -> None:
    """Whoever reads what a command prints looks for nothing else there."""
    click.echo(sentence, err=True)


def open_vault(directory: Path, asked: Passphrases, tell: Callable[[str], None] = tell_damage) -> SealedFiles:
    """By its passphrase; where there is none, one is made, of what lies there in the clear.  `tell` hears of damage."""
    vault = VaultDirectory(directory, SystemEntropy())
    if not vault.exists:
        clear = len(plain_files(directory))
        passphrase = asked.new("choose a passphrase for the vault, there is no way in without it")
        try:
            files = move_in(directory, vault, passphrase)
        finally:
            wipe(passphrase)
        if clear:
            click.echo(
                f"{clear} files that lay in the clear are in the vault now, and were destroyed where they lay; on "
                "flash storage, and in backups, copies may live on",
                err=True,
            )
        return files
    passphrase = asked.known()
    try:
        files = vault.unlock(passphrase, tell)
    finally:
        wipe(passphrase)
    clear_up(directory, files)
    try:
        files.names()
    except Damaged as error:
        # Whole parts open all the same: whoever put back old ones would damage the list too.
        tell(str(error))
    return files


def by_running_agent(directory: Path) -> Place | None:
    """By the key of the agent that runs there; None where none does, or where it is locked."""
    if not directory.is_dir():
        return None
    try:
        answer = asked_of(directory, KEY)
        vault = Vault(bytearray.fromhex(answer["key"]))
    except (NobodyThere, RefusedByPolicy):
        return None
    return Place(SealedFiles(directory / VAULT, vault, SystemEntropy(), tell_damage), directory)


def asked_of(
    directory: Path,
    command: str,
    arguments: Mapping[str, str] | None = None,
    *,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, str]:
    """What the agent that runs there says.  Raises what it raises, and `NobodyThere`."""
    return asyncio.run(ask(directory, command, arguments or {}, lambda words: None, seconds=seconds))


def memory_of(directory: Path) -> tuple[Path, ...]:
    """The places in memory that an amnesic agent made in that directory's stead; one at most, unless somebody was
    killed."""
    return tuple(filter(is_ours, amnesic_places(directory)))


def _amnesic(directory: Path) -> Place | None:
    found = (by_running_agent(place) for place in memory_of(directory))
    return next((place for place in found if place is not None), None)
