"""What a contact point decides, without sockets: flows, the messages down them, records.

It knows connections only by number.  Whoever sends a message cannot tell whether its token is bound: the
same is done, and the same is answered.
"""

import hmac
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from relay.core import Counters, Entropy, PeerError
from relay.forward_publish.buckets import (
    MOST_RECORDS,
    Bucket,
    RecordRequest,
    RequestKind,
    key_range,
    put_answer,
)
from relay.forward_publish.records import CLOCK_SKEW, StoredRecord
from relay.forward_publish.sealed import SEALED_SIZE
from relay.forward_publish.tokens import NONCE_SIZE, TokenBinding

FlowId = int

COUNTS = (
    "flows opened",
    "flows refused",
    "tokens bound",
    "bindings refused",
    "messages accepted",
    "messages forwarded",
    "messages without a flow",
    "messages over a queue",
    "messages of a wrong size",
    "messages over the rate",
    "records stored",
    "records older",
    "records refused",
    "records over capacity",
    "records over the connection",
    "buckets answered",
    "requests malformed",
    "connections idle",
    "connections lost",
    "connections over the limit",
    "streams malformed",
    "store failures",
)


class ContactPointLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[limits]`: what one contact point holds at most."""

    connections: int = 1024
    """SIP connections, flows among them."""
    record_connections: int = 128
    tokens_per_flow: int = 8
    queue: int = 32
    """Messages waiting for one flow; more are dropped."""
    messages_per_second: float = 10.0
    """Requests that one connection may send in the long run."""
    burst: int = 60
    records: int = 20_000
    puts_per_connection: int = 4
    """Records that one connection may leave; each further one costs another circuit, and its proof of work."""


@dataclass(slots=True)
class _Flow:
    nonces: deque[bytes]
    allowance: float
    refilled: float
    tokens: set[str] = field(default_factory=set)
    queue: deque[tuple[str, bytes]] = field(default_factory=deque)


class ContactPoint:
    """Flows, the tokens bound to them, and the messages that wait to go down."""

    def __init__(self, onion: str, limits: ContactPointLimits, entropy: Entropy, counters: Counters) -> None:
        self._onion = onion
        self._limits = limits
        self._entropy = entropy
        self._counters = counters
        self._flows: dict[FlowId, _Flow] = {}
        self._bound: dict[str, FlowId] = {}
        self._next_flow = 0
        self._ready: OrderedDict[FlowId, None] = OrderedDict()

    @property
    def flows(self) -> int:
        return len(self._flows)

    @property
    def tokens(self) -> int:
        return len(self._bound)

    def open_flow(self, now: float) -> FlowId | None:
        """A number for a new connection; None where there are too many."""
        if len(self._flows) >= self._limits.connections:
            self._counters.count("flows refused")
            return None
        self._next_flow += 1
        nonces: deque[bytes] = deque(maxlen=2 * self._limits.tokens_per_flow)
        self._flows[self._next_flow] = _Flow(nonces, self._limits.burst, now)
        self._counters.count("flows opened")
        return self._next_flow

    def close_flow(self, flow: FlowId) -> None:
        """Forget a connection, its tokens and whatever waited for it."""
        for token in self._flows.pop(flow).tokens:
            del self._bound[token]
        self._ready.pop(flow, None)

    def allow(self, flow: FlowId, now: float) -> bool:
        """Whether a request may come on this connection now; False: it comes too often."""
        state = self._flows[flow]
        earned = (now - state.refilled) * self._limits.messages_per_second
        state.allowance = min(self._limits.burst, state.allowance + earned)
        state.refilled = now
        if state.allowance < 1.0:
            self._counters.count("messages over the rate")
            return False
        state.allowance -= 1.0
        return True

    def challenge(self, flow: FlowId) -> bytes:
        """A fresh nonce for one binding on this flow; only the latest few are remembered."""
        nonce = self._entropy.token(NONCE_SIZE)
        self._flows[flow].nonces.append(nonce)
        return nonce

    def bind(self, flow: FlowId, binding: TokenBinding) -> None:
        """Bind a token to a flow, in place of the flow it was bound to before.

        Raises `PeerError` ("stale nonce", "token of another key", "bad signature", "too many tokens").
        """
        state = self._flows[flow]
        try:
            self._spend(state, binding.nonce)
            binding.verify(self._onion)
            if binding.token not in state.tokens and len(state.tokens) >= self._limits.tokens_per_flow:
                raise PeerError("too many tokens")
        except PeerError:
            self._counters.count("bindings refused")
            raise
        older = self._bound.get(binding.token)
        if older is not None:
            self._flows[older].tokens.discard(binding.token)
        self._bound[binding.token] = flow
        state.tokens.add(binding.token)
        self._counters.count("tokens bound")

    def unbind(self, flow: FlowId, binding: TokenBinding) -> None:
        """Take a token off its flow; needs the same proof as `bind`."""
        self.bind(flow, binding)
        self._flows[flow].tokens.discard(binding.token)
        del self._bound[binding.token]

    def route(self, token: str, body: bytes) -> None:
        """Take a message for `token`: it goes down the flow, or nowhere, and the sender sees no difference.

        Raises `PeerError` ("wrong size"), whatever the token.
        """
        if len(body) != SEALED_SIZE:
            self._counters.count("messages of a wrong size")
            raise PeerError("wrong size")
        self._counters.count("messages accepted")
        flow = self._bound.get(token)
        if flow is None:
            self._counters.count("messages without a flow")
        elif len(self._flows[flow].queue) >= self._limits.queue:
            self._counters.count("messages over a queue")
        else:
            self._flows[flow].queue.append((token, body))
            self._ready[flow] = None

    def take_ready(self) -> list[FlowId]:
        """The flows for which something waits, each named once."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def take_message(self, flow: FlowId) -> tuple[str, bytes] | None:
        """The next message that waits for a flow, as (token, body)."""
        queue = self._flows[flow].queue
        if not queue:
            return None
        self._counters.count("messages forwarded")
        return queue.popleft()

    def is_flow(self, flow: FlowId) -> bool:
        """Whether a token is bound to this connection: it may then stay open for long."""
        return bool(self._flows[flow].tokens)

    @staticmethod
    def _spend(state: _Flow, nonce: bytes) -> None:
        for known in state.nonces:
            if hmac.compare_digest(known, nonce):
                state.nonces.remove(known)
                return
        raise PeerError("stale nonce")


class RecordStore(Protocol):
    """Where records stay; `relay.contact_cache` has one.

    All of it raises `TransportUnavailable` where it fails.
    """

    async def put(self, record: StoredRecord) -> bool:
        """Keep `record` unless one of the same key with an equal or higher revision is there: then False.

        Whoever gets True will find the record again, whatever crashes.
        """
        ...

    async def select(self, first: bytes, last: bytes, limit: int) -> Sequence[StoredRecord]:
        """At most `limit` records whose keys lie from `first` to `last`, both included."""
        ...

    async def count(self) -> int: ...

    async def expire(self, before: float) -> int:
        """Forget all that expired before that Unix time; how many."""
        ...


class RecordVisit:
    """One connection to the office, as far as it counts."""

    __slots__ = ("puts",)

    def __init__(self) -> None:
        self.puts = 0


class RecordOffice:
    """Takes and gives out records, by request; a request is all it learns."""

    def __init__(self, store: RecordStore, limits: ContactPointLimits, counters: Counters) -> None:
        self._store = store
        self._limits = limits
        self._counters = counters

    async def answer(self, request: bytes, now: float, visit: RecordVisit | None = None) -> bytes:
        """The answer to one request of `visit`, or of somebody who asks only once; `now` is Unix time.

        Raises `PeerError`: close the connection.
        """
        try:
            parsed = RecordRequest.parse(request)
            if parsed.record is not None:
                parsed.record.check_time(now)
        except PeerError as error:
            refused = error.reason in ("forged", "expired", "outside its period")
            self._counters.count("records refused" if refused else "requests malformed")
            raise
        if parsed.kind is RequestKind.PUT:
            assert parsed.record is not None
            visit = visit or RecordVisit()
            visit.puts += 1
            if visit.puts > self._limits.puts_per_connection:
                self._counters.count("records over the connection")
                raise PeerError("too many records")
            return put_answer(await self._put(parsed.record))
        first, last = key_range(parsed.prefix_bits, parsed.prefix)
        found = await self._store.select(first, last, MOST_RECORDS + 1)
        self._counters.count("buckets answered")
        return Bucket.of(found, parsed.prefix_bits).to_bytes()

    async def expire(self, now: float) -> int:
        """Forget what nobody can use any more; call it now and then."""
        return await self._store.expire(now - CLOCK_SKEW)

    async def _put(self, record: StoredRecord) -> bool:
        full = await self._store.count() >= self._limits.records
        if full and not await self._store.select(record.key, record.key, 1):
            # Only new ones have to stay outside: whoever fills the store must not silence those who were there.
            self._counters.count("records over capacity")
            return False
        stored = await self._store.put(record)
        self._counters.count("records stored" if stored else "records older")
        return stored
