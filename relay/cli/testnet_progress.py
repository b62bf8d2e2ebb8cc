"""What `bayonne testnet` shows: live on a terminal, plain lines elsewhere, or JSON lines."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from relay.core import Clock
from relay.tor import NetworkFile


class Progress(Protocol):
    """Every figure is in seconds."""

    @property
    def seconds(self) -> float:
        """Since the start."""
        ...

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """While something is going on."""
        ...

    def stage(self, stage: str) -> None: ...

    def ready(self, directory: Path, seconds: float, reachable_seconds: float | None, *, stays: bool) -> None:
        """`reachable_seconds` is None where nothing was proved; `stays` says it runs on without us."""
        ...

    def island(self, file: Path, relays: int, note: str) -> None:
        """After `ready` or `running`: what to give to others, and what so few relays mean."""
        ...

    def joined(self, directory: Path, relays: int, note: str) -> None:
        """The network in `directory` is another machine's island."""
        ...

    def stopped(self) -> None: ...

    def not_running(self, directory: Path) -> None: ...

    def starting(self, directory: Path) -> None: ...

    def running(self, network: NetworkFile, uptime: float) -> None: ...


def progress_for(as_json: bool, clock: Clock) -> Progress:
    return JsonProgress(clock) if as_json else TextProgress(clock, Console(highlight=False, markup=False))


class JsonProgress:
    """One object a line on standard output."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        return round(self._clock.monotonic() - self._began, 2)

    def shown(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def stage(self, stage: str) -> None:
        self._print("stage", stage=stage, seconds=self.seconds)

    def ready(self, directory: Path, seconds: float, reachable_seconds: float | None, *, stays: bool) -> None:
        self._print(
            "ready",
            seconds=seconds,
            reachable_seconds=reachable_seconds,
            directory=str(directory),
            detached=stays,
        )

    def island(self, file: Path, relays: int, note: str) -> None:
        self._print("island", file=str(file), relays=relays, note=note)

    def joined(self, directory: Path, relays: int, note: str) -> None:
        # Whether it runs, only Tor finds out.
        self._print("joined", directory=str(directory), relays=relays, note=note)

    def stopped(self) -> None:
        self._print("stopped", seconds=self.seconds)

    def not_running(self, directory: Path) -> None:
        self._print("status", running=False, starting=False)

    def starting(self, directory: Path) -> None:
        self._print("status", running=False, starting=True)

    def running(self, network: NetworkFile, uptime: float) -> None:
        pids = {name: member.pid for name, member in network.members.items()}
        self._print(
            "status",
            running=True,
            relays=network.relays,
            uptime=round(uptime, 1),
            supervisor=_pid(network),
            pids=pids,
        )

    def _print(self, event: str, **fields: object) -> None:
        click.echo(json.dumps({"event": event, **fields}))


def _pid(network: NetworkFile) -> int:
    return network.supervisor.pid if network.supervisor else 0


class TextProgress:
    """For people: a line for each stage, and on a terminal the present one with its time running."""

    def __init__(self, clock: Clock, console: Console) -> None:
        self._clock = clock
        self._console = console
        self._began = clock.monotonic()
        self._stage = ""
        self._stage_began = self._began
        self._spinner = Spinner("dots", style="cyan")

    @property
    def seconds(self) -> float:
        return round(self._clock.monotonic() - self._began, 2)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True):
            yield
            self.stage("")

    def stage(self, stage: str) -> None:
        now = self._clock.monotonic()
        if self._console.is_terminal and self._stage:
            self._console.print(f"{now - self._stage_began:6.1f} s  {self._stage}")
        elif not self._console.is_terminal:
            self._console.print(f"[{self.seconds:6.1f} s] {stage} ...", soft_wrap=True)
        self._stage, self._stage_began = stage, now

    def ready(self, directory: Path, seconds: float, reachable_seconds: float | None, *, stays: bool) -> None:
        proof = ""
        if reachable_seconds is not None:
            proof = f", and an onion service was reached after {reachable_seconds:.1f} s"
        end = "'bayonne testnet down' stops it" if stays else "Ctrl-C stops it"
        self._say(f"The private network is up after {seconds:.1f} s{proof}.")
        self._say(f'In a configuration: [tor] network_directory = "{directory}"')
        self._say(f"{end}.")

    def island(self, file: Path, relays: int, note: str) -> None:
        self._say(note)
        self._say(f"Give the others '{file}'; they run 'bayonne testnet join {file.name}'.")

    def joined(self, directory: Path, relays: int, note: str) -> None:
        self._say("This is an island that another machine hosts.")
        self._say(note)
        self._say(f'In a configuration: [tor] network_directory = "{directory}"')

    def stopped(self) -> None:
        self._say("The private network is stopped; no process of it is left.")

    def not_running(self, directory: Path) -> None:
        self._say(f"No private network is up in '{directory}'.")

    def starting(self, directory: Path) -> None:
        self._say(f"The private network in '{directory}' is starting.")

    def running(self, network: NetworkFile, uptime: float) -> None:
        minutes, seconds = divmod(int(uptime), 60)
        self._say(f"The private network is up for {minutes} min {seconds} s.")
        self._say(f"{network.relays} relays and an authority:")
        for name, member in network.members.items():
            self._say(f"  {name:<10} process {member.pid}")
        self._say(f"  {'supervisor':<10} process {_pid(network)}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _render(self) -> Spinner | Text:
        if not self._stage:
            return Text("")
        now = self._clock.monotonic()
        self._spinner.update(text=f"{self._stage}  {now - self._stage_began:.1f} s")
        return self._spinner
