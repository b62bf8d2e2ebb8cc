"""The app of `bayonne reflector`: cells on a UDP socket, descriptor and tickets on an onion service.

The voice does not depend on Tor: when Tor is lost, lines go on, and the onion service comes back as soon as
it can.
"""

import asyncio
import ipaddress
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from relay.core import (
    Clock,
    ConfigurationError,
    Entropy,
    PeerError,
    TransportUnavailable,
    get_logger,
)
from relay.media_reflector import (
    DROPS,
    ONION_PORT,
    CellServer,
    Reflector,
    ReflectorKeys,
    ReflectorReference,
    TicketServer,
)
from relay.node.claim import claimed
from relay.tor import OnionKey, TorClient, TorSettings
from relay.wire import decode, encode

STATUS_EVERY = 3600.0
"""Seconds between two lines of counts.  Together with the rounding below: a log of these lines must show load,
never a call."""
LINES_ROUNDED = 10
CELLS_ROUNDED = 1_000_000
"""One line takes 180,000 cells an hour each way."""
FAULTS_ROUNDED = 1000
RETRY_FIRST = 2.0
RETRY_MOST = 60.0
"""Seconds before Tor is tried again after it was lost: doubled each time."""

_KEY_LIMIT = 4096
_SOCKET_PATH_LIMIT = 100
"""Unix socket names end at 108 bytes."""

Report = Callable[[Mapping[str, object]], None]
"""Takes one event for a program or a person to read."""

log = get_logger("reflector")


class ReflectorSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The configuration file of a reflector; ops/config/reflector.toml explains each key."""

    state_directory: str
    udp_listen: str = "127.0.0.1:7210"
    udp_advertise: str = ""
    capacity: int = 1000
    tor: TorSettings = msgspec.field(default_factory=TorSettings)

    def check(self) -> None:
        """Raises `ConfigurationError` on values that cannot work."""
        split_address(self.udp_listen, "udp_listen", lowest_port=0)
        if self.udp_advertise:
            split_address(self.udp_advertise, "udp_advertise", lowest_port=1)
        elif ipaddress.ip_address(split_address(self.udp_listen, "udp_listen")[0]).is_unspecified:
            raise ConfigurationError("udp_advertise: needed, because udp_listen is not one address")
        if not 2 <= self.capacity <= 100_000:
            raise ConfigurationError("capacity: 2 to 100000 lines")


def split_address(text: str, key: str, *, lowest_port: int = 0) -> tuple[str, int]:
    """Address and port of "192.0.2.1:7210" or "[2001:db8::1]:7210".  Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        if not (port.isascii() and port.isdigit() and lowest_port <= int(port) < 65536):
            raise ValueError
    except ValueError:
        raise ConfigurationError(f'{key}: an address and a port, as in "192.0.2.1:7210"') from None
    return host, int(port)


class ReflectorState:
    """The state directory: two key files that only this user can read.  Nothing about lines is ever in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.expanduser().absolute()

    def prepare(self) -> None:
        """Raises `ConfigurationError`."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"state_directory: cannot be made ({error.strerror}); choose another"
            ) from None

    def keys(self, entropy: Entropy) -> ReflectorKeys:
        """The reflector's keys, made at the first start."""
        path = self._directory / "reflector.keys"
        if not path.exists():
            keys = ReflectorKeys.generate(entropy)
            _write_private(path, encode(keys))
            return keys
        try:
            keys = decode(path.read_bytes(), ReflectorKeys, limit=_KEY_LIMIT)
        except PeerError:
            raise ConfigurationError("reflector.keys in the state directory is damaged") from None
        if not keys.valid:
            raise ConfigurationError("reflector.keys in the state directory is damaged")
        return keys

    def onion_key(self) -> OnionKey | None:
        path = self._directory / "onion.key"
        return OnionKey.from_bytes(path.read_bytes()) if path.exists() else None

    def keep_onion_key(self, key: OnionKey) -> None:
        _write_private(self._directory / "onion.key", key.to_bytes())

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def ticket_socket(self) -> Path:
        return self._directory / "tickets.sock"


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _rounded(count: int, unit: int) -> int:
    return count - count % unit


