"""An answered call with one phone: its confirmed dialog, the 2xx until its ACK, re-INVITEs, BYE."""

from dataclasses import dataclass, replace

from relay.agent.phone.registrar import flow_to
from relay.agent.phone.station import KNOWN_METHODS, SDP, Station, with_body
from relay.core import PeerError
from relay.sip.client_transaction import ClientTransaction
from relay.sip.dialog import Dialog, DialogState
from relay.sip.message import Request, Response, response_to
from relay.sip.sdp import DIRECTIONS, Attribute, Media, SessionDescription, answer_to, reverse_direction
from relay.sip.server_transaction import ServerTransaction
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import NewRequest


@dataclass(slots=True)
class _Unacknowledged:
    """A 2xx of ours that is sent again until its ACK comes (RFC 3261 section 13.3.1.4)."""

    number: int
    data: bytes
    resend_at: float
    interval: float
    gives_up_at: float


class Session:
    """One end of one answered call.  `over` is True once either side has said BYE, or the ACK never came."""

    def __init__(self, station: Station, dialog: Dialog, flow: Flow, local: SessionDescription) -> None:
        self.over = False
        self.dialog = dialog
        self.flow = flow
        self._station = station
        self._local = local
        self._unacknowledged: _Unacknowledged | None = None
        self._bye_waits = False
        self._question: ClientTransaction | None = None

    def accept(self, transaction: ServerTransaction, now: float) -> None:
        """Answer an INVITE with 200 and our session description; sent again until the ACK, also over TCP."""
        station = self._station
        response = response_to(transaction.request, 200, to_tag=self.dialog.local.tag)
        response.headers.add("Contact", station.contact(self.flow))
        with_body(response, self._local.to_bytes())
        data = response.to_bytes()
        station.transactions.respond(transaction, response, now)
        timers = station.settings.timers
        self._unacknowledged = _Unacknowledged(
            transaction.request.cseq.number, data, now + timers.t1, timers.t1, now + timers.transaction
        )

    def hang_up(self, now: float) -> None:
        """Say BYE; before the ACK of our 2xx it has to wait for that (section 15)."""
        if self.over:
            return
        if self._unacknowledged is not None:
            self._bye_waits = True
            return
        self.over = True
        self.dialog.state = DialogState.TERMINATED
        bye = self.dialog.request("BYE", self._station.new_via(self.flow))
        self._station.transactions.request(bye, self.flow, now)

    @property
    def deadline(self) -> float | None:
        waits = self._unacknowledged
        return None if waits is None or self.over else min(waits.resend_at, waits.gives_up_at)

    def tick(self, now: float) -> None:
        """Send the 2xx again, or give the phone up."""
        waits = self._unacknowledged
        if waits is None or self.over:
            return
        if now >= waits.gives_up_at:
            self._station.counters.count("never acknowledged")
            self._unacknowledged = None
            self.hang_up(now)
        elif now >= waits.resend_at:
            self._station.transactions.send(self.flow, waits.data)
            waits.interval = min(2 * waits.interval, self._station.settings.timers.t2)
            waits.resend_at = now + waits.interval

    def receive_ack(self, request: Request, now: float) -> None:
        """The phone has our 2xx."""
        if self._unacknowledged is not None and request.cseq.number == self._unacknowledged.number:
            self._unacknowledged = None
            if self._bye_waits:
                self.hang_up(now)

    def receive(self, new: NewRequest, now: float) -> SessionDescription | None:
        """Answer a request within the dialog; returns what the phone offered in a re-INVITE."""
        request, station = new.request, self._station
        if request.method == "ACK":
            self.receive_ack(request, now)
            return None
        if not self.dialog.take(request):
            station.refuse(new, 500, Retry_After="1")
            return None
        transaction = station.transactions.accept(new)
        if transaction is None:
            station.refuse(new, 503, Retry_After="1")
            return None
        return self._perform(transaction, now)

    def _perform(self, transaction: ServerTransaction, now: float) -> SessionDescription | None:
        tag = self.dialog.local.tag or ""
        method = transaction.request.method
        match method:
            case "BYE":
                self.over = True
                self.dialog.state = DialogState.TERMINATED
                self._station.answer(transaction, 200, now, to_tag=tag)
            case "INVITE":
                return self._renew(transaction, now)
            case "INFO" | "OPTIONS":
                # INFO carries keys pressed and the like: taken note of by nobody.
                self._station.answer(transaction, 200, now, to_tag=tag, allow=method == "OPTIONS")
            case _:
                status = 405 if method in KNOWN_METHODS or method == "REGISTER" else 501
                self._station.answer(transaction, status, now, to_tag=tag, allow=True)
        return None

    def _renew(self, transaction: ServerTransaction, now: float) -> SessionDescription | None:
        """A re-INVITE is answered with the session as it is: codecs and ports never change."""
        request = transaction.request
        tag = self.dialog.local.tag or ""
        if self._unacknowledged is not None:
            self._station.answer(transaction, 491, now, to_tag=tag)
            return None
        offer = None
        if request.body:
            try:
                offer = offered(request)
                self._local = mirror(self._local, offer)
            except PeerError:
                self._station.answer(transaction, 488, now, to_tag=tag)
                return None
        self.dialog.refresh_target(request)
        self.accept(transaction, now)
        return offer

    def move(self, lost: Flow, now: float) -> None:
        """A connection is gone: go on over a new one to the phone's Contact; without any the call is over.

        A question over the new one shows whether the phone is still there, or died with its connection.
        """
        if self.flow != lost or self.over:
            return
        other = flow_to(self.dialog.remote_target)
        if other is None or other == lost:
            self.over = True
            return
        self.flow = other
        question = self.dialog.request("OPTIONS", self._station.new_via(other))
        self._question = self._station.transactions.request(question, other, now)

    def ask(self, now: float) -> None:
        """Ask whether the phone is still there (OPTIONS in the dialog); one question at a time."""
        if self.over or self._question is not None:
            return
        question = self.dialog.request("OPTIONS", self._station.new_via(self.flow))
        self._question = self._station.transactions.request(question, self.flow, now)

    def hear(self, transaction: ClientTransaction, status: int) -> None:
        """The end of a request of ours: 408 (no answer) and 481 end the dialog (section 12.2.1.2)."""
        if transaction is self._question:
            self._question = None
            self.over = self.over or status in (408, 481)


