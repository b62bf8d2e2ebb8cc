"""Client transactions: RFC 3261 section 17.1 with the Accepted state of RFC 6026 section 7.2.

A machine is given responses and time, and drained of bytes.  It takes its first step when made: the
request is in its outbox at once.
"""

from relay.sip.message import Request, Response
from relay.sip.transaction import Flow, Timers, TransactionState


class ClientTransaction:
    """One request of ours until its final answer was absorbed."""

    __slots__ = ("_ends_at", "_interval", "_outbox", "_resend_at", "_timers", "flow", "request", "state")

    def __init__(self, request: Request, flow: Flow, now: float, timers: Timers) -> None:
        self.request = request
        self.flow = flow
        self._timers = timers
        self._outbox = [request.to_bytes()]
        self._interval = timers.t1
        self._resend_at: float | None = None if flow.reliable else now + timers.t1
        self._ends_at: float | None = now + timers.transaction
        self.state = TransactionState.TRYING

    @property
    def deadline(self) -> float | None:
        """When `tick` next has something to do."""
        due = [at for at in (self._resend_at, self._ends_at) if at is not None]
        return min(due) if due else None

    def drain(self) -> list[bytes]:
        """What has to be sent now."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def receive(self, response: Response, now: float) -> Response | None:
        """The response if the transaction user has to see it; None for a retransmission."""
        raise NotImplementedError

    def tick(self, now: float) -> bool:
        """True when the time for an answer has just run out (Timer B or F)."""
        if self._ends_at is not None and now >= self._ends_at:
            timed_out = self.state in (
                TransactionState.CALLING,
                TransactionState.TRYING,
                TransactionState.PROCEEDING,
            )
            self.abandon()
            return timed_out
        if self._resend_at is not None and now >= self._resend_at:
            self._outbox.append(self.request.to_bytes())
            self._interval = self._next_interval()
            self._resend_at = now + self._interval
        return False

    def _next_interval(self) -> float:
        raise NotImplementedError

    def abandon(self) -> None:
        """End at once, whatever the state; only what already waits in the outbox is sent."""
        self.state = TransactionState.TERMINATED
        self._resend_at = self._ends_at = None


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.1 (figure 5), RFC 6026 section 7.2."""

    __slots__ = ("_ack",)

    def __init__(self, request: Request, flow: Flow, now: float, timers: Timers) -> None:
        super().__init__(request, flow, now, timers)
        self.state = TransactionState.CALLING
        self._ack = b""

    def receive(self, response: Response, now: float) -> Response | None:
        match self.state:
            case TransactionState.CALLING | TransactionState.PROCEEDING:
                return self._receive_first(response, now)
            case TransactionState.ACCEPTED if 200 <= response.status < 300:
                return response
            case TransactionState.COMPLETED if response.status >= 300:
                self._outbox.append(self._ack)
                return None
            case _:
                return None

    def _receive_first(self, response: Response, now: float) -> Response:
        self._resend_at = None  # Timer A ends with any response
        if response.status < 200:
            self.state = TransactionState.PROCEEDING
            self._ends_at = None  # Timer B too: from here the transaction user limits the ringing
        elif response.status < 300:
            self.state = TransactionState.ACCEPTED
            self._ends_at = now + self._timers.transaction  # Timer M
        else:
            self._ack = acknowledge(self.request, response).to_bytes()
            self._outbox.append(self._ack)
            self.state = TransactionState.COMPLETED
            self._ends_at = now + self._timers.d  # Timer D
            if self.flow.reliable:
                self.abandon()
        return response

    def _next_interval(self) -> float:
        return 2 * self._interval  # Timer A has no ceiling


class NonInviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.2 (figure 6)."""

    __slots__ = ()

    def receive(self, response: Response, now: float) -> Response | None:
        if self.state not in (TransactionState.TRYING, TransactionState.PROCEEDING):
            return None
        if response.status < 200:
            self.state = TransactionState.PROCEEDING
            return response
        self.state = TransactionState.COMPLETED
        self._resend_at = None
        self._ends_at = now + self._timers.t4  # Timer K
        if self.flow.reliable:
            self.abandon()
        return response

    def _next_interval(self) -> float:
        if self.state is TransactionState.PROCEEDING:
            return self._timers.t2
        return min(2 * self._interval, self._timers.t2)


def acknowledge(invite: Request, response: Response) -> Request:
    """The ACK for a final response other than 2xx (RFC 3261 section 17.1.1.3)."""
    ack = _same_hop(invite, "ACK")
    ack.headers.set("To", response.headers.get("To") or "")
    return ack


def cancel(invite: Request) -> Request:
    """The CANCEL for a pending INVITE (RFC 3261 section 9.1)."""
    return _same_hop(invite, "CANCEL")


def _same_hop(invite: Request, method: str) -> Request:
    """A request that goes where `invite` went, with its top Via and its CSeq number."""
    request = Request(method, invite.uri)
    headers = request.headers
    headers.add("Via", invite.headers.all("Via")[0])
    headers.add("Max-Forwards", "70")
    for name in ("Route", "From", "To", "Call-ID"):
        for value in invite.headers.all(name):
            headers.add(name, value)
    number = (invite.headers.get("CSeq") or "").split()[0]
    headers.add("CSeq", f"{number} {method}")
    return request
