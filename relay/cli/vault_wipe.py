"""`bayonne vault wipe`: everything destroyed at once, by whoever may have no time to mend a configuration first.

What it says, and its exit status, may be all that its owner has time to read: 0 says that whatever was named was there
and is gone.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from relay.agent.control import agent_process
from relay.agent.daemon import WIPE
from relay.agent.overwriting import destroy_file
from relay.agent.vault_destroying import StateToDestroy
from relay.cli.opening import asked_of
from relay.cli.vault_places import Asked, Where
from relay.core import BayonneError, ConfigurationError
from relay.tor.supervision import ProcessIdentity, end_process

END_SECONDS = 5.0
"""How long an agent takes to say that it ends, and to end then, before it is killed."""


@dataclass(slots=True)
class _Account:
    """What came of it, for whoever asked."""

    found: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By place, what was there."""
    destroyed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By place, what was there and is gone."""
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By place, what is there still, and what is called like something of an agent's and was not touched."""
    ended: set[str] = field(default_factory=set)
    """Places whose agent was ended."""
    troubles: list[str] = field(default_factory=list)

    def attempt(self, step: Callable[[], object], place: Path) -> bool:
        """Whatever it raises, the others are done."""
        try:
            step()
        except (BayonneError, OSError) as error:
            told = f"{place}: {error if isinstance(error, BayonneError) else error.strerror}"
            if told not in self.troubles:
                self.troubles.append(told)
            return False
        return True

    def wipe(self, places: list[Path]) -> None:
        """Of all places the keys first."""
        states = [StateToDestroy(place) for place in places]
        steps: tuple[Callable[[StateToDestroy], object], ...] = (
            self._look,
            StateToDestroy.destroy_keys,
            self._end_agent,
            StateToDestroy.destroy,
            self._look_again,
        )
        for step in steps:
            for state in states:
                self.attempt(partial(step, state), state.named)

    def held_something(self, asked: Asked) -> bool:
        places = set(map(str, (*asked.places, *asked.memory)))
        return not places.isdisjoint(self.found.keys() | self.ended)

    def _look(self, state: StateToDestroy) -> None:
        if found := state.look():
            self.found[str(state.named)] = found

    def _look_again(self, state: StateToDestroy) -> None:
        place, there = str(state.named), state.look()
        if gone := tuple(what for what in self.found.get(place, ()) if what not in there):
            self.destroyed[place] = gone
        if left := (*(f"{what}, or some of it" for what in there), *state.left()):
            self.left[place] = left

    def _end_agent(self, state: StateToDestroy) -> None:
        """The agent that runs there, by its door, and where it does not listen, by force."""
        process = agent_process(state.path) if state.path.is_dir() else None
        if process is not None:
            # Whatever it says, it ends.
            with contextlib.suppress(BayonneError):
                asked_of(state.path, WIPE, seconds=END_SECONDS)
            asyncio.run(end_process(ProcessIdentity.of(process), patience=END_SECONDS))
            self.ended.add(str(state.named))


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
    directory it is, it is the one of the sample configuration.  Nothing goes but what is an agent's.  The exit status
    is 0 where all that was named was found and is gone; otherwise read what it says.
    """
    where = Where.find(config, named, os.environ)
    places = list(dict.fromkeys(place for asked in where.asked for place in (*asked.places, *asked.memory)))
    own = None if keep_config else where.configuration
    if not yes:
        for place in places:
            click.echo(f"what an agent keeps in {place}", err=True)
        if own is not None:
            click.echo(f"its configuration {own}", err=True)
        click.confirm("Destroy identity, contacts and keys for ever?", abort=True, err=True)
    account = _Account()
    account.wipe(places)
    troubles = _not_found(account, where)
    if where.unread and config is not None and config.exists() and not keep_config:
        troubles.append(f"{where.unread}; it stays")
    if own is not None and not any(
        asked.by_configuration and account.held_something(asked) for asked in where.asked
    ):
        # It may be all that says where an agent's things are.
        troubles.append(f"{own} stays, for nothing was found where it says")
    elif own is not None and account.attempt(partial(_destroy_config, own), own):
        account.destroyed[str(own)] = ("the configuration",)
    _tell(account, where, [*account.troubles, *troubles], as_json)


def _not_found(account: _Account, where: Where) -> list[str]:
    """What was named and was not there."""
    missing = [asked for asked in where.asked if not account.held_something(asked)]
    troubles = [f"nothing of an agent's was found in {_places(asked)}" for asked in missing]
    if missing:
        troubles.append("name the whole path with --state-directory, as the user whose agent it is")
    return troubles


def _destroy_config(config: Path) -> None:
    """A link to it, too."""
    destroy_file(config.resolve())
    config.unlink(missing_ok=True)


def _places(asked: Asked) -> str:
    return " or ".join(map(str, asked.places))


def _tell(account: _Account, where: Where, troubles: list[str], as_json: bool) -> None:
    troubles += [f"{place} has still: {', '.join(left)}" for place, left in account.left.items()]
    done = bool(account.found or account.ended)
    nothing_at = [asked for asked in where.asked if not account.held_something(asked)]
    if as_json:
        told = {
            "state": "nothing" if not done else "incomplete" if troubles else "wiped",
            "destroyed": account.destroyed,
            "nothing_at": [str(place) for asked in nothing_at for place in asked.places],
            "left": account.left,
            "agents_ended": len(account.ended),
            "troubles": troubles,
        }
        click.echo(json.dumps(told))
    else:
        for place, found in account.destroyed.items():
            click.echo(f"destroyed  {place}: {', '.join(found)}")
        for asked in nothing_at:
            click.echo(f"not found  anything of an agent's in {_places(asked)}")
        for place, left in account.left.items():
            click.echo(f"left       {place}: {', '.join(left)}")
        click.echo(f"agents     {f'{len(account.ended)} ended' if account.ended else 'none ran there'}")
        if not troubles:
            click.echo("wiped; nothing opens it any more")
    if any(asked.guessed for asked in where.asked):
        why = where.unread or "no configuration was named"
        click.echo(f"{why}: this is where the sample configuration has an agent's things", err=True)
    if troubles:
        raise ConfigurationError(
            f"{'not everything was done' if done else 'NOTHING was destroyed'}: {'; '.join(troubles)}"
        )
