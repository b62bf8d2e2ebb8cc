"""The app of `bayonne reflector`: cells over UDP, descriptor and tickets over Tor, and an end that spares calls.

The voice does not depend on Tor: when Tor is lost, lines go on, and the onion service comes back as soon as
it can.
"""

import asyncio
import contextlib
import ipaddress
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from relay.core import (
    Clock,
    ConfigurationError,
    Entropy,
    MisuseError,
    TransportUnavailable,
    get_logger,
)
from relay.media_reflector import CellServer, Descriptor, Reflector, ReflectorReference, TicketServer
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.occupancy import OccupancyLevel
from relay.media_reflector.series import DescriptorSeries
from relay.media_reflector.trunk import Trunks
from relay.node.backup_keeper import BackupKeeper
from relay.node.claim import claimed
from relay.node.descriptor_publisher import DescriptorPublisher
from relay.node.drain import Drain, DrainDesk
from relay.node.kept_keys import KeptKeys
from relay.node.reflector_onion import ReflectorOnion
from relay.node.reflector_settings import LogLevel, ReflectorSettings, taken_over
from relay.node.reflector_state import ReflectorState
from relay.node.reflector_status import STATUS_EVERY, Report, status, unfailing
from relay.node.service_manager import ServiceManager
from relay.node.trunks import TrunkKeeper

_LOOK_EVERY = 1.0
_KEEP_EVERY = 10.0
_LAST_WORD = 90.0
"""Seconds, at most, for which the end waits until contact points know of it."""

_ANY_ONION = "a" * 56

log = get_logger("reflector")