class ReflectorNode:
    """Everything of one running reflector."""

    def __init__(self, settings: ReflectorSettings, clock: Clock, entropy: Entropy, report: Report) -> None:
        settings.check()
        self._settings = settings
        self._clock = clock
        self._report = report
        self._state = ReflectorState(Path(settings.state_directory))
        self._state.prepare()
        self._keys = self._state.keys(entropy)
        self._office = self._keys.office(settings.capacity)
        self.reflector = Reflector(self._keys.static_key, self._office, entropy, capacity=settings.capacity)
        self._cells = CellServer(self.reflector, clock)
        self._tickets = TicketServer(self._office, self._signed_descriptor, clock)
        self._onion = ""
        self._advertised = ("", 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`.  Raises `TransportUnavailable` when Tor cannot be had at the start."""
        self._bind()
        tasks = [
            asyncio.create_task(self._cells.run()),
            asyncio.create_task(self._watch_onion()),
            asyncio.create_task(self._report_status()),
            asyncio.create_task(stop.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._tickets.close()
            self._report(self.status())

    def status(self) -> dict[str, object]:
        """Counts, rounded down, so that no line and no call shows in them."""
        occupancy = self.reflector.occupancy
        counts = self.reflector.counters.snapshot()
        dropped = {reason: _rounded(counts[reason], FAULTS_ROUNDED) for reason in DROPS}
        return {
            "event": "status",
            "lines": _rounded(occupancy.lines, LINES_ROUNDED),
            "crossed": _rounded(occupancy.crossed, LINES_ROUNDED),
            "tickets": _rounded(occupancy.tickets, LINES_ROUNDED),
            "cells_received": _rounded(counts["cells_received"], CELLS_ROUNDED),
            "cells_sent": _rounded(counts["cells_sent"], CELLS_ROUNDED),
            "departures_missed": _rounded(counts["departures_missed"], FAULTS_ROUNDED),
            "send_failed": _rounded(self._cells.counters["send_failed"], FAULTS_ROUNDED),
            "dropped": {reason: count for reason, count in dropped.items() if count},
        }

    def _bind(self) -> None:
        host, port = split_address(self._settings.udp_listen, "udp_listen")
        try:
            bound = self._cells.bind(host, port)
        except OSError as error:
            raise TransportUnavailable(
                f"udp_listen: cannot be bound ({error.strerror}); choose another"
            ) from None
        advertise = self._settings.udp_advertise
        self._advertised = split_address(advertise, "udp_advertise") if advertise else bound

    def _signed_descriptor(self) -> bytes:
        return self._keys.signed_descriptor(self._onion, *self._advertised, self._clock.wall())

    async def _watch_onion(self) -> None:
        """Keep the onion service up; only the first attempt may fail for good."""
        target = await self._listen()
        pause = RETRY_FIRST
        while True:
            try:
                await self._serve_onion(target)
                pause = RETRY_FIRST
            except TransportUnavailable:
                if not self._onion:
                    raise
            log.warning("tor is lost; lines go on, new tickets wait until it is back")
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST)

    async def _listen(self) -> tuple[str, int] | Path:
        """Our own tor reaches a socket file that nobody else can; a running one is another user's process."""
        path = self._state.ticket_socket
        if self._settings.tor.mode == "own" and len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return await self._tickets.listen_unix(path)
        return await self._tickets.listen_loopback()

    async def _serve_onion(self, target: tuple[str, int] | Path) -> None:
        """Publish, then wait until Tor is lost."""
        tor = await TorClient.launch(self._settings.tor, self._state.directory, self._clock)
        try:
            service = await tor.publish(self._state.onion_key(), {ONION_PORT: target}, proof_of_work=True)
            self._state.keep_onion_key(service.key)
            self._onion = service.onion
            reference = ReflectorReference(self._onion, self._keys.public_identity)
            self._report({"event": "ready", "reference": str(reference)})
            await tor.wait_lost()
        finally:
            await tor.close()

    async def _report_status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY)
            self._report(self.status())


async def run(settings: ReflectorSettings, clock: Clock, entropy: Entropy, report: Report) -> None:
    """Run a reflector until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = ReflectorNode(settings, clock, entropy, report)
    with claimed(ReflectorState(Path(settings.state_directory)).directory):
        await node.run(stop)
