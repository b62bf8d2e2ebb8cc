"""What a contact point decides about SIP, without sockets: flows, and the messages down them.

It knows connections only by number.  Whoever sends a message cannot tell whether its token is bound: the
same is done, and the same is answered.  The other half, records, is `relay.forward_publish.office`.
"""

import hmac
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from relay.core import Counters, Entropy, PeerError
from relay.forward_publish.limits import OFFICE_COUNTS, ContactPointLimits
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
    *OFFICE_COUNTS,
    "connections idle",
    "connections lost",
    "connections over the limit",
    "streams malformed",
)
"""Everything that a contact point's process counts."""


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
