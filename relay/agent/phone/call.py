"""What the agent holds of one call with a phone, whichever side dialled."""

from abc import ABC, abstractmethod

from relay.agent.phone.events import HungUp
from relay.agent.phone.session import Session
from relay.agent.phone.station import Station
from relay.core import MisuseError
from relay.sip.client_transaction import ClientTransaction
from relay.sip.message import Request, Response
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import NewRequest


class PhoneCall(ABC):
    """One call, seen from the agent.

    `ended` is True when nothing the agent says can reach the phone any more; every method does nothing then,
    so that a hang-up of both sides at the same moment is no error.
    """

    def __init__(self, station: Station) -> None:
        self.ended = False
        self._station = station
        self._session: Session | None = None

    @property
    def answered(self) -> bool:
        """Whether a 2xx went either way."""
        return self._session is not None

    def progress(
        self,
        status: int = 180,
        reason: str | None = None,
        *,
        now: float,
        sdp: SessionDescription | None = None,
    ) -> None:
        """Tell the phone that dialled how things stand: 101..199, any reason phrase ("Ring sent").

        `sdp` makes it early media (RFC 3960): the phone then plays what comes in place of its own tone.
        """
        raise MisuseError("progress is for calls that a phone placed")

    def answer(self, sdp: SessionDescription, now: float) -> None:
        """Answer the phone that dialled."""
        raise MisuseError("only calls that a phone placed can be answered")

    def refuse(self, status: int, reason: str | None, now: float) -> None:
        """Refuse the phone that dialled: 300..699, any reason phrase."""
        raise MisuseError("only calls that a phone placed can be refused")

    def probe(self, now: float) -> None:
        """Ask the phone whether it is still there; one that does not answer, or knows of no call, has hung up."""
        if self._session is not None and not self.ended:
            self._session.ask(now)
            self._station.wake()

    @abstractmethod
    def hang_up(self, now: float) -> None:
        """End the call, however far it is: CANCEL, refusal or BYE, chosen by its state."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the user agent may forget the call: it ended and nothing of it is still on its way."""

    @property
    @abstractmethod
    def deadline(self) -> float | None:
        """When `tick` next has something to do."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Let time pass."""

    @abstractmethod
    def owns(self, request: Request) -> bool:
        """Whether a request with a To tag belongs to this call."""

    @abstractmethod
    def receive(self, new: NewRequest, now: float) -> None:
        """Take a request within the call's dialog."""

    def respond(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take an answer to a request of ours, which need not be of this call."""
        self._hear(transaction, response.status)

    def time_out(self, transaction: ClientTransaction, now: float) -> None:
        """A request of ours, which need not be of this call, got no answer."""
        self._hear(transaction, 408)

    @abstractmethod
    def move(self, lost: Flow, now: float) -> None:
        """The connection of `lost` is gone."""

    @abstractmethod
    def uses(self, flow: Flow) -> bool:
        """Whether something of this call travels on `flow`."""

    def _hear(self, transaction: ClientTransaction, status: int) -> None:
        if self._session is not None:
            self._session.hear(transaction, status)
            self._notice_the_end()

    def _notice_the_end(self) -> None:
        """Tell, once, that the phone ended the call."""
        if self._session is not None and self._session.over and not self.ended:
            self.ended = True
            self._station.emit(HungUp(self))
