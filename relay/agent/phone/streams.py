"""The TCP side of the shell: a bounded table of connections, new ones to phones that lost theirs."""

import asyncio
from collections.abc import Callable

from relay.agent.phone.connection import Connection
from relay.agent.phone.settings import PhoneSettings, is_loopback
from relay.core import Clock, Counters, PeerError
from relay.sip.message import Message
from relay.sip.transaction import Flow

_SWEEP = 1.0
"""Seconds between two looks at connections that hold half a message."""

_MAX_WAITING = 8
"""Messages that wait for one connection that is being made."""


class Streams:
    """Every TCP connection of a `PhoneServer`.

    `on_message` and `on_broken` take what arrives, `on_lost` a flow that is gone; `in_use` tells whether a
    flow carries a registration or a call, and must stay.
    """

    def __init__(
        self,
        settings: PhoneSettings,
        clock: Clock,
        *,
        on_message: Callable[[Message, Flow], None],
        on_broken: Callable[[PeerError], None],
        on_lost: Callable[[Flow], None],
        in_use: Callable[[Flow], bool],
    ) -> None:
        self.counters = Counters(
            ("refused connections", "broken streams", "slow messages", "lost connections")
        )
        self._settings = settings
        self._clock = clock
        self._on_message = on_message
        self._on_broken = on_broken
        self._on_lost = on_lost
        self._in_use = in_use
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._waiting: dict[Flow, list[bytes]] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, port: int) -> int:
        """Listen on `port`; returns the port bound, for 0 one of the system's choice.  Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._new_connection, self._settings.host, port, backlog=self._settings.max_connections
        )
        self._sweep()
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Stop listening; what was written still leaves.  May be called twice."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for dial in self._dials:
            dial.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        if self._listener is not None:
            self._listener.close()

    def send(self, flow: Flow, data: bytes) -> None:
        """Send on a connection; on a new one where the flow names none, nowhere where it is gone."""
        if flow.connection:
            connection = self._connections.get(flow.connection)
            if connection is not None:
                connection.write(data)
        elif flow in self._waiting:
            if len(self._waiting[flow]) < _MAX_WAITING:
                self._waiting[flow].append(data)
        elif len(self._waiting) < self._settings.max_connections:
            self._waiting[flow] = [data]
            dial = asyncio.get_running_loop().create_task(self._dial(flow))
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)

    # What connections tell (`ConnectionOwner`).

    def opened(self, connection: Connection) -> bool:
        if not is_loopback(connection.flow.host) or not self._make_room():
            self.counters.count("refused connections")
            return False
        connection.active_at = self._clock.monotonic()
        self._connections[connection.number] = connection
        return True

    def message(self, connection: Connection, message: Message) -> None:
        connection.active_at = self._clock.monotonic()
        self._on_message(message, connection.flow)

    def broken(self, connection: Connection, error: PeerError) -> None:
        self.counters.count("broken streams")
        self._on_broken(error)

    def lost(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None) is not None:
            self.counters.count("lost connections")
            self._on_lost(connection.flow)

    def _new_connection(self) -> Connection:
        self._numbers += 1
        return Connection(self, self._numbers, self._settings.message_limit, self._settings.write_limit)

    def _make_room(self) -> bool:
        """The connection that is quiet for longest gives way, unless a phone or a call is on it."""
        if len(self._connections) < self._settings.max_connections:
            return True
        idle = [one for one in self._connections.values() if not self._in_use(one.flow)]
        if not idle:
            return False
        quietest = min(idle, key=lambda one: one.active_at)
        del self._connections[quietest.number]
        quietest.abort()
        return True

    async def _dial(self, flow: Flow) -> None:
        """Connect to a phone whose own connection is gone, and send what waits for it."""
        connection = next((one for one in self._connections.values() if _same_place(one.flow, flow)), None)
        try:
            if connection is None:
                async with asyncio.timeout(2.0):
                    _, connection = await asyncio.get_running_loop().create_connection(
                        self._new_connection, flow.host, flow.port
                    )
        except (OSError, TimeoutError):
            self._on_lost(flow)
        finally:
            waiting = self._waiting.pop(flow, [])
        if connection is not None:
            for data in waiting:
                connection.write(data)

    def _sweep(self) -> None:
        """Close connections whose half message does not come to its end."""
        now = self._clock.monotonic()
        for connection in list(self._connections.values()):
            if not connection.unfinished:
                connection.half_since = None
            elif connection.half_since is None:
                connection.half_since = now
            elif now - connection.half_since > self._settings.idle_limit:
                self.counters.count("slow messages")
                connection.abort()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)


def _same_place(one: Flow, other: Flow) -> bool:
    return (one.host, one.port) == (other.host, other.port)
