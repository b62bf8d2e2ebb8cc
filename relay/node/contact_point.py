"""The contact point's process: an onion service that takes SIP on port 5060 and records on port 7221.

Nothing about a connection is logged; counts are.  State, in one directory: the onion's key, the entries where no other
database is named, and the names of other contact points (`relay.node.synchroniser`).
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from relay.contact_cache import SqlEntryStore
from relay.core import (
    Clock,
    Counters,
    Entropy,
    PeerError,
    TransportUnavailable,
    get_logger,
    private_directory,
    replace_private,
)
from relay.forward_publish import (
    REQUEST_SIZE,
    SWEEP_EVERY,
    ContactPoint,
    EntryKind,
    EntryParsers,
    RecordOffice,
    RecordVisit,
)
from relay.forward_publish.contact_point import COUNTS
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.node.claim import claimed
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.onion_keys import read_onion_key
from relay.node.open_files import room_for
from relay.node.peer_stream import RECORD_PORT
from relay.node.recounting import recount_now_and_then
from relay.node.sip_edge import SipEdge
from relay.node.store_watch import StoreWatch
from relay.node.synchroniser import SYNCHRONISER_COUNTS, Synchroniser
from relay.tor import OnionKey, OnionService, TorClient
from relay.wire import OnionDialer, frame, read_frame

SIP_PORT = 5060
SENDER_IDLE = 60.0
"""Seconds that a connection without tokens may be silent."""
SENDER_LIFE = 90.0
"""Seconds that a connection without tokens may last, whatever it says: it has brought its message long since."""
FLOW_IDLE = 240.0
"""Seconds that a flow may be silent; its owner pings at least every 90."""
RECORD_IDLE = 30.0
"""Seconds in which the next request on the record port has to come, and its answer to be taken."""
RECORD_LIFE = 900.0
"""Seconds that a connection to the record port may last, however busy: there are few places."""

_READ = 65536
_KEY_FILE = "onion.key"
_LONGEST_SOCKET_PATH = 100
"""Unix socket names end at 108 bytes."""

Tap = Callable[[str, bytes], None]
"""Called with "sip in", "sip out", "records in" or "records out", and bytes; for knowledge tests alone."""

_log = get_logger("contact-point")


class Onions(OnionDialer, Protocol):
    """What is needed of Tor; `relay.tor.TorClient` is one."""

    async def publish(
        self,
        key: OnionKey | None,
        ports: Mapping[int, tuple[str, int] | Path],
        *,
        proof_of_work: bool = False,
    ) -> OnionService: ...


class ContactPointNode:
    """A contact point that runs in this process and reaches the world through `tor`."""

    def __init__(
        self,
        settings: ContactPointSettings,
        tor: Onions,
        clock: Clock,
        entropy: Entropy,
        tap: Tap | None = None,
    ) -> None:
        self.onion = ""
        self.counters = Counters((*COUNTS, *SYNCHRONISER_COUNTS))
        self._settings = settings
        self._tor = tor
        self._clock = clock
        self._entropy = entropy
        self._tap = tap
        self._point: ContactPoint | None = None
        self._office: RecordOffice | None = None
        self._store: SqlEntryStore | None = None
        self._watch = StoreWatch(clock)
        self._parsers = EntryParsers({EntryKind.DESCRIPTOR: DescriptorEntry.parse})
        self._synchroniser: Synchroniser | None = None
        self._service: OnionService | None = None
        self._servers: list[asyncio.Server] = []
        self._sockets: Path | None = None
        self._socket_files: list[Path] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakes: dict[int, asyncio.Event] = {}
        self._record_connections = 0

    async def start(self) -> None:
        """Open the store, listen, publish; returns when the onion service can be reached."""
        directory = self._settings.directory
        private_directory(directory)
        url = self._settings.database
        if not url:
            database = directory.absolute() / "records.db"
            database.touch(mode=0o600)
            url = f"sqlite:///{database}"
        self._store = await SqlEntryStore.open(url, self._watch.heard)
        self._office = RecordOffice(
            self._store, self._settings.limits, self.counters, self._parsers, self._names
        )
        self._start_task(self._expire())
        if url.startswith("postgresql"):
            # Others may write to the same tables.
            self._start_task(recount_now_and_then(self._store, self._clock, self._entropy))
        ports = {
            SIP_PORT: await self._listen("sip", self._serve_sip),
            RECORD_PORT: await self._listen("records", self._serve_records),
        }
        key = read_onion_key(directory / _KEY_FILE)
        self._service = await self._tor.publish(key, ports, proof_of_work=True)
        if key is None:
            replace_private(directory / _KEY_FILE, self._service.key.to_bytes())
        self._point = ContactPoint(self._service.onion, self._settings.limits, self._entropy, self.counters)
        self.onion = self._service.onion
        self._synchroniser = Synchroniser(
            self._store,
            self._parsers,
            self._settings.limits,
            self._settings.peers,
            self.onion,
            directory,
            self._tor,
            self._clock,
            self._entropy,
            self.counters,
        )
        self._start_task(self._synchroniser.run())

    async def close(self) -> None:
        """Withdraw the onion service, close every connection and the store."""
        for server in self._servers:
            server.close()
        self._remove_sockets()  # before anything that waits: a second signal may end us while it does
        if self._service is not None:
            with suppress(TransportUnavailable):
                await self._service.remove()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._store is not None:
            await self._store.close()
        _log.info("stopped", **{name: count for name, count in self.counters.snapshot().items() if count})

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until `close`; one that ends by itself is a fault, and is said by kind alone."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_say_if_failed)
        self._tasks.add(task)

    def _names(self, visitor: str, now: float) -> Sequence[str]:
        return () if self._synchroniser is None else self._synchroniser.names(visitor, now)

    def _remove_sockets(self) -> None:
        for path in self._socket_files:
            path.unlink(missing_ok=True)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    async def _listen(
        self, name: str, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> tuple[str, int] | Path:
        """Where Tor hands connections over: a socket nobody else can open, unless a foreign Tor has to."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await serve(reader, writer)
            except (PeerError, TimeoutError, OSError, TransportUnavailable) as error:
                self.counters.count(_count_of(error))
            except Exception as error:  # a bug of ours must neither stay unseen nor show what was received
                _log.error("connection failed", kind=type(error).__name__)
            except asyncio.CancelledError:
                pass  # only `close` cancels; the stream machinery would report it as a failure
            finally:
                self._tasks.discard(task)
                writer.close()

        if self._settings.tor.mode == "own":
            path = self._socket(f"{name}.sock")
            self._servers.append(await asyncio.start_unix_server(accepted, path))
            return path
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    def _socket(self, name: str) -> Path:
        """In the state directory, where the next start replaces what a crash left behind; where that path is
        too long for a socket, in a private place that `close` removes."""
        path = self._settings.directory.absolute() / name
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            self._sockets = self._sockets or Path(tempfile.mkdtemp(prefix="bayonne-"))
            path = self._sockets / name
        self._socket_files.append(path)
        return path

    async def _serve_sip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        point = self._point
        if point is None or (flow := point.open_flow(self._clock.monotonic())) is None:
            return
        edge = SipEdge(point, flow, self.onion, self._entropy)
        wake = self._wakes[flow] = asyncio.Event()
        deliverer = asyncio.get_running_loop().create_task(self._deliver(edge, wake, writer))
        ends = self._clock.monotonic() + SENDER_LIFE
        try:
            while True:
                now = self._clock.monotonic()
                if point.is_flow(flow):
                    left, ends = FLOW_IDLE, now + SENDER_LIFE
                else:
                    left = min(SENDER_IDLE, ends - now)
                async with asyncio.timeout(left):
                    data = await reader.read(_READ)
                    if not data:
                        return
                    self._note("sip in", data)
                    try:
                        answers = edge.receive(data, self._clock.monotonic())
                        self._note("sip out", answers)
                        writer.write(answers)
                    finally:
                        for ready in point.take_ready():
                            self._wakes[ready].set()
                    await writer.drain()
        finally:
            deliverer.cancel()
            await asyncio.gather(deliverer, return_exceptions=True)
            del self._wakes[flow]
            point.close_flow(flow)

    async def _deliver(self, edge: SipEdge, wake: asyncio.Event, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                await wake.wait()
                wake.clear()
                while (message := edge.next_delivery()) is not None:
                    self._note("sip out", message)
                    writer.write(message)
                    await writer.drain()

    async def _serve_records(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        office = self._office
        if office is None or self._record_connections >= self._settings.limits.record_connections:
            self.counters.count("connections over the limit")
            return
        self._record_connections += 1
        try:
            visit, served = RecordVisit(), 0
            ends = self._clock.monotonic() + RECORD_LIFE
            while self._clock.monotonic() < ends:
                try:
                    async with asyncio.timeout(RECORD_IDLE):
                        request = await read_frame(reader, REQUEST_SIZE)
                except PeerError:
                    if served and reader.at_eof():
                        return
                    raise
                served += 1
                self._note("records in", request)
                answer = await office.answer(request, self._clock.wall(), visit)
                self._note("records out", answer)
                writer.write(frame(answer))
                async with asyncio.timeout(RECORD_IDLE):
                    await writer.drain()
        finally:
            self._record_connections -= 1

    async def _expire(self) -> None:
        while self._office is not None:
            with suppress(TransportUnavailable):  # the watch has heard of it
                await self._office.expire(self._clock.wall())
            self._watch.look()
            # What has expired counts in the digests until it is gone, and would look like a difference to peers.
            await asyncio.sleep(SWEEP_EVERY)

    def _note(self, stream: str, data: bytes) -> None:
        if self._tap is not None and data:
            self._tap(stream, data)


def _count_of(error: Exception) -> str:
    match error:
        case PeerError():
            return "streams malformed"
        case TransportUnavailable():
            return "store failures"
        case TimeoutError():
            return "connections idle"
        case _:
            return "connections lost"


async def run(
    settings: ContactPointSettings, clock: Clock, entropy: Entropy, on_ready: Callable[[str], None]
) -> None:
    """Run until SIGTERM or SIGINT.  Raises `TransportUnavailable` when Tor cannot be had, or is lost."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await _serve(settings, clock, entropy, on_ready)


async def _serve(
    settings: ContactPointSettings, clock: Clock, entropy: Entropy, on_ready: Callable[[str], None]
) -> None:
    private_directory(settings.directory)
    with claimed(settings.directory):
        await _serve_alone(settings, clock, entropy, on_ready)


def _within_limits(settings: ContactPointSettings) -> ContactPointSettings:
    """Fewer connections where the system does not allow as many open files: those beyond it would fail one by one."""
    limits = settings.limits
    room = room_for(limits.connections + limits.record_connections) - limits.record_connections
    if room >= limits.connections:
        return settings
    room = max(1, room)
    _log.warning("fewer connections than configured: the limit of open files", connections=room)
    return msgspec.structs.replace(settings, limits=msgspec.structs.replace(limits, connections=room))


async def _serve_alone(
    settings: ContactPointSettings, clock: Clock, entropy: Entropy, on_ready: Callable[[str], None]
) -> None:
    settings = _within_limits(settings)
    tor = await TorClient.launch(settings.tor, settings.directory, clock)
    node = ContactPointNode(settings, tor, clock, entropy)
    try:
        await node.start()
        on_ready(node.onion)
        _log.info("ready")
        raise TransportUnavailable(await tor.wait_lost())
    finally:
        await node.close()
        await tor.close()


def _say_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error(
            "something that has to go on has ended; start this contact point anew", kind=type(error).__name__
        )