class ReflectorNode:
    """Everything of one running reflector.

    `read_again` gives the configuration as it is now in its file; `set_log_level` is called when it changed.
    """

    def __init__(
        self,
        settings: ReflectorSettings,
        clock: Clock,
        entropy: Entropy,
        report: Report,
        *,
        service: ServiceManager | None = None,
        read_again: Callable[[], ReflectorSettings] | None = None,
        set_log_level: Callable[[LogLevel], None] | None = None,
    ) -> None:
        settings.check()
        self._settings = settings
        self._clock = clock
        self._report = unfailing(report)
        self._service = service or ServiceManager()
        self._read_again = read_again
        self._set_log_level = set_log_level
        self._state = ReflectorState(Path(settings.state_directory))
        self._state.prepare()
        self._keys = self._state.keys(entropy)
        self._forwarding = load_forwarding(settings.data_plane)
        self._office = self._keys.office(settings.capacity, entropy, self._forwarding)
        self._kept_keys = KeptKeys(self._office, self._service)
        self.trunks = Trunks(self._keys.static_key, self._office, self._forwarding, entropy)
        self.reflector = Reflector(
            self._keys.static_key,
            self._office,
            self._forwarding,
            entropy,
            capacity=settings.capacity,
            trunks=self.trunks,
        )
        self.trunks.serve(self.reflector)
        self._cells = CellServer(self.reflector, self._forwarding, clock)
        self._tickets = TicketServer(self._office, self._signed_descriptor, clock)
        self._onion = ReflectorOnion(
            settings.tor, self._state, self._tickets, clock, entropy, self._reachable, self._unreachable
        )
        self._backup = BackupKeeper(self._keys, self._onion, clock, entropy)
        self._series = DescriptorSeries(self._keys.sign, self._state.descriptor_date())
        self._publisher = DescriptorPublisher(
            self._reachable_descriptor, self._series, self._onion, clock, entropy
        )
        self._trunk_keeper = TrunkKeeper(self._keys, self._onion, self.trunks, clock, entropy)
        self._drain = Drain(
            self.reflector,
            lambda: self.reflector.occupancy.crossed,
            lambda: self.reflector.occupancy.lines,
            clock,
            entropy,
        )
        self._level = OccupancyLevel(settings.capacity)
        self._bound: list[tuple[str, int]] = []
        self._drained = False
        self._apply(settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, or until a drain is over.  Raises `TransportUnavailable` when Tor cannot be had at the
        start."""
        self._bind()
        self._try_descriptor(self._settings)
        desk = DrainDesk(self._state.directory, self._drain)
        await desk.open()
        parts: list[Coroutine[Any, Any, object]] = [
            self._cells.run(),
            self._onion.run(),
            self._backup.run(),
            self._publisher.run(),
            self._trunk_keeper.run([ipaddress.ip_address(host).version for host, _ in self._bound]),
            self._watch(),
            self._report_status(),
            self._finish_drain(),
            stop.wait(),
        ]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._service.stopping()
            self._kept_keys.keep(self._clock.monotonic())
            await desk.close(drained=self._drained)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._onion.close()
            self._report(self.status())

    def drain(self) -> None:
        """Finish calls, refuse new lines, then let `run` return."""
        self._drain.begin()

    def reload(self) -> None:
        """Read the configuration again and take what can change at run time; a bad one changes nothing."""
        if self._read_again is None:
            return
        if self._onion.name:
            self._service.reloading(self._clock.monotonic())
        try:
            settings, changed, waiting = taken_over(self._settings, self._read_again())
            self._try_descriptor(settings)
            self._apply(settings)
            self._report({"event": "reloaded", "changed": changed, "needs_restart": waiting})
        except MisuseError as error:
            log.error("the configuration is not taken, everything stays as it was", why=str(error))
        finally:
            if self._onion.name:
                self._service.ready(self._state_in_words())

    def status(self) -> dict[str, object]:
        """Counts, rounded down, so that no line and no call shows in them."""
        counts = {**self.reflector.counts(), **self._tickets.counters.snapshot()}
        return status(self._forwarding.name, self.reflector.occupancy, counts)

    def _apply(self, settings: ReflectorSettings) -> None:
        """Have everything that can change at run time be as in `settings`, which were checked."""
        before, self._settings = self._settings, settings
        if settings.capacity != before.capacity:
            self.reflector.capacity = self._office.capacity = settings.capacity
            self._level = OccupancyLevel(settings.capacity)
        self._office.accept_peers(settings.peer_identities)
        self._backup.aim(settings.backup_reference)
        self._trunk_keeper.aim(settings.trunk_references)
        self._publisher.aim(settings.contact_points)
        self.reflector.backup = self._backup if settings.backup else None
        if self._set_log_level is not None and settings.log_level != before.log_level:
            self._set_log_level(settings.log_level)

    def _bind(self) -> None:
        # Threads of Python take turns: more than one of them is worth nothing unless somebody asks for it.
        cores = len(os.sched_getaffinity(0)) if self._forwarding.name == "native" else 1
        workers = self._settings.worker_count(cores)
        try:
            self._bound = self._cells.bind(self._settings.listens, workers)
        except OSError as error:
            raise TransportUnavailable(
                f"udp_listen: cannot be bound ({error.strerror}); choose another"
            ) from None

    def _signed_descriptor(self) -> bytes:
        trunks, before = self.trunks.told(self._clock.monotonic()), self._series.last
        signed = self._series.signed(self._descriptor(self._settings, self._onion.name, trunks))
        if self._settings.contact_points and self._series.last != before:
            try:
                self._state.keep_descriptor_date(self._series.last)
            except OSError as error:
                log.warning("the date of the descriptor was not kept", why=error.strerror)
        return signed

    def _reachable_descriptor(self) -> bytes | None:
        """None before there is an onion service where it could be asked for."""
        return self._signed_descriptor() if self._onion.name else None

    def _try_descriptor(self, settings: ReflectorSettings) -> None:
        """Raises `MisuseError` where no agent would take what we say of ourselves."""
        reference = settings.backup_reference
        if self._keys.public_identity in settings.peer_identities or (
            reference is not None and reference.identity == self._keys.public_identity
        ):
            raise ConfigurationError("backup, peers, trunks: one of them is this reflector itself")
        trunks = [(reference.identity, slots) for reference, slots in settings.trunk_references]
        self._descriptor(settings, _ANY_ONION, trunks)

    def _descriptor(
        self, settings: ReflectorSettings, onion: str, trunks: Sequence[tuple[bytes, int]]
    ) -> Descriptor:
        return self._keys.descriptor(
            onion,
            settings.advertised or self._bound,
            self._clock.wall(),
            capacity=settings.capacity,
            occupancy=self._level.level,
            draining=self._drain.begun,
            trunks=trunks,
            backup=settings.backup,
        )

    def _reachable(self, onion: str) -> None:
        reference = ReflectorReference(onion, self._keys.public_identity)
        self._report({"event": "ready", "reference": str(reference)})
        self._service.ready(self._state_in_words())

    def _unreachable(self) -> None:
        self._service.status(self._state_in_words())

    def _state_in_words(self) -> str:
        if self._drain.begun:
            return "draining: calls are finished, no new lines"
        without = "" if self._onion.up else "; tor is lost, new tickets wait until it is back"
        return f"lines are served ({self._forwarding.name} data plane){without}"

    async def _finish_drain(self) -> None:
        """Return when a drain is over."""
        await self._drain.wished()
        self._report({"event": "draining"})
        self._service.status(self._state_in_words())
        await self._drain.finish(lambda: self._settings.drain_limit)
        # Agents that read of us at contact points would else go on coming for a day.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._publisher.wait_out()
        self._drained = True
        self._report(self._drain.result())

    async def _watch(self) -> None:
        """What has to be looked at, whether or not anybody asks."""
        next_keep = 0.0
        while True:
            now = self._clock.monotonic()
            self._level.look(self.reflector.occupancy.lines, self._clock.wall())
            if now >= next_keep:
                self._kept_keys.keep(now)
                next_keep = now + _KEEP_EVERY
            await asyncio.sleep(_LOOK_EVERY)

    async def _report_status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY)
            self._report(self.status())


async def run(
    settings: ReflectorSettings,
    clock: Clock,
    entropy: Entropy,
    report: Report,
    *,
    service: ServiceManager | None = None,
    read_again: Callable[[], ReflectorSettings] | None = None,
    set_log_level: Callable[[LogLevel], None] | None = None,
) -> None:
    """Run a reflector until SIGTERM or SIGINT; SIGUSR1 drains it, SIGHUP has it read its configuration again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings.check()
    state = ReflectorState(Path(settings.state_directory))
    state.prepare()
    with claimed(state.directory):
        node = ReflectorNode(
            settings,
            clock,
            entropy,
            report,
            service=service,
            read_again=read_again,
            set_log_level=set_log_level,
        )
        loop.add_signal_handler(signal.SIGUSR1, node.drain)
        loop.add_signal_handler(signal.SIGHUP, node.reload)
        await node.run(stop)
