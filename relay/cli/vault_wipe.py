"""`bayonne vault wipe`: everything destroyed at once, by whoever may have no time to mend a configuration first."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from relay.agent.control import agent_process
from relay.agent.daemon import WIPE
from relay.agent.overwriting import destroy_file
from relay.agent.settings import DEFAULT_STATE_DIRECTORY, expanded, state_directories_in
from relay.agent.vault_destroying import destroy, destroy_keys, what_lies_in
from relay.cli.opening import asked_of, memory_of
from relay.core import BayonneError, ConfigurationError
from relay.tor.supervision import ProcessIdentity, end_process

END_SECONDS = 5.0
"""How long an agent takes to say that it ends, and to end then, before it is killed."""

_VARIABLE = "BAYONNE_STATE_DIRECTORY"


@dataclass(frozen=True, slots=True)
class _Where:
    """The state directories to wipe, and the configuration file that goes with them.

    `unread` is why the configuration said nothing; `guessed`: nothing and nobody else did.
    """

    directories: tuple[Path, ...]
    configuration: Path | None
    unread: str
    guessed: bool

    @classmethod
    def find(cls, config: Path | None, named: Iterable[str], environment: Mapping[str, str]) -> "_Where":
        """As little as can be read is enough."""
        told, unread = _told(config)
        own = config if told else None
        if environment.get(_VARIABLE):
            told = (environment[_VARIABLE],)
        found = (*named, *told) or (DEFAULT_STATE_DIRECTORY,)
        guessed = not told and not tuple(named)
        return cls(tuple(dict.fromkeys(map(expanded, found))), own, unread, guessed)


def _told(config: Path | None) -> tuple[tuple[str, ...], str]:
    """What a configuration says of its state directory, and why it says nothing."""
    if config is None:
        return (), ""
    try:
        told = state_directories_in(config.read_bytes())
    except OSError as error:
        return (), f"{config.name} cannot be read ({error.strerror})"
    return told, "" if told else f"{config.name} names no state_directory that can be read"


@dataclass(slots=True)
class _Account:
    """What came of it, for whoever asked."""

    destroyed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By place, what was there."""
    nothing_at: list[str] = field(default_factory=list)
    agents_ended: int = 0
    troubles: list[str] = field(default_factory=list)

    def attempt(self, step: Callable[[Path], None], place: Path) -> bool:
        """Whatever it raises, the others are done."""
        try:
            step(place)
        except (BayonneError, OSError) as error:
            told = f"{place}: {error if isinstance(error, BayonneError) else error.strerror}"
            if told not in self.troubles:
                self.troubles.append(told)
            return False
        return True

    def look(self, place: Path) -> None:
        if found := what_lies_in(place):
            self.destroyed[str(place)] = found
        else:
            self.nothing_at.append(str(place))

    def look_again(self, place: Path) -> None:
        """Afterwards: what is there still was not destroyed."""
        left = what_lies_in(place)
        self.destroyed[str(place)] = tuple(
            what for what in self.destroyed.get(str(place), ()) if what not in left
        )
        if not self.destroyed[str(place)]:
            del self.destroyed[str(place)]

    def end_agent(self, place: Path) -> None:
        """The agent that runs there, by its door, and where it does not listen, by force."""
        process = agent_process(place) if place.is_dir() else None
        if process is not None:
            self.agents_ended += 1
            # Whatever it says, it ends.
            with contextlib.suppress(BayonneError):
                asked_of(place, WIPE, seconds=END_SECONDS)
            asyncio.run(end_process(ProcessIdentity.of(process), patience=END_SECONDS))


@click.command(name="wipe")
@click.option("--config", type=click.Path(path_type=Path), help="The agent's TOML file; it may be damaged.")
@click.option(
    "--state-directory",
    "named",
    multiple=True,
    metavar="DIR",
    help="Wipe this one, whatever the configuration says, or as well as what it says.",
)
@click.option("--keep-config", is_flag=True, help="Leave the configuration file.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def wipe(config: Path | None, named: tuple[str, ...], keep_config: bool, yes: bool, as_json: bool) -> None:
    """Destroy everything that your agent keeps, for ever, without a passphrase; a running agent ends.

    Keys go first, then the rest, then the configuration file, which tells whom you rely on.  Where nothing says which
    directory it is, it is the one of the sample configuration.
    """
    where = _Where.find(config, named, os.environ)
    places = [place for directory in where.directories for place in (directory, *memory_of(directory))]
    if not yes:
        for place in places:
            click.echo(f"what an agent keeps in {place}", err=True)
        if where.configuration is not None and not keep_config:
            click.echo(f"its configuration {where.configuration}", err=True)
        click.confirm("Destroy identity, contacts and keys for ever?", abort=True, err=True)
    account = _Account()
    for step in (account.look, destroy_keys, account.end_agent, destroy, account.look_again):
        for place in places:
            account.attempt(step, place)
    own = where.configuration
    if own is not None and own.is_file() and not keep_config and account.attempt(_destroy_config, own):
        account.destroyed[str(own)] = ("the configuration",)
    _tell(account, where, as_json)


def _destroy_config(config: Path) -> None:
    """A link to it, too."""
    destroy_file(config.resolve())
    config.unlink(missing_ok=True)


def _tell(account: _Account, where: _Where, as_json: bool) -> None:
    wiped = bool(account.destroyed or account.agents_ended)
    if as_json:
        told = {
            "state": "wiped" if wiped else "nothing",
            "destroyed": account.destroyed,
            "nothing_at": account.nothing_at,
            "agents_ended": account.agents_ended,
            "troubles": account.troubles,
        }
        click.echo(json.dumps(told))
    else:
        for place, found in account.destroyed.items():
            click.echo(f"destroyed  {place}: {', '.join(found)}")
        for place in account.nothing_at:
            click.echo(f"not found  anything of an agent's in {place}")
        ended = f"{account.agents_ended} ended" if account.agents_ended else "none ran there"
        click.echo(f"agents     {ended}")
        if wiped and not account.troubles:
            click.echo("wiped; nothing opens it any more")
    if where.guessed:
        why = where.unread or "no configuration was named"
        click.echo(f"{why}: this is where the sample configuration has an agent's things", err=True)
    elif where.unread:
        click.echo(f"{where.unread}; it stays", err=True)
    if account.troubles:
        raise ConfigurationError(f"not everything was done: {'; '.join(account.troubles)}")
    if where.guessed and not wiped:
        raise ConfigurationError("nothing was found to destroy; name the directory with --state-directory")
