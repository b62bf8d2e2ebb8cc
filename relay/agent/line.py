"""The shell around one line: a UDP socket, a pace, and a `LineClient` that decides what each cell is.

Every tick one cell leaves, from the first to the last.  A cell is sealed here a little ahead of its departure; what
sends it, at its moment, is `relay.agent.pacer`, a process that nothing disturbs.
"""

import asyncio
from collections.abc import Callable

from relay.agent.line_path import LinePath, source_address
from relay.chaff import Pace
from relay.core import Clock, Entropy, TransportUnavailable, get_logger
from relay.media_reflector import LineClient, LineEvent, LineLost, LossCause

SEAL_AHEAD = 0.010
"""Seconds before its departure at which a cell is sealed and handed to the pacer."""

BLUR = 0.002
"""Seconds over which an agent's departures are blurred (`relay.chaff.Pace`)."""

START_UP = 0.1
"""Seconds given to the pacer before the first cell is due, so that the first ones do not leave in a burst."""

SUSPICIOUS_SILENCE = 0.7
"""Seconds without a cell after which we look whether this machine has another address now; a line is lost after 1.5."""
LOOK_EVERY = 0.1

_NEVER_OPEN = (LossCause.UNANSWERED, LossCause.BUSY, LossCause.MOVED)

_log = get_logger("line")


class Line:
    """One open line of this agent.

    `source` is asked once a tick for the 131 sealed bytes of the next cell, or None for random ones.  `on_event`
    receives what the line says.
    """

    def __init__(
        self,
        client: LineClient,
        reflector: tuple[str, int],
        *,
        local_address: str,
        pace: Pace,
        clock: Clock,
        entropy: Entropy,
        source: Callable[[], bytes | None],
        on_event: Callable[[LineEvent], None],
    ) -> None:
        self.client = client
        self._reflector = reflector
        self._local_address = local_address
        self._pace = pace
        self._clock = clock
        self._entropy = entropy
        self._source = source
        self._on_event = on_event
        self._lost = False
        self._complained = False
        self._look_at = 0.0
        self._left: set[asyncio.Task[None]] = set()
        """Paths that the line has moved away from, while they end."""

    async def run(self) -> None:
        """Keep the line up until it was closed, or its handshake was never answered.

        One that falls silent later keeps its pace: what becomes of it is for others to decide.  Raises
        `TransportUnavailable` when it cannot be had.
        """
        self._path = self._open(self._local_address)
        try:
            await self._emit()
        finally:
            await asyncio.gather(self._path.close(), *self._left)

    def release(self) -> None:
        """Say goodbye to the reflector in the next cells, then stop."""
        self.client.close()

    def _open(self, local_address: str) -> LinePath:
        return LinePath(self._reflector, local_address, self._receive)

    async def _emit(self) -> None:
        index = self._first()
        while not self.client.closed and not self._lost:
            departure = self._pace.departure(index)
            await self._sleep_until(departure - SEAL_AHEAD)
            if self._move():
                index = self._first()
                continue
            self._submit()
            self._path.send(self._pace.blurred(index, self._entropy), self.client.next_cell(departure))
            self._deliver(self.client.events())
            index = max(index, self._pace.index(self._clock.monotonic())) + 1

    def _first(self) -> int:
        """The first departure for which a sender that was just started is ready."""
        return self._pace.index(self._clock.monotonic() + START_UP) + 1

    def _move(self) -> bool:
        """Go on from this machine's new address, if it has one and the old one does not work any more.

        An address that was set by hand is kept, whatever happens to it.
        """
        now = self._clock.monotonic()
        troubled = self._path.no_way or self.client.silence(now) >= SUSPICIOUS_SILENCE
        if self._local_address or not troubled or now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY
        source = source_address(self._reflector)
        if source is None or source == self._path.source:
            return False
        try:
            path = self._open(source)
        except TransportUnavailable:
            return False
        task = asyncio.create_task(self._path.close())
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        self._path = path
        # Another slot in the tick too: whoever watches both networks would know the line again by it.
        self._pace = Pace.at_random(self._pace.tick, self._entropy, blur=self._pace.blur)
        self.client.move()
        self._deliver(self.client.events())
        return True

    def _submit(self) -> None:
        """Whatever goes wrong at the source, the cell leaves: with random bytes."""
        try:
            body = self._source()
            if body is not None:
                self.client.submit(body)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say once, not fifty times a second, what went wrong."""
        if not self._complained:
            self._complained = True
            _log.error("a line goes on without its call", kind=type(error).__name__)

    def _receive(self, datagram: bytes) -> None:
        self._deliver(self.client.receive(datagram, self._clock.monotonic()))

    def _deliver(self, events: list[LineEvent]) -> None:
        for event in events:
            if isinstance(event, LineLost) and event.cause in _NEVER_OPEN:
                self._lost = True
            try:
                self._on_event(event)
            except Exception as error:
                self._complain(error)

    async def _sleep_until(self, moment: float) -> None:
        delay = moment - self._clock.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
