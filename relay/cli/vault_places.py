"""Where a wipe looks for an agent's things.  As little as can be read is enough; whoever asks may be another user, or
in another directory, than whoever started the agent."""

import os
import pwd
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relay.agent import AgentSettings
from relay.agent.amnesia import amnesic_places, is_ours
from relay.agent.settings import DEFAULT_STATE_DIRECTORY, expanded, state_directories_in
from relay.core import ConfigurationError

VARIABLE = "BAYONNE_STATE_DIRECTORY"

_EVERYBODYS = frozenset({"state_directory", "contact_points", "tor"})
_AGENTS = frozenset(AgentSettings.__struct_fields__) - _EVERYBODYS
_OTHERS = frozenset(
    {
        *("database", "peers", "limits"),
        *("udp_listen", "udp_advertise", "capacity", "workers", "data_plane", "drain_limit"),
        *("backup", "log_level", "trunks"),
    }
)
"""Keys of a contact point and of a reflector alone, whose modules a wipe does without."""
_KEY = re.compile(r"^[ \t]*(?:\[+[ \t]*)?[\"']?([a-z_]+)", re.MULTILINE)
_ROOT = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One state directory, as somebody named it; `places` is where it may be, `memory` where an amnesic agent may have
    its things in its stead."""

    told: str
    places: tuple[Path, ...]
    memory: tuple[Path, ...]
    by_configuration: bool = False
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Where:
    """All that is to be wiped; `unread` is why the configuration, if there is one, says nothing."""

    asked: tuple[Asked, ...]
    configuration: Path | None
    unread: str

    @classmethod
    def find(cls, config: Path | None, named: Iterable[str], environment: Mapping[str, str]) -> "Where":
        """Raises `ConfigurationError` where the configuration is another program's, and nothing else is named."""
        named = tuple(named)
        told, unread, others = _told(config)
        variable = environment.get(VARIABLE, "")
        if others and not named and not variable:
            raise ConfigurationError(f"{unread}; nothing was touched")
        own = config if told else None
        if variable:
            told = (variable,)
        users = _users(config, environment)
        beside = config.absolute().parent if config is not None else None
        asked = [_asked(text, users, None) for text in named]
        asked += [_asked(text, users, beside, by_configuration=True) for text in told]
        return cls(tuple(asked) or (_asked(DEFAULT_STATE_DIRECTORY, users, None, guessed=True),), own, unread)


def _told(config: Path | None) -> tuple[tuple[str, ...], str, bool]:
    """What a configuration says of its state directory, why it says nothing, and whether it is another program's."""
    if config is None:
        return (), "", False
    try:
        content = config.read_bytes()
    except OSError as error:
        return (), f"{config.name} cannot be read ({error.strerror})", False
    keys = _keys_in(content)
    if keys & _OTHERS and not keys & _AGENTS:
        return (
            (),
            f"{config.name} is the configuration of a contact point or a reflector, not an agent's",
            True,
        )
    told = state_directories_in(content)
    return told, "" if told else f"{config.name} names no state_directory that can be read", False


def _keys_in(content: bytes) -> set[str]:
    """Those at the top; of what is no TOML, all words that lines begin with."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        return set(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return set(_KEY.findall(text))


def _users(config: Path | None, environment: Mapping[str, str]) -> tuple[int, ...]:
    """Whose agent it may be: ours; as root also that of whoever owns the configuration, or asked sudo(8)."""
    users = [os.geteuid()]
    if users[0] == _ROOT:
        if config is not None and config.exists():
            users.append(config.stat().st_uid)
        if (asker := environment.get("SUDO_UID", "")).isascii() and asker.isdigit():
            users.append(int(asker))
    return tuple(dict.fromkeys(users))


def _asked(
    told: str,
    users: tuple[int, ...],
    beside: Path | None,
    *,
    by_configuration: bool = False,
    guessed: bool = False,
) -> Asked:
    meant = [expanded(told)]
    if told == "~" or told.startswith("~/"):
        meant += [home / told[2:] for user in users[1:] if (home := _home(user)) is not None]
    # One that is relative counts from where its agent was started.
    places = [place.absolute() for place in meant]
    if beside is not None and not meant[0].is_absolute():
        places.append(beside / meant[0])
    places = list(dict.fromkeys(places))
    memory = [found for place in places for found in _memory_of(place, users)]
    return Asked(told, tuple(places), tuple(dict.fromkeys(memory)), by_configuration, guessed)


def _home(user: int) -> Path | None:
    try:
        return Path(pwd.getpwuid(user).pw_dir)
    except (KeyError, OverflowError):
        return None


def _memory_of(place: Path, users: tuple[int, ...]) -> list[Path]:
    if users[0] == _ROOT:
        users = (*users, *_owner_of(place))
    return [
        path
        for user in dict.fromkeys(users)
        for path in filter(partial(is_ours, user=user), amnesic_places(place, user))
    ]


def _owner_of(place: Path) -> tuple[int, ...]:
    """Of a directory that an amnesic agent never made: of what it would be in."""
    there = next((path for path in (place, *place.parents) if path.exists()), None)
    return () if there is None else (there.stat().st_uid,)
