"""`bayonne testnet`: a private Tor network on this machine, for the demo, for tests and for research."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.cli.testnet_progress import Progress, progress_for
from relay.core import (
    Child,
    ConfigurationError,
    PeerError,
    SystemClock,
    TransportUnavailable,
    configure_logging,
    spawn,
)
from relay.tor import NetworkFile, PrivateNetwork, prove_reachable
from relay.tor.island import ISLAND_FILE, IslandFile, anonymity_note, check_address
from relay.tor.supervision import (
    ProcessIdentity,
    claimant,
    end_process,
    outlive_parent,
    prepare_directory,
    wait_ended,
)

T = TypeVar("T")

LOG_FILE = "testnet.log"
_MEMBERS_SECONDS = 5.0

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("testnet"),
    show_default=True,
    help="Where the network keeps its files.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")


@click.group(name="testnet")
def command() -> None:
    """Run a private Tor network on this machine: real tor processes that talk to one another alone."""


@command.command()
@_directory
@click.option(
    "--relays",
    type=click.IntRange(3, 200),
    default=3,
    show_default=True,
    help="Relays besides the authority.",
)
@click.option("--island", is_flag=True, help="For other machines too: needs --address.")
@click.option(
    "--address", default="", help="With --island: an IPv4 address of this machine that the others reach."
)
@click.option("--tor", "executable", default="tor", show_default=True, help="The tor program.")
@click.option("--check/--no-check", default=True, help="Reach an onion service of its own first.")
@click.option("--detach", is_flag=True, help="Return once it is up, and leave it running.")
@click.option("--supervisor", is_flag=True, hidden=True)
@_json
def up(
    directory: Path,
    relays: int,
    island: bool,
    address: str,
    executable: str,
    check: bool,
    detach: bool,
    supervisor: bool,
    as_json: bool,
) -> None:
    """Start the network; it ends with Ctrl-C, with this process, or with 'bayonne testnet down'.

    With --island other machines join it by the file 'island.json' in its directory, and it is the same island again
    at the next start.
    """
    if island != bool(address):
        raise click.UsageError("--island and --address go together")
    clock = SystemClock()
    progress = progress_for(as_json, clock)
    if detach:
        if island:
            check_address(address)
        _detach(directory, relays, address, executable, check, progress)
        return
    configure_logging(level="warning", json=as_json)
    network = PrivateNetwork(directory, clock=clock, relays=relays, executable=executable, island=address)
    prove = None
    if check:

        def prove() -> Awaitable[None]:
            return prove_reachable(directory, clock, executable=executable, progress=progress.stage)

    asyncio.run(_supervise(network, prove, progress, detached=supervisor))


async def _supervise(
    network: PrivateNetwork,
    prove: Callable[[], Awaitable[None]] | None,
    progress: Progress,
    *,
    detached: bool,
) -> None:
    """Hold the network up until a signal or the death of a member; nothing is left of it afterwards."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        with progress.shown():
            await _until(stop, network.up(progress.stage))
            up_at = progress.seconds
            if prove is not None:
                await _until(stop, prove())
            if detached:
                outlive_parent()
        proved_at = None if prove is None else progress.seconds
        progress.ready(network.directory, up_at, proved_at, stays=detached)
        _tell_of_island(network.directory, progress)
        member = await _until(stop, network.wait_lost())
        raise TransportUnavailable(f"{member} ended, so the whole network is stopped; see {member}/tor.log")
    except _Stopped:
        pass
    finally:
        await network.down()
    progress.stopped()


def _tell_of_island(directory: Path, progress: Progress) -> None:
    network = NetworkFile.read(directory)
    if network.island:
        progress.island(directory / ISLAND_FILE, network.relays + 1, anonymity_note(network))


class _Stopped(Exception):
    """A signal asked us to end."""