def mirror(local: SessionDescription, offer: SessionDescription) -> SessionDescription:
    """Our session once more as the answer to a new offer: the direction may change (RFC 3264 section 8.4), and what the
    phone no longer offers is left out.

    Raises `PeerError` when the offer drops what the call consists of.
    """
    accepted: dict[int, Media] = {}
    for index, (ours, theirs) in enumerate(zip(local.media, offer.media, strict=False)):
        if ours.port and theirs.port and (ours.kind, ours.protocol) == (theirs.kind, theirs.protocol):
            direction = reverse_direction(offer.direction_of(theirs))
            formats = tuple(one for one in ours.formats if one in theirs.formats)
            kept = tuple(pair for pair in ours.attributes if _stays(pair, formats))
            if formats:
                accepted[index] = replace(ours, formats=formats, attributes=(*kept, (direction, None)))
    if not accepted or local.connection is None:
        raise PeerError("session dropped", "RFC 3264 section 8")
    version = str(int(local.origin.session_version) + 1)
    return answer_to(offer, accepted, replace(local.origin, session_version=version), local.connection)


def _stays(attribute: Attribute, formats: tuple[str, ...]) -> bool:
    name, value = attribute
    if name in ("rtpmap", "fmtp"):
        return (value or "").partition(" ")[0] in formats
    return name not in DIRECTIONS


def offered(message: Request | Response) -> SessionDescription:
    """The session description in an INVITE or its answer.  Raises `PeerError` when there is none to read."""
    if message.content_type != SDP or message.headers.get("Content-Encoding") not in (None, "identity"):
        raise PeerError("no session description", "RFC 3261 section 13.3.1.1")
    return SessionDescription.parse(message.body)
