"""Where passphrases come from: a file descriptor, the service manager, or the terminal; never an argument or a
variable, which other programs can read."""

import getpass
import os
import sys
from pathlib import Path

import click

from relay.core import ConfigurationError, MisuseError, shield_process
from relay.identity.passphrase import chosen, prepared

CREDENTIAL = "bayonne-passphrase"
"""Its name among systemd's credentials (systemd.exec(5), LoadCredential=)."""

_LONGEST_LINE = 8192
_META = "relay.cli.passphrases"


class Passphrases:
    """Gives one passphrase after the other; `descriptor`: one a line, in the order in which they are asked for."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._lines: list[str] | None = None

    def known(self, what: str = "passphrase") -> bytearray:
        """One that opens something.  Raises `ConfigurationError`, `MisuseError`."""
        return prepared(self._next(what))

    def new(self, what: str = "new passphrase") -> bytearray:
        """One that is chosen now: on a terminal it is asked for twice.  Raises `ConfigurationError`, `MisuseError`."""
        typed = self._next(f"{what} (at least 12 characters)")
        made = chosen(typed)
        if self._lines is None and getpass.getpass("the same again: ", sys.stderr) != typed:
            raise MisuseError("the two were not the same; nothing was changed")
        return made

    def _next(self, what: str) -> str:
        if self._lines is None:
            self._lines = self._given()
        if self._lines is None:
            if not _has_terminal():
                raise ConfigurationError(
                    "a passphrase is needed and there is no terminal; give it by --passphrase-fd, or as the "
                    f"credential '{CREDENTIAL}' of the service"
                )
            return getpass.getpass(f"{what}: ", sys.stderr)
        if not self._lines:
            raise ConfigurationError("--passphrase-fd: another line with a passphrase is needed")
        return self._lines.pop(0)

    def _given(self) -> list[str] | None:
        try:
            if self._descriptor is not None:
                with os.fdopen(self._descriptor, "rb") as file:
                    return file.read(_LONGEST_LINE).decode().splitlines()
            place = os.environ.get("CREDENTIALS_DIRECTORY")
            if place and (Path(place) / CREDENTIAL).exists():
                return (Path(place) / CREDENTIAL).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError("the passphrase cannot be read; give it as one line of UTF-8") from None
        return None


def _remember(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    # First of all: whoever may ask for a passphrase leaves no core dump with one.
    shield_process()
    context.meta[_META] = Passphrases(value)


passphrase_option = click.option(
    "--passphrase-fd",
    type=click.IntRange(min=0),
    envvar="BAYONNE_PASSPHRASE_FD",
    expose_value=False,
    callback=_remember,
    is_eager=True,
    metavar="NUMBER",
    help="Read the passphrase, one line, from this file descriptor, instead of the terminal.",
)


def passphrases() -> Passphrases:
    """Those of the command that runs."""
    found = click.get_current_context().meta.get(_META)
    return found if isinstance(found, Passphrases) else Passphrases(None)


def _has_terminal() -> bool:
    """Whether somebody can be asked, also where standard input is something else."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
