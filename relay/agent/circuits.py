"""Streams to contact points that stand open before anybody dials, and the sender that uses them (DESIGN.md section 4).

A circuit built when somebody dials says that somebody dials.  So for the contact points where most contacts are, one
stream each stands open at all times, opened at random moments, whatever is sent or not.  Rings, answers and dummies
go out by the same call, which knows no difference between them: whatever finds a stream open uses it, and what does
not opens a fresh one.  What was used is replaced after a random pause, on a new circuit.

What it costs, reckoned and not measured, for each contact point kept warm: a stream lasts 30 to 55 s (a contact point
closes at 60 a connection that says nothing), so 2,030 streams a day, of some 2 kB in Tor's cells; a circuit serves
them for 5 to 9 minutes (Tor puts no new stream on one older than 10), so 206 a day, of some 13 kB: 7 MB a day, 55 MB
for all eight, where a line that is kept up takes 1,600.  A contact point that a thousand agents keep warm holds a
connection for each of them, and sees 24 streams and 2.4 circuits come up every second.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from relay.agent.flow import SIP_PORT
from relay.agent.flow_session import CONTENT_TYPE, STREAM_LIMIT, anonymous_request
from relay.core import Clock, Entropy, MisuseError, PeerError, TransportUnavailable
from relay.forward_publish import SEALED_SIZE
from relay.sip import MessageStream, Request, Response
from relay.wire import OnionDialer

MOST_WARM = 8
"""Contact points for which a stream stands open."""

ANSWER = 30.0
"""Seconds that a contact point gets to answer on a fresh stream."""

WARM_ANSWER = 8.0
"""The same on a stream that stood open, before a fresh one is tried: it may be dead."""

_READ = 65536
_MOST_TARGETS = 4096

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CircuitTimes:
    """Seconds; each pair is a range that is drawn from evenly."""

    begin: Range = (0.0, 20.0)
    stream: Range = (30.0, 55.0)
    circuit: Range = (300.0, 540.0)
    after_use: Range = (5.0, 30.0)
    retry: Range = (20.0, 60.0)
    open: float = 30.0


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream on which nothing was said yet, with the label of its circuit."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    isolation: str
    until: float = 0.0

    @property
    def dead(self) -> bool:
        return self.reader.at_eof() or self.writer.is_closing()


class _Slot:
    """What stands open to one contact point."""

    def __init__(self) -> None:
        self.stream: OpenStream | None = None
        self.taken = asyncio.Event()

    def replace(self, stream: OpenStream | None) -> None:
        older, self.stream = self.stream, stream
        if older is not None:
            older.writer.close()


class CallingCircuits:
    """Keeps one stream open to each contact point that it is told of."""

    def __init__(
        self, dialer: OnionDialer, clock: Clock, entropy: Entropy, times: CircuitTimes = CircuitTimes()
    ) -> None:
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._times = times
        self._slots: dict[str, _Slot] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def keep(self, onions: Sequence[str]) -> None:
        """Keep streams open to the first `MOST_WARM` of `onions`, those of most contacts first, and to no others."""
        chosen = list(dict.fromkeys(onions))[:MOST_WARM]
        for onion in self._tasks.keys() - set(chosen):
            self._tasks.pop(onion).cancel()
            self._slots.pop(onion).replace(None)
        for onion in chosen:
            if onion not in self._tasks:
                slot = self._slots[onion] = _Slot()
                job = self._keep(onion, slot)
                self._tasks[onion] = asyncio.get_running_loop().create_task(job)

    def take(self, onion: str) -> OpenStream | None:
        """A stream that stands open to `onion`; the caller closes it.  None where there is none."""
        slot = self._slots.get(onion)
        stream = slot.stream if slot is not None else None
        if slot is None or stream is None or stream.dead or self._clock.monotonic() >= stream.until:
            return None
        slot.stream = None
        slot.taken.set()
        return stream

    async def close(self) -> None:
        """Let everything go."""
        tasks = list(self._tasks.values())
        self.keep(())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, onion: str, slot: _Slot) -> None:
        """Until cancelled.  A stream is replaced before it is closed, so that one is always there."""
        try:
            await self._pause(self._times.begin)
            while True:
                try:
                    await self._circuit(onion, slot)
                except (TransportUnavailable, OSError, TimeoutError):
                    await self._pause(self._times.retry)
        finally:
            slot.replace(None)

    async def _circuit(self, onion: str, slot: _Slot) -> None:
        """One circuit's worth of streams: until a message went out on it, or it is old."""
        slot.taken.clear()
        isolation = f"message-{self._entropy.token(16).hex()}"
        ends = self._clock.monotonic() + self._entropy.uniform(*self._times.circuit)
        while self._clock.monotonic() < ends:
            async with asyncio.timeout(self._times.open):
                reader, writer = await self._dialer.open(onion, SIP_PORT, isolation=isolation)
            until = self._clock.monotonic() + self._times.stream[1]
            if slot.taken.is_set():
                # The last one was used while this one was opened, on a circuit that is the message's now.
                writer.close()
            else:
                slot.replace(OpenStream(reader, writer, isolation, until))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._entropy.uniform(*self._times.stream)):
                        await slot.taken.wait()
            if slot.taken.is_set():
                await self._pause(self._times.after_use)
                return

    async def _pause(self, seconds: Range) -> None:
        await asyncio.sleep(self._entropy.uniform(*seconds))


