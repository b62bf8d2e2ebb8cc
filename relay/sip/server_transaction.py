"""Server transactions: RFC 3261 section 17.2 with the Accepted state of RFC 6026 section 7.1.

A machine is given retransmissions, ACKs, responses of the transaction user and time, and drained of bytes.
"""

from relay.core import MisuseError
from relay.sip.message import Request, Response
from relay.sip.transaction import Flow, Timers, TransactionState


class ServerTransaction:
    """One request of the peer until its retransmissions have died out."""

    __slots__ = (
        "_ends_at",
        "_interval",
        "_last",
        "_outbox",
        "_resend_at",
        "_timers",
        "flow",
        "request",
        "state",
    )

    def __init__(self, request: Request, flow: Flow, timers: Timers) -> None:
        """`flow` is where the responses go (section 18.2.2)."""
        self.request = request
        self.flow = flow
        self.state = TransactionState.TRYING
        self._timers = timers
        self._last = b""
        self._outbox: list[bytes] = []
        self._interval = timers.t1
        self._resend_at: float | None = None
        self._ends_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When `tick` next has something to do."""
        due = [at for at in (self._resend_at, self._ends_at) if at is not None]
        return min(due) if due else None

    def drain(self) -> list[bytes]:
        """What has to be sent now."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def receive_again(self) -> None:
        """The request came once more: answer with the last response, if the state says so."""
        if self._last and self.state in (TransactionState.PROCEEDING, TransactionState.COMPLETED):
            self._outbox.append(self._last)

    def respond(self, response: Response, now: float) -> None:
        """Send the transaction user's response; a provisional one after the final one is our own bug."""
        if self.state not in (TransactionState.TRYING, TransactionState.PROCEEDING):
            raise MisuseError("a response after the final response")
        self._last = response.to_bytes()
        self._outbox.append(self._last)
        if response.status < 200:
            self.state = TransactionState.PROCEEDING
        else:
            self._finish(response.status, now)

    def tick(self, now: float) -> bool:
        """True when a final response was never acknowledged (Timer H)."""
        if self._ends_at is not None and now >= self._ends_at:
            unacknowledged = self._awaits_ack()
            self.abandon()
            return unacknowledged
        if self._resend_at is not None and now >= self._resend_at:
            self._outbox.append(self._last)
            self._interval = min(2 * self._interval, self._timers.t2)
            self._resend_at = now + self._interval
        return False

    def _finish(self, status: int, now: float) -> None:
        raise NotImplementedError

    def _awaits_ack(self) -> bool:
        return False

    def abandon(self) -> None:
        """End at once, whatever the state; only what already waits in the outbox is sent."""
        self.state = TransactionState.TERMINATED
        self._resend_at = self._ends_at = None


class InviteServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.1 (figure 7), RFC 6026 section 7.1.

    After a 2xx the transaction only absorbs the INVITE's retransmissions: sending the 2xx again until the ACK
    comes is the dialog owner's work (RFC 3261 section 13.3.1.4).
    """

    __slots__ = ()

    def __init__(self, request: Request, flow: Flow, timers: Timers) -> None:
        super().__init__(request, flow, timers)
        self.state = TransactionState.PROCEEDING

    def receive_ack(self, now: float) -> bool:
        """Take the ACK; True if it is for a 2xx and belongs to the dialog's owner."""
        if self.state is TransactionState.COMPLETED:
            self.state = TransactionState.CONFIRMED
            self._resend_at = None
            self._ends_at = now + self._timers.t4  # Timer I
            if self.flow.reliable:
                self.abandon()
        return self.state is TransactionState.ACCEPTED

    def _finish(self, status: int, now: float) -> None:
        self._ends_at = now + self._timers.transaction  # Timer H or L
        if status < 300:
            self.state = TransactionState.ACCEPTED
            return
        self.state = TransactionState.COMPLETED
        if not self.flow.reliable:
            self._resend_at = now + self._timers.t1  # Timer G

    def _awaits_ack(self) -> bool:
        return self.state is TransactionState.COMPLETED


class NonInviteServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.2 (figure 8)."""

    __slots__ = ()

    def _finish(self, status: int, now: float) -> None:
        self.state = TransactionState.COMPLETED
        self._ends_at = now + self._timers.transaction  # Timer J
        if self.flow.reliable:
            self.abandon()
