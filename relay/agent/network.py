"""The agent's one way out for everything but cells: Tor, kept up; where it is down, nothing goes anywhere."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from relay.agent.events import Reporter
from relay.core import Clock, Entropy, TransportUnavailable, get_logger
from relay.tor import TorClient, TorSettings

RETRY_FIRST = 2.0
RETRY_LAST = 60.0

_log = get_logger("network")


class Network:
    """A `relay.agent.web_get.WebDialer` over whichever Tor client is up at the moment; `lost` is called when it goes,
    `back` when it is there again."""

    def __init__(
        self,
        settings: TorSettings,
        directory: Path,
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
        lost: Callable[[str], None],
        back: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._lost = lost
        self._back = back
        self._tor: TorClient | None = None
        self._up = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether Tor is there right now."""
        return self._tor is not None and self._tor.alive

    @property
    def pid(self) -> int | None:
        """The tor process, where it is ours and there."""
        return None if self._tor is None else self._tor.pid

    async def wait_up(self) -> None:
        await self._up.wait()

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `relay.wire.OnionDialer`.  Raises `TransportUnavailable`, at once where Tor is down."""
        tor = self._tor
        if tor is None or not tor.alive:
            raise TransportUnavailable("Tor is not running; the call fails rather than go around it")
        return await tor.open(onion, port, isolation=isolation)

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `relay.agent.web_get.WebDialer`.  Raises `TransportUnavailable`, at once where Tor is down."""
        tor = self._tor
        if tor is None or not tor.alive:
            raise TransportUnavailable("Tor is not running; the lookup fails rather than go around it")
        return await tor.open_host(host, port, isolation=isolation)

    async def run(self) -> None:
        """Keep Tor up until cancelled; a Tor that dies is started again after a growing pause."""
        retry, had_it = RETRY_FIRST, False
        while True:
            try:
                self._tor = await TorClient.launch(self._settings, self._directory, self._clock)
            except TransportUnavailable as error:
                _log.warning("Tor does not start", why=str(error))
                if not had_it:
                    raise
            else:
                retry = RETRY_FIRST
                self._up.set()
                if had_it:
                    self._report("tor-back")
                    self._back()
                had_it = True
                await self._watch(self._tor)
            await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * retry)
            retry = min(2 * retry, RETRY_LAST)

    async def _watch(self, tor: TorClient) -> None:
        try:
            reason = await tor.wait_lost()
            # First of all: nothing is sent any more, and whoever waits for an answer hears why.
            self._tor = None
            self._report("tor-lost", reason=reason)
            self._lost(reason)
        finally:
            self._tor = None
            self._up.clear()
            await tor.close()
