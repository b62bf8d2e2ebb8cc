"""A call that a phone placed: our side is the user agent server (RFC 3261 section 13.3)."""

from relay.agent.phone.call import PhoneCall
from relay.agent.phone.events import Cancelled, Reoffered
from relay.agent.phone.session import Session
from relay.agent.phone.station import ALLOW, Station, with_body
from relay.core import MisuseError
from relay.sip.dialog import Dialog, DialogState
from relay.sip.message import Request, Response, response_to
from relay.sip.sdp import SessionDescription
from relay.sip.server_transaction import ServerTransaction
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import NewRequest


class IncomingCall(PhoneCall):
    """From the INVITE of a phone to its end.  100 Trying leaves when the call is made."""

    def __init__(self, station: Station, transaction: ServerTransaction, now: float) -> None:
        """Raises `PeerError` when the INVITE cannot start a dialog."""
        super().__init__(station)
        self._transaction = transaction
        self._dialog = Dialog.as_uas(
            transaction.request, station.new_tag(), local_sequence=1 + station.entropy.below(65536)
        )
        station.transactions.respond(transaction, response_to(transaction.request, 100), now)

    def progress(
        self,
        status: int = 180,
        reason: str | None = None,
        *,
        now: float,
        sdp: SessionDescription | None = None,
    ) -> None:
        if not 101 <= status <= 199:
            raise MisuseError("progress is a status of 101 to 199")
        if self.ended or self.answered:
            return
        response = self._response(status, reason)
        response.headers.add("Contact", self._station.contact(self._transaction.flow))
        if sdp is not None:
            with_body(response, sdp.to_bytes())
        self._station.transactions.respond(self._transaction, response, now)
        self._station.wake()

    def answer(self, sdp: SessionDescription, now: float) -> None:
        if self.ended or self.answered:
            return
        self._dialog.state = DialogState.CONFIRMED
        self._session = Session(self._station, self._dialog, self._transaction.flow, sdp)
        self._session.accept(self._transaction, now)
        self._station.wake()

    def refuse(self, status: int, reason: str | None, now: float) -> None:
        if not 300 <= status <= 699:
            raise MisuseError("a refusal is a status of 300 to 699")
        if not self.ended and not self.answered:
            self._end_unanswered(status, reason, now)
            self._station.wake()

    def hang_up(self, now: float) -> None:
        if self._session is None:
            self.refuse(480, None, now)
        elif not self.ended:
            self.ended = True
            self._session.hang_up(now)
            self._station.wake()

    def cancel(self, now: float) -> None:
        """The phone gave up (section 9.2): 487 to its INVITE.  A CANCEL after the answer has no effect."""
        if not self.ended and not self.answered:
            self._end_unanswered(487, None, now)
            self._station.emit(Cancelled(self))

    @property
    def transaction(self) -> ServerTransaction:
        """The INVITE's, for the CANCEL that finds it."""
        return self._transaction

    @property
    def tag(self) -> str:
        """Our tag in this dialog."""
        return self._dialog.local.tag or ""

    @property
    def finished(self) -> bool:
        return self.ended and (self._session is None or self._session.over)

    @property
    def deadline(self) -> float | None:
        return None if self._session is None else self._session.deadline

    def tick(self, now: float) -> None:
        if self._session is not None:
            self._session.tick(now)
            self._notice_the_end()

    def owns(self, request: Request) -> bool:
        return self._dialog.owns(request)

    def receive(self, new: NewRequest, now: float) -> None:
        if self._session is not None:
            offer = self._session.receive(new, now)
            if offer is not None and not self.ended:
                self._station.emit(Reoffered(self, offer))
            self._notice_the_end()
        elif new.request.method == "BYE" and self._dialog.take(new.request):
            # The caller may leave an early dialog with BYE instead of CANCEL (section 15).
            self._accept_early_bye(new, now)
        else:
            self._station.refuse(new, 491, Allow=ALLOW)

    def move(self, lost: Flow, now: float) -> None:
        if self._session is not None:
            self._session.move(lost, now)
            self._notice_the_end()
        elif self._transaction.flow == lost and not self.ended:
            # The answer has no way back any more (section 18.4).
            self.ended = True
            self._station.emit(Cancelled(self))

    def uses(self, flow: Flow) -> bool:
        return flow == (self._transaction.flow if self._session is None else self._session.flow)

    def _accept_early_bye(self, new: NewRequest, now: float) -> None:
        transaction = self._station.transactions.accept(new)
        if transaction is None:
            self._station.refuse(new, 503, Retry_After="1")
            return
        self._station.answer(transaction, 200, now, to_tag=self._dialog.local.tag or "")
        self.cancel(now)

    def _end_unanswered(self, status: int, reason: str | None, now: float) -> None:
        self.ended = True
        self._dialog.state = DialogState.TERMINATED
        self._station.transactions.respond(self._transaction, self._response(status, reason), now)

    def _response(self, status: int, reason: str | None) -> Response:
        return response_to(self._transaction.request, status, reason, to_tag=self._dialog.local.tag)
