"""`bayonne vault`: what an agent keeps, sealed; locked, moved to another machine, or destroyed."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from relay.agent import AgentSettings
from relay.agent.control import NobodyThere
from relay.agent.daemon import LOCK, STATUS, UNLOCK
from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_destroying import plain_files
from relay.agent.vault_directory import VaultDirectory
from relay.agent.vault_moving import Import, export
from relay.cli.opening import (
    asked_of,
    by_running_agent,
    config,
    load_settings,
    memory_of,
    open_vault,
    tell_damage,
)
from relay.cli.passphrases import passphrases
from relay.cli.vault_wipe import wipe as wipe_command
from relay.core import (
    ConfigurationError,
    MisuseError,
    RefusedByPolicy,
    SystemEntropy,
    synchronise,
    wipe,
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(name="vault")
def command() -> None:
    """Lock what your agent keeps, move it to another machine, or destroy it."""


command.add_command(wipe_command)


@command.command()
@click.option("--check", is_flag=True, help="Open every part, and name those that are damaged.")
@as_json
@config
def status(config: Path, check: bool, as_json: bool) -> None:
    """Say whether there is a vault, and whether a running agent has it open.

    Where the passphrase opens it, a copy of its header or of its list that is damaged is put aside, and made anew.
    """
    settings = load_settings(config)
    found: dict[str, object] = {"agent": _agent_state(settings), "disk": _on_disk(settings)}
    if check:
        found |= _checked(settings)
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"agent   {found['agent']}")
        click.echo(f"disk    {found['disk']}")
        for sentence in _sentences(found.get("damaged")):
            click.echo(f"damaged {sentence}")
        if "parts" in found:
            click.echo(
                f"parts   {found['parts']}, all of them whole, and both copies of their list and of the header"
            )
        for name in _sentences(found.get("aside")):
            click.echo(f"aside   {name}, which was damaged once")
    if found.get("damaged"):
        raise ConfigurationError("the vault is damaged; what is whole opens")


@command.command()
@as_json
@config
def lock(config: Path, as_json: bool) -> None:
    """Have the running agent forget its keys, until 'bayonne vault unlock'.

    Nobody can ring you meanwhile.  It is refused while a call is on.
    """
    asked_of(load_settings(config).directory, LOCK)
    _say(as_json, {"state": "locked"}, "locked")


@command.command()
@as_json
@config
def unlock(config: Path, as_json: bool) -> None:
    """Open the vault of a running agent that is locked."""
    directory = load_settings(config).directory
    if asked_of(directory, STATUS).get("state") != "locked":
        raise MisuseError("the agent is not locked")
    files = open_vault(directory, passphrases())
    asked_of(directory, UNLOCK, {"key": files.vault.key.hex()})
    files.vault.wipe()
    _say(as_json, {"state": "unlocked"}, "unlocked")


@command.command()
@config
def passphrase(config: Path) -> None:
    """Choose another passphrase.  Copies of the vault, and exports, keep the one they had."""
    settings = load_settings(config)
    directory = _vault(settings)
    asked = passphrases()
    old = asked.known("passphrase until now")
    try:
        files = directory.unlock(old, tell_damage)
    finally:
        wipe(old)
    new = asked.new()
    try:
        directory.change_passphrase(files, new)
    finally:
        wipe(new)
        files.vault.wipe()
    click.echo("the new passphrase holds from now on; copies and exports of the vault keep the old one")


@command.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json
@config
def export_(file: Path, config: Path, as_json: bool) -> None:
    """Write the vault, sealed as it is, to FILE, for another machine or as a copy to put away."""
    settings = load_settings(config)
    data, damaged = export(_vault(settings), _sealed(settings), SystemEntropy())
    _write_anew(file, data)
    _say(
        as_json,
        {"file": str(file), "damaged": list(damaged)},
        f"{file.name}: your agent, to whoever knows the passphrase; run it on one machine at a time",
    )
    _tell_left_out(damaged)


def _write_anew(file: Path, data: bytes) -> None:
    """For good: a wipe may follow.  Raises `ConfigurationError`; nothing is left then of what was written."""
    made = False
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        made = True
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        synchronise(file.parent)
    except OSError as error:
        if made:
            with suppress(OSError):
                file.unlink()
        raise ConfigurationError(f"{file.name}: cannot be written ({error.strerror})") from None


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json
@config
def import_(file: Path, config: Path, as_json: bool) -> None:
    """Make an export, FILE, the vault of this machine, where there is none yet.  Stop the agent it came from first."""
    settings = load_settings(config)
    try:
        read = Import(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file.name}: cannot be read ({error.strerror})") from None
    typed = passphrases().known("passphrase of the export")
    try:
        vault = read.unlock(typed)
    finally:
        wipe(typed)
    damaged = read.place(settings.directory, VaultDirectory(settings.directory, SystemEntropy()), vault)
    vault.wipe()
    _say(as_json, {"damaged": list(damaged)}, "imported; 'bayonne agent' opens it with the same passphrase")
    _tell_left_out(damaged)


def _checked(settings: AgentSettings) -> dict[str, object]:
    """Everything is opened.  What the opening itself put aside and made whole was damaged all the same."""
    directory = _vault(settings)
    told: list[str] = []
    files = _sealed(settings, told.append)
    damaged = list(dict.fromkeys([*told, *directory.damaged_headers(), *files.damaged()]))
    found: dict[str, object] = {"damaged": damaged, "aside": list(directory.put_aside())}
    return found if damaged else {**found, "parts": len(files.names())}


def _agent_state(settings: AgentSettings) -> str:
    for place in (*memory_of(settings.directory), settings.directory):
        if place.is_dir():
            try:
                return asked_of(place, STATUS)["state"]
            except NobodyThere:
                continue
    return "not running"


def _on_disk(settings: AgentSettings) -> str:
    vault = VaultDirectory(settings.directory, SystemEntropy()).exists
    clear = bool(plain_files(settings.directory))
    return {(True, True): "vault, and files in the clear beside it", (True, False): "vault"}.get(
        (vault, clear), "files in the clear" if clear else "nothing"
    )


def _vault(settings: AgentSettings) -> VaultDirectory:
    directory = VaultDirectory(settings.directory, SystemEntropy())
    if not directory.exists:
        raise MisuseError("there is no vault yet; 'bayonne agent' makes one at its first start")
    return directory


def _sealed(settings: AgentSettings, tell: Callable[[str], None] = tell_damage) -> SealedFiles:
    """By the running agent's key, or the passphrase."""
    _vault(settings)
    running = by_running_agent(settings.directory)
    if running is not None and isinstance(running.state, SealedFiles):
        return running.state
    return open_vault(settings.directory, passphrases(), tell)


def _say(as_json: bool, fields: dict[str, object], sentence: str) -> None:
    click.echo(json.dumps(fields) if as_json else sentence)


def _sentences(found: object) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else []


def _tell_left_out(damaged: tuple[str, ...]) -> None:
    if damaged:
        raise RefusedByPolicy(f"left out, because damaged: {', '.join(damaged)}")
