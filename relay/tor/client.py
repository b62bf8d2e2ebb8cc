"""A Tor client, our own or one that runs already: streams to onion services, and onion services of ours."""

import asyncio
import ipaddress
from collections.abc import Mapping
from pathlib import Path

from relay.core import Clock, ConfigurationError, TransportUnavailable
from relay.tor.control import ControlAddress, ControlPort, Target
from relay.tor.network_file import NetworkFile, network_options, seed
from relay.tor.onion import OnionKey, OnionService
from relay.tor.process import TorProcess
from relay.tor.settings import TorSettings
from relay.tor.socks import SocksAddress, open_host_stream, open_stream

BOOTSTRAP_SECONDS = 120.0
PUBLISH_SECONDS = 90.0
_POLL = 0.1


class TorClient:
    """Satisfies `relay.wire.OnionDialer`.  Once Tor is lost everything raises `TransportUnavailable`."""

    def __init__(
        self, control: ControlPort, socks: SocksAddress, exits: SocksAddress, process: TorProcess | None
    ) -> None:
        self._control = control
        self._socks = socks
        self._exits = exits
        self._process = process

    @classmethod
    async def launch(cls, settings: TorSettings, state_directory: Path, clock: Clock) -> "TorClient":
        """Start or find Tor, and wait until it is connected.

        Raises `TransportUnavailable` when it does not come up, `ConfigurationError` for settings of no use.
        """
        if settings.mode == "running":
            return await cls._attach(settings, clock)
        process = TorProcess(state_directory / "tor", settings.executable, clock)
        try:
            process.start(_client_options(settings, process))
            await process.wait_control()
            control = await ControlPort.connect(process.control_socket, clock)
            client = cls(control, process.socks_socket, process.exit_socket, process)
            await client._wait_bootstrap(clock)
            return client
        except BaseException:
            await process.stop()
            raise

    @classmethod
    async def _attach(cls, settings: TorSettings, clock: Clock) -> "TorClient":
        control = await ControlPort.connect(
            _address(settings.control or "127.0.0.1:9051", "tor.control"),
            clock,
            password=settings.password,
            cookie_file=settings.cookie_file,
        )
        try:
            named = settings.socks
            socks = _address(named, "tor.socks") if named else await control.socks_address()
            client = cls(control, socks, socks, None)
            await client._wait_bootstrap(clock)
            return client
        except BaseException:
            await control.close()
            raise

    @property
    def pid(self) -> int | None:
        """The tor process, where it is ours."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        return self._control.alive and (self._process is None or self._process.running)

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `relay.wire.OnionDialer`."""
        if not self.alive:
            raise TransportUnavailable("Tor is gone; the call fails rather than go around it")
        return await open_stream(self._socks, onion, port, isolation=isolation)

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to `port` of an ordinary host through an exit, which looks the name up; for domain calling alone.

        `host` has small letters and at least one dot.  Streams of different `isolation` never share a circuit.  Raises
        `TransportUnavailable`, `MisuseError`.
        """
        if not self.alive:
            raise TransportUnavailable("Tor is gone; the lookup fails rather than go around it")
        return await open_host_stream(self._exits, host, port, isolation=isolation)

    async def publish(
        self,
        key: OnionKey | None,
        ports: Mapping[int, Target],
        *,
        proof_of_work: bool = False,
        streams: int = 0,
    ) -> OnionService:
        """Publish an onion service (a new one without `key`) and wait until directories have its descriptor.

        `ports` maps virtual ports to unix sockets or loopback addresses.  With `streams`, a circuit that has so many
        open and asks for one more is closed: work is proved for each circuit, and never for a stream.  Raises
        `TransportUnavailable`.
        """
        return await self._control.add_onion(
            key, ports, proof_of_work=proof_of_work, timeout=PUBLISH_SECONDS, streams=streams
        )

    async def wait_lost(self) -> str:
        """Return, with a plain sentence, when Tor is gone."""
        watches = [asyncio.create_task(self._control.wait_lost())]
        if self._process is not None:
            watches.append(asyncio.create_task(self._process.wait_ended()))
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watch in watches:
                watch.cancel()
        own = self._process is not None
        return "the tor process ended" if own else "the control connection to the running Tor is gone"

    async def close(self) -> None:
        """Let go of Tor; our own process ends, and with it every service.  May be called twice."""
        await self._control.close()
        if self._process is not None:
            await self._process.stop()

    async def _wait_bootstrap(self, clock: Clock) -> None:
        deadline = clock.monotonic() + BOOTSTRAP_SECONDS
        while await self._control.bootstrap_progress() < 100:
            if self._process is not None and not self._process.running:
                raise TransportUnavailable("tor ended while it started; see tor.log in the state directory")
            if clock.monotonic() > deadline:
                raise TransportUnavailable("Tor does not connect; check this machine's network and clock")
            await asyncio.sleep(_POLL)


def _client_options(settings: TorSettings, process: TorProcess) -> list[str]:
    options = [
        f"SocksPort unix:{process.socks_socket} OnionTrafficOnly ExtendedErrors",
        # Exits have a port of their own, so that who asks for an onion by mistake gets nothing else.
        f"SocksPort unix:{process.exit_socket} NoOnionTraffic ExtendedErrors",
        "ClientOnly 1",
    ]
    if settings.network_directory:
        network = NetworkFile.read(Path(settings.network_directory).expanduser())
        seed(network, process.directory)
        options += network_options(network.authority, network.relays)
    return options


def _address(text: str, key: str) -> ControlAddress:
    if text.startswith("unix:"):
        return Path(text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    try:
        # An address and no name: looking a name up would tell the resolver.
        ipaddress.IPv4Address(host)
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ConfigurationError(f"{key}: must be written as unix:/path or 127.0.0.1:9051")
    return host, number
