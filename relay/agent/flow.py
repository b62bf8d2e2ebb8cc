"""The agent's end of ringing: a flow down which messages come, and streams on which they go (RFC 3428, 5626).

A flow is one connection to a contact point with a circuit of its own and at most 8 tokens bound to it.
Sending never uses a flow: every target has its own circuit too, so that a contact point cannot tell who
sends from who listens.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.agent.flow_session import CONTENT_TYPE, STREAM_LIMIT, FlowSession, anonymous_request
from relay.core import Entropy, MisuseError, PeerError, TransportUnavailable, get_logger
from relay.forward_publish import SEALED_SIZE, TokenKey
from relay.sip import MessageStream, Request, Response
from relay.wire import OnionDialer

SIP_PORT = 5060
MOST_TOKENS = 8

_READ = 65536
_MOST_TARGETS = 4096
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


class MessageSender:
    """Sends sealed bodies, each on a fresh stream, each target on a circuit that no other target shares."""

    def __init__(self, dialer: OnionDialer, entropy: Entropy, times: FlowTimes = FlowTimes()) -> None:
        self._dialer = dialer
        self._entropy = entropy
        self._times = times
        self._isolation: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Hand `body` to the contact point for `token`.

        Returning means that the contact point took it, never that anybody got it.  Raises
        `TransportUnavailable`.
        """
        if len(body) != SEALED_SIZE:
            raise MisuseError("only sealed bodies are sent")
        request = anonymous_request("MESSAGE", token, onion, self._entropy, self._entropy.token(16).hex(), 1)
        request.headers.add("Privacy", "header;user")
        request.headers.add("Content-Type", CONTENT_TYPE)
        request.body = body
        try:
            async with asyncio.timeout(self._times.answer):
                status = await self._exchange(onion, token, request)
        except (TimeoutError, OSError, PeerError):
            raise TransportUnavailable("the contact point did not answer; try again") from None
        if status != 202:
            raise TransportUnavailable("the contact point did not take the message; try again")

    async def _exchange(self, onion: str, token: str, request: Request) -> int:
        isolation = self._label(onion, token)
        reader, writer = await self._dialer.open(onion, SIP_PORT, isolation=isolation)
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

    def _label(self, onion: str, token: str) -> str:
        label = self._isolation.setdefault((onion, token), f"message-{self._entropy.token(16).hex()}")
        self._isolation.move_to_end((onion, token))
        if len(self._isolation) > _MOST_TARGETS:
            self._isolation.popitem(last=False)
        return label


class FlowClient:
    """Keeps one flow up: connects, binds its tokens, pings, connects again after a loss.

    `connected` is true while all of its tokens that were not refused are bound.  `on_message` must not
    block; what it raises is noted and dropped.  `on_change` hears of every change of `connected`.
    """

    def __init__(
        self,
        dialer: OnionDialer,
        onion: str,
        tokens: Sequence[TokenKey],
        entropy: Entropy,
        on_message: OnMessage,
        *,
        on_change: Callable[[bool], None] | None = None,
        times: FlowTimes = FlowTimes(),
    ) -> None:
        if len(tokens) > MOST_TOKENS:
            raise MisuseError("a flow carries at most 8 tokens")
        self.onion = onion
        self._dialer = dialer
        self._entropy = entropy
        self._on_message = on_message
        self._on_change = on_change
        self._times = times
        self._sender = MessageSender(dialer, entropy, times)
        self._tokens = {key.token: key for key in tokens}
        self._session: FlowSession | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._state = asyncio.Event()
        self._hurried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._state.is_set()

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens that this flow is to carry."""
        return frozenset(self._tokens)

    def start(self) -> None:
        """Begin; failures to connect are retried until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def hurry(self) -> None:
        """Where the flow is waiting to connect again, do it now: Tor is back."""
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
            self._writer.write(self._session.register(key, expires=0))
        self._update()

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """As `MessageSender.send`; it does not need the flow to be up."""
        await self._sender.send(onion, token, body)

    async def _run(self) -> None:
        backoff = self._times.first_backoff
        while True:
            try:
                if await self._connection():
                    backoff = self._times.first_backoff
            except (TransportUnavailable, PeerError, OSError, TimeoutError) as error:
                reason = error.reason if isinstance(error, PeerError) else type(error).__name__
                _log.info("flow lost", reason=reason)
            self._hurried.clear()
            try:
                async with asyncio.timeout(self._entropy.uniform(0.5, 1.5) * backoff):
                    await self._hurried.wait()
                backoff = self._times.first_backoff
            except TimeoutError:
                backoff = min(2 * backoff, self._times.most_backoff)

    async def _connection(self) -> bool:
        """One connection from beginning to end.  True when all tokens were bound on it."""
        async with asyncio.timeout(self._times.answer):
            isolation = f"flow-{self._entropy.token(16).hex()}"
            reader, writer = await self._dialer.open(self.onion, SIP_PORT, isolation=isolation)
        session = FlowSession(self.onion, self._entropy)
        self._session, self._writer = session, writer
        was_bound = False
        pinger = asyncio.get_running_loop().create_task(self._keep_alive(session, writer))
        try:
            writer.write(b"".join(session.register(key) for key in self._tokens.values()))
            while True:
                limit = None if was_bound else self._times.answer
                async with asyncio.timeout(limit):
                    data = await reader.read(_READ)
                if not data:
                    return was_bound
                writer.write(session.receive(data))
                await writer.drain()
                self._update()
                was_bound = was_bound or self.connected
                self._deliver(session)
        finally:
            pinger.cancel()
            await asyncio.gather(pinger, return_exceptions=True)
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
        up = session is not None and bool(wanted) and wanted <= session.bound
        if up == self._state.is_set():
            return
        if up:
            self._state.set()
        else:
            self._state.clear()
        if self._on_change is not None:
            self._on_change(up)
