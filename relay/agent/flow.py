"""A flow, down which messages come: one connection to a contact point, kept up (RFC 3428, 5626).

It has a circuit of its own and at most 8 tokens bound to it.  Sending never uses a flow (see
`relay.agent.circuits`), so that a contact point cannot tell who sends from who listens.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.agent.flow_session import FlowSession
from relay.agent.regrouping import MOST_TOKENS
from relay.core import Clock, Entropy, MisuseError, PeerError, TransportUnavailable, get_logger
from relay.forward_publish import TokenKey
from relay.wire import OnionDialer

SIP_PORT = 5060

_READ = 65536
_KEEP_ALIVE = b"\r\n\r\n"

OnMessage = Callable[[str, bytes], None]
"""Called with (token, body) for each message that comes down a flow."""

_log = get_logger("flow")


@dataclass(frozen=True, slots=True)
class FlowTimes:
    """Seconds.  Pings come at uniformly random intervals between half and three halves of `ping`."""

    ping: float = 60.0
    answer: float = 30.0
    first_backoff: float = 1.0
    most_backoff: float = 60.0


class FlowClient:
    """Keeps one flow up: connects, binds its tokens, pings, connects again after a loss.

    `connected` is true while all of its tokens that were not refused are bound.  `on_message` must not
    block; what it raises is noted and dropped.  `on_change` is called when a token was taken up or lost.
    """

    def __init__(
        self,
        dialer: OnionDialer,
        onion: str,
        tokens: Sequence[TokenKey],
        clock: Clock,
        entropy: Entropy,
        on_message: OnMessage,
        *,
        on_change: Callable[[], None] | None = None,
        times: FlowTimes = FlowTimes(),
    ) -> None:
        if len(tokens) > MOST_TOKENS:
            raise MisuseError("a flow carries at most 8 tokens")
        self.onion = onion
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._on_message = on_message
        self._on_change = on_change
        self._times = times
        self._tokens = {key.token: key for key in tokens}
        self._session: FlowSession | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._state = asyncio.Event()
        self._bound: frozenset[str] = frozenset()
        self._resume_at = 0.0
        self._hurried = asyncio.Event()
        self._rescheduled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._state.is_set()

    @property
    def started(self) -> bool:
        return self._task is not None

    @property
    def bound(self) -> frozenset[str]:
        """The tokens that the contact point has taken up on this flow right now."""
        return self._bound

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens that this flow is to carry."""
        return frozenset(self._tokens)

    def start(self, after: float = 0.0) -> None:
        """Begin, `after` so many seconds; failures to connect are retried until `close`."""
        self._resume_at = self._clock.monotonic() + after
        self._task = asyncio.get_running_loop().create_task(self._run())

    def hurry(self, within: float = 0.0) -> None:
        """Where the flow rests before it connects, let it do so in `within` seconds at the latest."""
        self._resume_at = min(self._resume_at, self._clock.monotonic() + within)
        self._hurried.set()

    async def close(self) -> None:
        """Let the flow go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until all tokens are bound.  Raises `TransportUnavailable` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._state.wait()
        except TimeoutError:
            raise TransportUnavailable("the contact point cannot be reached; is Tor running?") from None

    def add_token(self, key: TokenKey) -> None:
        """Carry one more token, at once where the flow is up.  Raises `MisuseError` when it is full."""
        if key.token in self._tokens:
            return
        if len(self._tokens) >= MOST_TOKENS:
            raise MisuseError("a flow carries at most 8 tokens")
        self._tokens[key.token] = key
        if self._session is not None and self._writer is not None:
            self._writer.write(self._session.register(key))
        self._update()

    def remove_token(self, token: str) -> None:
        """Carry a token no longer."""
        key = self._tokens.pop(token, None)
        if key is not None and self._session is not None and self._writer is not None:
            self._writer.write(self._session.remove(token))
        self._update()

    async def _run(self) -> None:
        await self._rest()
        backoff = self._times.first_backoff
        while True:
            try:
                if await self._connection():
                    backoff = self._times.first_backoff
            except (TransportUnavailable, PeerError, OSError, TimeoutError) as error:
                reason = error.reason if isinstance(error, PeerError) else type(error).__name__
                _log.info("flow lost", reason=reason)
            pause = self._entropy.uniform(0.5, 1.5) * backoff
            self._resume_at = until = self._clock.monotonic() + pause
            await self._rest()
            hurried = self._resume_at < until
            backoff = self._times.first_backoff if hurried else min(2 * backoff, self._times.most_backoff)

    async def _rest(self) -> None:
        """Until it is time to connect; `hurry` may bring that forward."""
        while (left := self._resume_at - self._clock.monotonic()) > 0.0:
            self._hurried.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurried.wait()

    async def _connection(self) -> bool:
        """One connection from beginning to end.  True when all tokens were bound on it."""
        async with asyncio.timeout(self._times.answer):
            isolation = f"flow-{self._entropy.token(16).hex()}"
            reader, writer = await self._dialer.open(self.onion, SIP_PORT, isolation=isolation)
        session = FlowSession(self.onion, self._entropy)
        self._session, self._writer = session, writer
        was_bound = False
        loop = asyncio.get_running_loop()
        keepers = [
            loop.create_task(self._keep_alive(session, writer)),
            loop.create_task(self._refresh(session, writer)),
        ]
        try:
            writer.write(b"".join(session.register(key) for key in self._tokens.values()))
            while True:
                limit = None if was_bound else self._times.answer
                async with asyncio.timeout(limit):
                    data = await reader.read(_READ)
                if not data:
                    return was_bound
                writer.write(session.receive(data, self._clock.monotonic()))
                self._rescheduled.set()
                await writer.drain()
                self._update()
                was_bound = was_bound or self.connected
                self._deliver(session)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            self._session = self._writer = None
            writer.close()
            self._update()

    async def _keep_alive(self, session: FlowSession, writer: asyncio.StreamWriter) -> None:
        """Ping at random intervals; without an answer the connection closes (RFC 5626 section 4.4.1)."""
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(self._entropy.uniform(0.5, 1.5) * self._times.ping)
                before = session.pongs
                writer.write(_KEEP_ALIVE)
                await asyncio.sleep(self._times.answer)
                if session.pongs == before:
                    break
        writer.close()

    async def _refresh(self, session: FlowSession, writer: asyncio.StreamWriter) -> None:
        """Register every token again before its registration runs out, each at a moment of its own."""
        while True:
            self._rescheduled.clear()
            left = None if session.deadline is None else session.deadline - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._rescheduled.wait()
            writer.write(session.tick(self._clock.monotonic()))

    def _deliver(self, session: FlowSession) -> None:
        messages, session.messages = session.messages, []
        for token, body in messages:
            if token not in self._tokens:
                continue
            try:
                self._on_message(token, body)
            except PeerError as error:
                _log.info("message dropped", reason=error.reason)
            except Exception as error:
                _log.error("message handler failed", kind=type(error).__name__)

    def _update(self) -> None:
        session = self._session
        wanted = set(self._tokens) - (session.refused if session is not None else set())
        bound = frozenset(session.bound) if session is not None else frozenset[str]()
        if wanted and wanted <= bound:
            self._state.set()
        else:
            self._state.clear()
        changed, self._bound = bound != self._bound, bound
        if changed and self._on_change is not None:
            self._on_change()
