"""The asyncio shell: UDP and TCP on one loopback port, one timer, the core in between."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from relay.agent.phone.call import PhoneCall
from relay.agent.phone.events import PhoneEvent
from relay.agent.phone.settings import PhoneSettings
from relay.agent.phone.streams import Streams
from relay.agent.phone.user_agent import PhoneUserAgent
from relay.core import Clock, Counters, Entropy, MisuseError, PeerError, TransportUnavailable
from relay.sip.message import Message
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow

_TRIES = 4
"""How often a port of the operating system's choice is tried, for it may be taken on the other transport."""


class PhoneServer(asyncio.DatagramProtocol):
    """Serves the softphones of one user.

    `on_event` is called with every `PhoneEvent`, in order, on the event loop; it may call the methods of the
    call in it.  What those make is sent by itself.
    """

    def __init__(
        self,
        settings: PhoneSettings,
        clock: Clock,
        entropy: Entropy,
        on_event: Callable[[PhoneEvent], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._on_event = on_event
        self._core: PhoneUserAgent | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pump_is_due = False
        self._pumping = False
        self._streams = Streams(
            settings,
            clock,
            on_message=self._receive_message,
            on_broken=self._count_malformed,
            on_lost=self._lose,
            in_use=lambda flow: self._core is not None and self._core.uses(flow),
        )

    @property
    def core(self) -> PhoneUserAgent:
        """The user agent inside; there between `start` and `close`."""
        if self._core is None:
            raise MisuseError("the phone server is not running")
        return self._core

    @property
    def settings(self) -> PhoneSettings:
        """The settings, with the real port from `start` on."""
        return self._settings

    @property
    def port(self) -> int:
        """The port that is served, also when the settings left it to the operating system."""
        return self._settings.port

    @property
    def stream_counters(self) -> Counters:
        """What happened to TCP connections."""
        return self._streams.counters

    async def start(self) -> None:
        """Bind both transports.  Raises `TransportUnavailable` when the port is taken."""
        tries = 1 if self._settings.port else _TRIES
        while not await self._bind():
            tries -= 1
            if not tries:
                raise TransportUnavailable(
                    "the softphone port is taken by another program; choose another with 'sip_listen'"
                )

    async def _bind(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            port = await self._streams.listen(self._settings.port)
            settings = replace(self._settings, port=port)
            await loop.create_datagram_endpoint(lambda: self, local_addr=(settings.host, port))
        except OSError:
            self._streams.close()
            return False
        self._settings = settings
        self._core = PhoneUserAgent(settings, self._entropy)
        self._core.on_wake(self._pump_soon)
        return True

    async def close(self) -> None:
        """End every call, then let go of both transports.  May be called twice."""
        if self._core is not None:
            self._core.shut_down(self._clock.monotonic())
            self._pump()
        self._core = None
        if self._timer is not None:
            self._timer.cancel()
        self._streams.close()
        if self._datagrams is not None:
            self._datagrams.close()
        # Closed transports let go of their sockets in the loop's next turns.
        await asyncio.sleep(0)

    def place(self, caller: str, display: str, offer: SessionDescription) -> PhoneCall | None:
        """Ring the user's phones: `PhoneUserAgent.place`, now."""
        return self.core.place(caller, display, offer, self._clock.monotonic())

    # What the sockets tell.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's own datagram transport is no DatagramTransport to isinstance().
        self._datagrams = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._core is not None:
            self._core.receive(data, Flow("UDP", addr[0], addr[1]), self._clock.monotonic())
            self._pump()

    def error_received(self, exc: Exception) -> None:
        """A phone's port is closed: its transaction will time out."""

    def _receive_message(self, message: Message, flow: Flow) -> None:
        if self._core is not None:
            self._core.deliver(message, flow, self._clock.monotonic())
            self._pump()

    def _count_malformed(self, error: PeerError) -> None:
        if self._core is not None:
            self._core.count_malformed(error)

    def _lose(self, flow: Flow) -> None:
        if self._core is not None:
            self._core.flow_lost(flow, self._clock.monotonic())
            self._pump()

    # What moves the core.

    def _pump_soon(self) -> None:
        if not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Send what waits, tell what happened, until there is neither; then set the timer."""
        self._pump_is_due = False
        core = self._core
        if core is None or self._pumping:
            return
        self._pumping = True
        try:
            while True:
                for flow, data in core.outputs():
                    self._send(flow, data)
                events = core.events()
                if not events:
                    break
                for event in events:
                    self._on_event(event)
        finally:
            self._pumping = False
            self._arm(core.next_deadline())

    def _send(self, flow: Flow, data: bytes) -> None:
        if flow.transport == "TCP":
            self._streams.send(flow, data)
        elif self._datagrams is not None:
            self._datagrams.sendto(data, (flow.host, flow.port))

    def _arm(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        if self._core is not None:
            self._core.tick(self._clock.monotonic())
            self._pump()
