"""`bayonne reflector`: host a reflector, or end one that runs without ending its calls."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import msgspec

from relay.core import (
    ConfigurationError,
    RefusedByPolicy,
    SystemClock,
    SystemEntropy,
    configure_logging,
    get_logger,
    load_configuration,
)
from relay.node.drain_request import ask_to_drain
from relay.node.reflector import run
from relay.node.reflector_settings import LogLevel, ReflectorSettings
from relay.node.service_manager import ServiceManager

STILL_DRAINING = 3
"""Exit status of `--drain` when `--timeout` passed first."""


@click.command(name="reflector")
@click.option(
    "--config", "config", type=click.Path(path_type=Path), required=True, help="The reflector's TOML file."
)
@click.option("--check-config", is_flag=True, help="Check the configuration and stop.")
@click.option(
    "--drain",
    is_flag=True,
    help="Have the reflector that runs with this file refuse new lines, finish its calls and end; wait for it.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0),
    help=f"With --drain: wait this many seconds at most (exit status {STILL_DRAINING}); the drain goes on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much goes to the log, on standard error, in place of what the configuration says.",
)
def command(
    config: Path,
    check_config: bool,
    drain: bool,
    timeout: float | None,
    as_json: bool,
    log_level: LogLevel | None,
) -> None:
    """Host a reflector: it relays voice cells between lines and learns nothing of who speaks, or whether."""
    if timeout is not None and not drain:
        raise click.UsageError("--timeout goes with --drain")
    tell = _print_json if as_json else _print_prose
    if drain:
        _drain(load_configuration(config, ReflectorSettings, environment=os.environ), timeout, as_json)
        return

    def read() -> ReflectorSettings:
        settings = load_configuration(config, ReflectorSettings, environment=os.environ)
        if log_level is not None:
            settings = msgspec.structs.replace(settings, log_level=log_level)
        settings.check()
        return settings

    settings = read()
    if check_config:
        click.echo(f"{config.name}: ok")
        return
    configure_logging(level=settings.log_level, json=as_json)
    if not as_json:
        click.echo("starting; Tor takes up to a minute the first time")
    asyncio.run(
        run(
            settings,
            SystemClock(),
            SystemEntropy(),
            tell,
            service=ServiceManager.from_environment(os.environ, os.getpid()),
            read_again=read,
            set_log_level=lambda level: configure_logging(level=level, json=as_json),
        )
    )


def _drain(settings: ReflectorSettings, timeout: float | None, as_json: bool) -> None:
    if not settings.state_directory:
        raise ConfigurationError("state_directory: must name a directory")
    directory = Path(settings.state_directory).expanduser().absolute()
    last: Mapping[str, object] = {}

    def tell(event: Mapping[str, object]) -> None:
        nonlocal last
        if event != last:
            _print_json(event) if as_json else click.echo(_progress(event))
        last = event

    if not asyncio.run(ask_to_drain(directory, tell, timeout)):
        click.echo("bayonne: calls are still up; the reflector goes on draining without us", err=True)
        sys.exit(STILL_DRAINING)
    if last.get("calls_cut_off"):
        raise RefusedByPolicy("drain_limit passed; the calls that were left have been cut off")


def _progress(event: Mapping[str, object]) -> str:
    """Calls are known in tens only, and that is enough to wait by."""
    if event["event"] == "drained":
        return "ending"
    if event.get("finished"):
        return "no call is left; it is ending"
    calls = event.get("calls", 0)
    return f"no new lines; {f'{calls} calls or a few more' if calls else 'fewer than 10 calls'} to finish"


def _print_json(event: Mapping[str, object]) -> None:
    click.echo(json.dumps(event))


def _print_prose(event: Mapping[str, object]) -> None:
    """The reference goes to the operator on standard output; counts go to the log."""
    log = get_logger("reflector")
    match event["event"]:
        case "ready":
            click.echo(f"ready; hand this reference to your users:\n{event['reference']}")
        case "draining":
            log.info("draining: no new lines; calls are finished first")
        case "drained":
            log.info("drained", calls_cut_off=event["calls_cut_off"])
        case "reloaded":
            _log_reload(log.info, event)
        case _:
            log.info("counts", **{key: value for key, value in event.items() if key != "event"})


def _log_reload(say: Callable[[str], object], event: Mapping[str, object]) -> None:
    changed, waiting = event["changed"], event["needs_restart"]
    assert isinstance(changed, list)
    assert isinstance(waiting, list)
    say(f"configuration read again; changed: {', '.join(changed) or 'nothing'}")
    if waiting:
        say(f"these keys change only with a restart: {', '.join(waiting)}")
