"""The reflector's onion service, and its way out: both over one Tor client, which is started again when it is lost."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from relay.core import BayonneError, Clock, Entropy, TransportUnavailable, get_logger
from relay.media_reflector import ONION_PORT, TicketServer
from relay.node.reflector_state import ReflectorState
from relay.tor import OnionKey, TorClient, TorSettings

RETRY_FIRST = 2.0
RETRY_MOST = 60.0
"""Seconds before Tor is tried again after it was lost: doubled each time."""

_STREAMS = 1
"""Open streams of one circuit: everybody honest asks each question on a circuit of its own, and one that cost a single
proof of work must not hold all the streams that we serve at a time."""

_SOCKET_PATH_LIMIT = 100
"""Unix socket names end at 108 bytes."""

log = get_logger("reflector")


class ReflectorOnion:
    """Descriptor and tickets behind an onion service that keeps its name; an `OnionDialer` while Tor is there."""

    def __init__(
        self,
        settings: TorSettings,
        state: ReflectorState,
        tickets: TicketServer,
        clock: Clock,
        entropy: Entropy,
        reachable: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        """`reachable` hears the name each time that it was published, `lost` is called each time that Tor is gone
        after that.  Neither may raise."""
        self.name = ""
        """56 characters, once it was published for the first time."""
        self._settings = settings
        self._state = state
        self._tickets = tickets
        self._clock = clock
        self._entropy = entropy
        self._reachable = reachable
        self._lost = lost
        self._key: OnionKey | None = None
        """As it lies on disk; read and written once, so that coming back needs no disk."""
        self._tor: TorClient | None = None

    @property
    def up(self) -> bool:
        """Whether Tor is there."""
        return self._tor is not None

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `relay.wire.OnionDialer`.  Raises `TransportUnavailable`, at once where Tor is down."""
        if self._tor is None:
            raise TransportUnavailable("Tor is not there just now")
        return await self._tor.open(onion, port, isolation=isolation)

    async def run(self) -> None:
        """Keep the service up.

        Raises `BayonneError` or `OSError` when the first attempt fails.  After that nothing about Tor does, be it its
        password, its cookie or a full disk: lines do not need it, and it is tried again and again.
        """
        target = await self._listen()
        pause = RETRY_FIRST
        while True:
            try:
                tor = await self._publish(target)
            except (BayonneError, OSError) as error:
                if not self.name:
                    raise
                why = str(error) if isinstance(error, BayonneError) else error.strerror or "it broke off"
            else:
                why = await self._stay(tor)
                pause = RETRY_FIRST
            log.warning("tor is lost; lines go on, new tickets wait until it is back", why=why)
            await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, RETRY_MOST)

    async def close(self) -> None:
        await self._tickets.close()

    async def _listen(self) -> tuple[str, int] | Path:
        """Our own tor reaches a socket file that nobody else can; a running one is another user's process."""
        path = self._state.ticket_socket
        if self._settings.mode == "own" and len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return await self._tickets.listen_unix(path)
        return await self._tickets.listen_loopback()

    async def _publish(self, target: tuple[str, int] | Path) -> TorClient:
        """A Tor that leads to `target`."""
        async with contextlib.AsyncExitStack() as undo:
            tor = await TorClient.launch(self._settings, self._state.directory, self._clock)
            undo.push_async_callback(tor.close)
            if self._key is None:
                self._key = self._state.onion_key()
            service = await tor.publish(self._key, {ONION_PORT: target}, proof_of_work=True, streams=_STREAMS)
            if service.key != self._key:
                self._state.keep_onion_key(service.key)
                self._key = service.key
            self.name = service.onion
            undo.pop_all()
        return tor

    async def _stay(self, tor: TorClient) -> str:
        """Be reachable until Tor is lost; gives a plain sentence that says how."""
        self._tor = tor
        try:
            self._reachable(self.name)
            why = await tor.wait_lost()
        finally:
            self._tor = None
            with contextlib.suppress(BayonneError, OSError):
                await tor.close()
        self._lost()
        return why