async def _until(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """What `work` returns, or `_Stopped`; never leaves it half done in the background."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
            raise _Stopped
        return task.result()
    finally:
        stopping.cancel()


def _detach(
    directory: Path, relays: int, address: str, executable: str, check: bool, progress: Progress
) -> None:
    """Start the supervisor, show its progress, and leave it once the network is up.

    Until then it dies with us; it releases itself only when it is ready.
    """
    if claimant(directory) is not None:
        raise TransportUnavailable(
            f"a private network is up in '{directory.name}'; 'bayonne testnet down' stops it"
        )
    prepare_directory(directory)
    arguments = ["--directory", str(directory), "--relays", str(relays), "--tor", executable]
    if address:
        arguments += ["--island", "--address", address]
    arguments += ["--check" if check else "--no-check", "--supervisor", "--json"]
    path = directory / LOG_FILE
    with path.open("wb") as log:
        command_line = [sys.executable, "-m", "relay.cli", "testnet", "up", *arguments]
        child = spawn(command_line, stdout=log, stderr=log)
    asyncio.run(_follow(child, path, progress))


async def _follow(child: Child, path: Path, progress: Progress) -> None:
    """Show the supervisor's progress until it is ready; without that it does not survive us."""
    supervisor = ProcessIdentity.of(child.pid)
    released = False
    last = f"the network's supervisor ended; see {LOG_FILE}"
    try:
        with progress.shown():
            async for line in _lines(path, child):
                event: dict[str, Any] = json.loads(line) if line.startswith("{") else {"event": "text"}
                if event["event"] == "stage":
                    progress.stage(event["stage"])
                elif event["event"] == "ready":
                    released = True
                    break
                else:
                    last = line.strip().removeprefix("bayonne: ")
        if not released:
            raise TransportUnavailable(last)
        progress.ready(Path(event["directory"]), event["seconds"], event["reachable_seconds"], stays=True)
        _tell_of_island(Path(event["directory"]), progress)
    finally:
        if not released:
            await end_process(supervisor)


async def _lines(path: Path, child: Child) -> AsyncIterator[str]:
    """The lines of a growing file, until its writer has ended."""
    with path.open() as file:
        while True:
            ended = child.poll() is not None
            while (line := file.readline()).endswith("\n"):
                yield line
            if ended:
                return
            file.seek(file.tell() - len(line))
            await asyncio.sleep(0.1)


@command.command()
@_directory
@_json
def down(directory: Path, as_json: bool) -> None:
    """Stop the network and wait until all of it is gone."""
    progress = progress_for(as_json, SystemClock())
    supervisor = claimant(directory)
    if supervisor is None:
        progress.not_running(directory)
        return
    asyncio.run(_end(supervisor, _members(directory)))
    progress.stopped()


async def _end(supervisor: ProcessIdentity, members: tuple[ProcessIdentity, ...]) -> None:
    await end_process(supervisor)
    try:
        await asyncio.wait_for(wait_ended(*members), _MEMBERS_SECONDS)
    except TimeoutError:
        raise TransportUnavailable("the network's supervisor is gone, but a member of it is not") from None


def _members(directory: Path) -> tuple[ProcessIdentity, ...]:
    try:
        return tuple(NetworkFile.read(directory).members.values())
    except ConfigurationError:
        return ()


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_directory
@_json
def join(file: Path, directory: Path, as_json: bool) -> None:
    """Join the island of another machine by the FILE 'island.json' that its host gave you.

    Have it from the host by a way you trust: who makes that file is the network.
    """
    clock = SystemClock()
    try:
        island = IslandFile.parse(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"'{file.name}' cannot be read: {error.strerror}") from None
    except PeerError:
        raise ConfigurationError(
            f"'{file.name}' is no island's file; copy '{ISLAND_FILE}' from the machine that hosts it"
        ) from None
    network = island.join(directory, clock.wall())
    progress_for(as_json, clock).joined(directory.absolute(), network.relays + 1, anonymity_note(network))


@command.command()
@_directory
@_json
def status(directory: Path, as_json: bool) -> None:
    """Tell whether the network is up; exit 1 when it is not.  Of another machine's island it tells who it is."""
    clock = SystemClock()
    progress = progress_for(as_json, clock)
    try:
        network = NetworkFile.read(directory)
    except ConfigurationError:
        if claimant(directory) is None:
            progress.not_running(directory)
        else:
            progress.starting(directory)
        sys.exit(1)
    if network.supervisor is None:
        progress.joined(directory.absolute(), network.relays + 1, anonymity_note(network))
        return
    progress.running(network, clock.wall() - network.started_at)
    _tell_of_island(directory.absolute(), progress)
