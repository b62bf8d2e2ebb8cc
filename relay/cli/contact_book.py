"""What every `bayonne contact` command begins with: the agent's configuration, its state, its contact book."""

from dataclasses import dataclass
from pathlib import Path

import click

from relay.agent import AgentSettings, ContactBook
from relay.agent.credentials import own_identity
from relay.agent.kept import Kept
from relay.cli.opening import config, load_settings, open_place
from relay.core import Entropy, MisuseError, SystemClock, SystemEntropy
from relay.forward_publish.introduction import MOST_NAME
from relay.forward_publish.plain_text import is_plain

as_json = click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")


def _own_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not is_plain(value, MOST_NAME, least=0):
        raise MisuseError(f"--as: one line of at most {MOST_NAME} bytes, without invisible characters")
    return value


own_name = click.option(
    "--as",
    "own_name",
    default="",
    metavar="NAME",
    callback=_own_name,
    help="What you call yourself, where they do not know yet.",
)


__all__ = ["Opened", "as_json", "config", "open_book", "own_name"]


@dataclass(frozen=True, slots=True)
class Opened:
    """One command's view of an agent's files; a running agent notices what it changes."""

    settings: AgentSettings
    state: Kept
    directory: Path
    book: ContactBook
    entropy: Entropy
    wall: float

    @property
    def public_key(self) -> bytes:
        return own_identity(self.state, self.entropy).public_key


def open_book(path: Path) -> Opened:
    """Raises as `relay.cli.opening.open_place`."""
    settings = load_settings(path)
    place = open_place(settings)
    book = ContactBook(place.state)
    book.refresh()
    wall = SystemClock().wall()
    book.settle(wall)
    return Opened(settings, place.state, place.directory, book, SystemEntropy(), wall)