class MessageSender:
    """Sends sealed bodies, each on a stream of its own, each target on a circuit that no other target shares."""

    def __init__(
        self,
        dialer: OnionDialer,
        entropy: Entropy,
        circuits: CallingCircuits | None = None,
        *,
        answer: float = ANSWER,
        warm_answer: float = WARM_ANSWER,
    ) -> None:
        self._dialer = dialer
        self._entropy = entropy
        self._circuits = circuits
        self._answer = answer
        self._warm_answer = warm_answer
        self._isolation: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Hand `body` to the contact point for `token`.

        Returning means that the contact point took it, never that anybody got it; it may arrive twice.  Raises
        `TransportUnavailable`.
        """
        if len(body) != SEALED_SIZE:
            raise MisuseError("only sealed bodies are sent")
        request = anonymous_request("MESSAGE", token, onion, self._entropy, self._entropy.token(16).hex(), 1)
        request.headers.add("Privacy", "header;user")
        request.headers.add("Content-Type", CONTENT_TYPE)
        request.body = body
        status = await self._send_warm(onion, token, request)
        try:
            if status is None:
                async with asyncio.timeout(self._answer):
                    status = await self._send_fresh(onion, token, request)
        except (TimeoutError, OSError, PeerError):
            raise TransportUnavailable("the contact point did not answer; try again") from None
        if status != 202:
            raise TransportUnavailable("the contact point did not take the message; try again")

    async def _send_warm(self, onion: str, token: str, request: Request) -> int | None:
        """By a stream that stands open; None where there is none, or it turned out to be dead."""
        stream = self._circuits.take(onion) if self._circuits is not None else None
        if stream is None:
            return None
        try:
            async with asyncio.timeout(self._warm_answer):
                status = await _exchange(stream.reader, stream.writer, request)
        except (TimeoutError, OSError, PeerError):
            return None
        self._remember(onion, token, stream.isolation)
        return status

    async def _send_fresh(self, onion: str, token: str, request: Request) -> int:
        isolation = self._isolation.get((onion, token)) or f"message-{self._entropy.token(16).hex()}"
        self._remember(onion, token, isolation)
        reader, writer = await self._dialer.open(onion, SIP_PORT, isolation=isolation)
        return await _exchange(reader, writer, request)

    def _remember(self, onion: str, token: str, isolation: str) -> None:
        """What follows to the same target goes the same way; the way leads nowhere else."""
        self._isolation[onion, token] = isolation
        self._isolation.move_to_end((onion, token))
        if len(self._isolation) > _MOST_TARGETS:
            self._isolation.popitem(last=False)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> int:
    """Send, and wait for the final status.  Closes the stream.  Raises `PeerError`, `OSError`."""
    try:
        writer.write(request.to_bytes())
        await writer.drain()
        stream = MessageStream(STREAM_LIMIT, expects_pongs=True)
        while data := await reader.read(_READ):
            for message in stream.receive(data):
                if isinstance(message, Response) and message.status >= 200:
                    return message.status
        raise PeerError("truncated")
    finally:
        writer.close()
