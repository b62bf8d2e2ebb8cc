"""All transactions of one element: matching, bounds, outputs (RFC 3261 sections 17.1.3, 17.2.3 and 18.2.2).

The transaction user asks for a server transaction with `accept`; until it does, a new request costs no
memory, and `reply` answers it statelessly (section 8.2.7), as every challenge and refusal should be.
"""

from dataclasses import dataclass

from relay.core import Counters
from relay.sip.client_transaction import (
    ClientTransaction,
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from relay.sip.message import Message, Request, Response
from relay.sip.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from relay.sip.transaction import FINISHED, Flow, Timers, TransactionState
from relay.sip.via import MAGIC_COOKIE


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that belongs to no transaction yet, `flow` being where its response goes.

    An ACK comes as this too when it acknowledges a 2xx.
    """

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """An answer to one of our requests."""

    transaction: ClientTransaction
    response: Response


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nobody answered our request: to be treated as a 408 (section 8.1.3.1)."""

    transaction: ClientTransaction


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """Our final response other than 2xx got no ACK (Timer H)."""

    transaction: ServerTransaction


TransactionEvent = NewRequest | ResponseReceived | TimedOut | Unacknowledged

_Key = tuple[str, ...]

_OTHER_FORMS = {"ACK": "INVITE"}
"""An ACK carries the branch of the INVITE whose failure it acknowledges."""


class TransactionLayer:
    """At most `limit` transactions: the oldest finished one makes room, and without one there is none."""

    def __init__(self, timers: Timers, limit: int) -> None:
        self.counters = Counters(("foreign branch", "stray response", "dropped", "refused"))
        self._timers = timers
        self._limit = limit
        self._clients: dict[_Key, ClientTransaction] = {}
        self._servers: dict[_Key, ServerTransaction] = {}
        self._outputs: list[tuple[Flow, bytes]] = []

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def receive(self, message: Message, source: Flow, now: float) -> list[TransactionEvent]:
        """Take one message that came on `source`."""
        if isinstance(message, Response):
            return self._receive_response(message, now)
        branch = message.via.branch or ""
        if not branch.startswith(MAGIC_COOKIE) or branch == MAGIC_COOKIE:
            # Matching as RFC 2543 did (section 17.2.3) is left out: no phone of this century needs it.
            self.counters.count("foreign branch")
            return []
        transaction = self._servers.get(server_key(message))
        if transaction is None:
            return [NewRequest(message, _note_source(message, source))]
        passed_up = False
        if message.method != "ACK":
            transaction.receive_again()
        elif isinstance(transaction, InviteServerTransaction):
            passed_up = transaction.receive_ack(now)
        self._collect(transaction)
        return [NewRequest(message, transaction.flow)] if passed_up else []

    def _receive_response(self, response: Response, now: float) -> list[TransactionEvent]:
        transaction = self._clients.get((response.via.branch or "", response.cseq.method))
        if transaction is None:
            self.counters.count("stray response")
            return []
        passed_up = transaction.receive(response, now)
        self._collect(transaction)
        return [] if passed_up is None else [ResponseReceived(transaction, passed_up)]

    def accept(self, new: NewRequest) -> ServerTransaction | None:
        """Open a server transaction; None when there is no room (the answer is then a stateless 503)."""
        if not self._make_room():
            return None
        kind = InviteServerTransaction if new.request.method == "INVITE" else NonInviteServerTransaction
        transaction = kind(new.request, new.flow, self._timers)
        self._servers[server_key(new.request)] = transaction
        return transaction

    def pending_invite(self, cancel: Request) -> ServerTransaction | None:
        """The INVITE transaction that a CANCEL is about (section 9.2)."""
        via = cancel.via
        return self._servers.get((via.branch or "", via.host, str(via.port), "INVITE"))

    def request(self, request: Request, flow: Flow, now: float) -> ClientTransaction | None:
        """Send a request in a client transaction; None, and nothing sent, when there is no room."""
        if not self._make_room():
            return None
        kind = InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        transaction = kind(request, flow, now, self._timers)
        self._clients[(request.via.branch or "", request.method)] = transaction
        self._collect(transaction)
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Answer within a transaction."""
        transaction.respond(response, now)
        self._collect(transaction)

    def reply(self, new: NewRequest, response: Response) -> None:
        """Answer without a transaction."""
        self.send(new.flow, response.to_bytes())

    def send(self, flow: Flow, data: bytes) -> None:
        """Send what belongs to no transaction: the ACK of a 2xx, a 2xx once more."""
        self._outputs.append((flow, data))

    def tick(self, now: float) -> list[TransactionEvent]:
        """Let time pass."""
        events: list[TransactionEvent] = []
        for client in list(self._clients.values()):
            if client.deadline is not None and client.deadline <= now:
                if client.tick(now):
                    events.append(TimedOut(client))
                self._collect(client)
        for server in list(self._servers.values()):
            if server.deadline is not None and server.deadline <= now:
                if server.tick(now):
                    events.append(Unacknowledged(server))
                self._collect(server)
        return events

    def next_deadline(self) -> float | None:
        """When `tick` next has something to do."""
        due = [client.deadline for client in self._clients.values()]
        due += [server.deadline for server in self._servers.values()]
        return min((at for at in due if at is not None), default=None)

    def outputs(self) -> list[tuple[Flow, bytes]]:
        """What has to be sent now, and where."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def flow_lost(self, flow: Flow) -> list[TransactionEvent]:
        """A connection is gone: its requests fail at once (section 8.1.3.1), its server transactions end."""
        for server in [server for server in self._servers.values() if server.flow == flow]:
            self.abandon(server)
        lost = [client for client in self._clients.values() if client.flow == flow]
        unanswered = [client for client in lost if client.state not in FINISHED]
        for client in lost:
            self.abandon(client)
        return [TimedOut(client) for client in unanswered]

    def abandon(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """End a transaction at once, whatever its state."""
        transaction.abandon()
        self._collect(transaction)

    def _collect(self, transaction: ClientTransaction | ServerTransaction) -> None:
        self._outputs += [(transaction.flow, data) for data in transaction.drain()]
        if transaction.state is TransactionState.TERMINATED:
            if isinstance(transaction, ClientTransaction):
                request = transaction.request
                self._clients.pop((request.via.branch or "", request.method), None)
            else:
                self._servers.pop(server_key(transaction.request), None)

    def _make_room(self) -> bool:
        if len(self) < self._limit:
            return True
        everyone: list[ClientTransaction | ServerTransaction] = [
            *self._servers.values(),
            *self._clients.values(),
        ]
        for transaction in everyone:
            if transaction.state in FINISHED:
                self.abandon(transaction)
                self.counters.count("dropped")
                return True
        self.counters.count("refused")
        return False


def server_key(request: Request) -> _Key:
    """What matches a request to its server transaction: branch, sent-by, method (section 17.2.3)."""
    via = request.via
    method = _OTHER_FORMS.get(request.method, request.method)
    return (via.branch or "", via.host, str(via.port), method)


def _note_source(request: Request, source: Flow) -> Flow:
    """Write down in the top Via where the request came from, and say where its response goes (RFC 3581)."""
    via = request.via
    asks = via.wants_rport
    if asks:
        via = via.with_param("rport", str(source.port))
    if asks or via.host.strip("[]") != source.host:
        via = via.with_param("received", source.host)
        rest = request.headers.all("Via")[1:]
        request.headers.set("Via", str(via))
        for value in rest:
            request.headers.add("Via", value)
    if source.reliable or asks:
        return source
    return Flow(source.transport, source.host, via.port or 5060)
