"""The group of all commands, loaded one by one so that each starts fast and needs only its own libraries."""

import importlib
import sys
from collections.abc import Callable

import click

from relay import __version__
from relay.core import BayonneError

_COMMANDS = {
    "agent": ("relay.cli.agent", "Run the caller's daemon: calls from and to your softphone."),
    "bench": ("relay.cli.bench", "Say how many lines this machine carries as a reflector."),
    "contact": ("relay.cli.contact", "Invite, add, list and remove the people you call."),
    "contact-point": ("relay.cli.contact_point", "Host a contact point: ringing and lookup."),
    "demo": ("relay.cli.demo", "Hold a real anonymous call on this machine and show what an observer saw."),
    "openpgp": ("relay.cli.openpgp", "Say by which OpenPGP key of yours calls are signed."),
    "reflector": ("relay.cli.reflector", "Host a reflector: voice."),
    "reflectors": ("relay.cli.reflectors", "Make, check and read signed lists of reflectors."),
    "vault": ("relay.cli.vault", "Lock, move or destroy what your agent keeps, which is sealed."),
    "testnet": ("relay.cli.testnet", "Run a private Tor network on this machine."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bayonne")
def bayonne() -> None:
    """Telephone calls that nobody learns about."""


def main() -> None:
    """Run the command line; a failure is one clear sentence and a non-zero exit."""
    run: Callable[..., object] = bayonne.main
    try:
        run(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BayonneError as error:
        click.echo(f"bayonne: {error}", err=True)
        sys.exit(1)
