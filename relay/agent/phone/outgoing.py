"""A call to the user's phones: our side is the user agent client, forking to several (RFC 3261 section 13.2).

The first phone that answers wins, the others are cancelled; one that answers all the same gets ACK and BYE.
"""

from relay.agent.phone.call import PhoneCall
from relay.agent.phone.events import Answered, Refused, Reoffered, Ringing
from relay.agent.phone.leg import Leg
from relay.agent.phone.session import Session, offered
from relay.agent.phone.station import Station
from relay.core import PeerError
from relay.sip.client_transaction import ClientTransaction
from relay.sip.dialog import Dialog
from relay.sip.message import Request, Response
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import NewRequest


class OutgoingCall(PhoneCall):
    """From our INVITE to the end.  Made with the legs that were sent already."""

    def __init__(self, station: Station, legs: list[Leg], offer: SessionDescription, now: float) -> None:
        super().__init__(station)
        self._legs = legs
        self._offer = offer
        self._told_ringing = False
        self._ring_ends: float | None = now + station.settings.ring_limit

    def hang_up(self, now: float) -> None:
        if self.ended:
            return
        self.ended = True
        if self._session is not None:
            self._session.hang_up(now)
        else:
            self._cancel_all(now)
        self._station.wake()

    @property
    def finished(self) -> bool:
        session_over = self._session is None or self._session.over
        return self.ended and session_over and all(leg.finished for leg in self._legs)

    @property
    def deadline(self) -> float | None:
        due = [leg.deadline for leg in self._legs]
        if self._session is not None:
            due.append(self._session.deadline)
        elif not self.ended:
            due.append(self._ring_ends)
        return min((at for at in due if at is not None), default=None)

    def tick(self, now: float) -> None:
        for leg in self._legs:
            leg.tick(now)
        if self._session is not None:
            self._session.tick(now)
            self._notice_the_end()
        elif not self.ended and self._ring_ends is not None and now >= self._ring_ends:
            self._give_up(408, now)

    def owns(self, request: Request) -> bool:
        return self._session is not None and self._session.dialog.owns(request)

    def receive(self, new: NewRequest, now: float) -> None:
        if self._session is None:
            return
        offer = self._session.receive(new, now)
        if offer is not None and not self.ended:
            self._station.emit(Reoffered(self, offer))
        self._notice_the_end()

    def respond(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        leg = self._leg(transaction)
        if leg is None:
            super().respond(transaction, response, now)
        elif response.status < 200:
            leg.note_provisional(now)
            if response.status > 100 and not self._told_ringing and not self.ended and not self.answered:
                self._told_ringing = True
                self._station.emit(Ringing(self, response.status))
        elif response.status < 300:
            self._accept(leg, response, now)
        else:
            leg.status = response.status
            self._notice_refusal(now)

    def time_out(self, transaction: ClientTransaction, now: float) -> None:
        leg = self._leg(transaction)
        if leg is None:
            super().time_out(transaction, now)
        elif leg.status is None:
            leg.status = 408
            self._notice_refusal(now)

    def move(self, lost: Flow, now: float) -> None:
        if self._session is not None:
            self._session.move(lost, now)
            self._notice_the_end()

    def uses(self, flow: Flow) -> bool:
        if self._session is not None:
            return self._session.flow == flow
        return any(leg.transaction.flow == flow for leg in self._legs)

    def _leg(self, transaction: ClientTransaction) -> Leg | None:
        return next((leg for leg in self._legs if leg.transaction is transaction), None)

    def _accept(self, leg: Leg, response: Response, now: float) -> None:
        """A phone answered: acknowledge it, and keep it or let it go (section 13.2.2.4)."""
        dialog = leg.acknowledge(response)
        if dialog is None:
            return
        try:
            answer = offered(response)
        except PeerError:
            answer = None
        if self.ended or self.answered or answer is None:
            Session(self._station, dialog, leg.transaction.flow, self._offer).hang_up(now)
            leg.status = 488
            self._notice_refusal(now)
            return
        self._keep(leg, dialog, answer, now)

    def _keep(self, leg: Leg, dialog: Dialog, answer: SessionDescription, now: float) -> None:
        leg.status = 200
        self._session = Session(self._station, dialog, leg.transaction.flow, self._offer)
        self._cancel_all(now)
        self._station.emit(Answered(self, answer))

    def _notice_refusal(self, now: float) -> None:
        """All phones said no, or one said no for all of them (6xx, section 16.7 step 5)."""
        if self.ended or self.answered:
            return
        statuses = [leg.status for leg in self._legs if leg.status is not None]
        if len(statuses) == len(self._legs) or max(statuses) >= 600:
            self._give_up(max(statuses) if max(statuses) >= 600 else min(statuses), now)

    def _give_up(self, status: int, now: float) -> None:
        self.ended = True
        self._cancel_all(now)
        self._station.emit(Refused(self, status))

    def _cancel_all(self, now: float) -> None:
        for leg in self._legs:
            leg.cancel(now)
