"""What the registrar and every call share: settings, transactions, counters, tags, events for the agent."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from relay.agent.phone.events import PhoneEvent
from relay.agent.phone.settings import PhoneSettings
from relay.core import Counters, Entropy
from relay.sip.message import Request, Response, response_to
from relay.sip.server_transaction import ServerTransaction
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import NewRequest, TransactionLayer
from relay.sip.via import MAGIC_COOKIE, Via

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REGISTER"
"""The methods that a phone may use towards us."""

KNOWN_METHODS = frozenset({"MESSAGE", "NOTIFY", "PRACK", "PUBLISH", "REFER", "SUBSCRIBE", "UPDATE"})
"""Methods that we know and do not allow (405); any other is not implemented (501)."""

SDP = "application/sdp"

M = TypeVar("M", Request, Response)


class Station:
    """The common ground of one `PhoneUserAgent`."""

    def __init__(self, settings: PhoneSettings, entropy: Entropy) -> None:
        self.settings = settings
        self.entropy = entropy
        self.transactions = TransactionLayer(settings.timers, settings.max_transactions)
        self.counters = Counters(
            (
                "malformed",
                "oversized",
                "keep-alives",
                "not loopback",
                "challenged",
                "refused credentials",
                "refused",
                "busy",
                "unknown dialog",
                "evicted contacts",
                "never acknowledged",
            )
        )
        self._tag_key = entropy.token(32)
        self.events: list[PhoneEvent] = []
        self.wake: Callable[[], None] = lambda: None
        """Called when the agent, not the network, made something to send; the shell sets it."""

    def emit(self, event: PhoneEvent) -> None:
        self.events.append(event)

    def new_tag(self) -> str:
        return self.entropy.token(16).hex()

    def steady_tag(self, request: Request) -> str:
        """The To tag of a stateless response: the same whenever the same request comes (section 8.2.7)."""
        seen = f"{request.call_id}\n{request.via.branch}".encode()
        return hashlib.blake2s(seen, key=self._tag_key, digest_size=16).hexdigest()

    def new_via(self, flow: Flow) -> Via:
        """The Via of a new request of ours; `rport` keeps the answer on the flow (RFC 3581)."""
        branch = MAGIC_COOKIE + self.entropy.token(16).hex()
        parameters: tuple[tuple[str, str | None], ...] = (("branch", branch), ("rport", None))
        return Via(flow.transport, self.host, self.settings.port, parameters)

    @property
    def host(self) -> str:
        """Our host as it stands in a URI."""
        host = self.settings.host
        return f"[{host}]" if ":" in host else host

    def contact(self, flow: Flow) -> str:
        """Our Contact as a phone on `flow` is to use it."""
        transport = ";transport=tcp" if flow.transport == "TCP" else ""
        return f"<sip:{self.host}:{self.settings.port}{transport}>"

    def answer(
        self, transaction: ServerTransaction, status: int, now: float, *, to_tag: str, allow: bool = False
    ) -> None:
        """A bare response within a transaction."""
        response = response_to(transaction.request, status, to_tag=to_tag)
        if allow:
            response.headers.add("Allow", ALLOW)
        self.transactions.respond(transaction, response, now)

    def refuse(self, new: NewRequest, status: int, **headers: str) -> None:
        """A stateless refusal; `headers` are named with underscores for hyphens.  An ACK gets none."""
        if new.request.method == "ACK":
            return
        self.counters.count("refused")
        response = response_to(new.request, status, to_tag=self.steady_tag(new.request))
        for name, value in headers.items():
            response.headers.add(name.replace("_", "-"), value)
        self.transactions.reply(new, response)


def with_body(message: M, body: bytes) -> M:
    """The message with a session description in it."""
    message.headers.set("Content-Type", SDP)
    message.body = body
    return message
