"""The phone side without sockets: registrar, and both ends of calls with the user's phones."""

from collections.abc import Callable

from relay.agent.phone.call import PhoneCall
from relay.agent.phone.events import IncomingInvite, PhoneEvent, Registered, Unregistered
from relay.agent.phone.gatekeeper import Gatekeeper
from relay.agent.phone.incoming import IncomingCall
from relay.agent.phone.leg import Leg
from relay.agent.phone.outgoing import OutgoingCall
from relay.agent.phone.registrar import Binding, Registrar
from relay.agent.phone.session import offered
from relay.agent.phone.settings import PhoneSettings, is_loopback
from relay.agent.phone.station import ALLOW, KNOWN_METHODS, SDP, Station, with_body
from relay.core import Counters, Entropy, PeerError
from relay.sip.grammar import is_token
from relay.sip.headers import Headers
from relay.sip.message import Message, Request, parse_message, response_to
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow
from relay.sip.transaction_layer import (
    NewRequest,
    ResponseReceived,
    TimedOut,
    TransactionEvent,
    Unacknowledged,
)
from relay.sip.uri import NameAddr, SipUri, escape
from relay.sip.via import CSeq

CLOSED_FOR = "30"
"""Seconds after which a phone may try again, where nobody is served."""


class PhoneUserAgent:
    """Give it datagrams or messages and time; drain `outputs` and `events` after every step.

    Hostile input raises nothing: it is counted.
    """

    def __init__(self, settings: PhoneSettings, entropy: Entropy) -> None:
        """`settings.port` is the real one by now: it stands in Via and Contact."""
        self._settings = settings
        self._station = Station(settings, entropy)
        self._gatekeeper = Gatekeeper(self._station)
        self._registrar = Registrar(settings, self._station.counters)
        self._calls: list[PhoneCall] = []

    @property
    def counters(self) -> Counters:
        return self._station.counters

    @property
    def transaction_counters(self) -> Counters:
        return self._station.transactions.counters

    @property
    def registered(self) -> int:
        """How many phones are registered."""
        return len(self._registrar)

    @property
    def active_calls(self) -> int:
        return sum(not call.ended for call in self._calls)

    def on_wake(self, wake: Callable[[], None]) -> None:
        """`wake` is called when a method of a call, or `place`, made something to send."""
        self._station.wake = wake

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one datagram."""
        try:
            message = parse_message(data, limit=self._settings.message_limit)
        except PeerError as error:
            self.count_malformed(error)
            return
        self.deliver(message, flow, now)

    def count_malformed(self, error: PeerError) -> None:
        """Count what could not be read."""
        name = {"keep-alive": "keep-alives", "oversized": "oversized"}.get(error.reason, "malformed")
        self._station.counters.count(name)

    def deliver(self, message: Message, flow: Flow, now: float) -> None:
        """Take one message that was parsed already."""
        if not is_loopback(flow.host):
            self._station.counters.count("not loopback")
            return
        try:
            for event in self._station.transactions.receive(message, flow, now):
                self._take(event, now)
        except PeerError:
            self._station.counters.count("malformed")
        self._forget_finished()

    def tick(self, now: float) -> None:
        """Let time pass."""
        for event in self._station.transactions.tick(now):
            self._take(event, now)
        for call in list(self._calls):
            call.tick(now)
        before = self._registrar.keys()
        self._registrar.expire(now)
        self._tell_registrations(before)
        self._forget_finished()

    def next_deadline(self) -> float | None:
        """When `tick` next has something to do."""
        due = [self._station.transactions.next_deadline(), self._registrar.deadline]
        due += [call.deadline for call in self._calls]
        return min((at for at in due if at is not None), default=None)

    def outputs(self) -> list[tuple[Flow, bytes]]:
        """What has to be sent now, and where."""
        return self._station.transactions.outputs()

    def events(self) -> list[PhoneEvent]:
        """What happened, in order."""
        events, self._station.events = self._station.events, []
        return events

    def place(self, caller: str, display: str, offer: SessionDescription, now: float) -> PhoneCall | None:
        """Ring the user's phones; None when none is registered, or none can be rung now.

        `caller` becomes the user of From (any text), `display` its display name: what the phone shows.
        """
        if self.active_calls >= self._settings.max_calls:
            return None
        bindings = self._registrar.bindings(now)[: self._settings.max_forks]
        tag, call_id = self._station.new_tag(), self._station.new_tag()
        legs = []
        for binding in bindings:
            request = self._invite(binding, caller, display, tag, call_id)
            with_body(request, offer.to_bytes())
            transaction = self._station.transactions.request(request, binding.flow, now)
            if transaction is not None:
                legs.append(Leg(self._station, transaction))
        if not legs:
            return None
        call = OutgoingCall(self._station, legs, offer, now)
        self._calls.append(call)
        self._station.wake()
        return call

    def flow_lost(self, flow: Flow, now: float) -> None:
        """A TCP connection is gone, or could not be made."""
        before = self._registrar.keys()
        self._registrar.flow_lost(flow)
        self._tell_registrations(before)
        for call in list(self._calls):
            call.move(flow, now)
        for event in self._station.transactions.flow_lost(flow):
            self._take(event, now)
        self._forget_finished()

    def uses(self, flow: Flow) -> bool:
        """Whether a phone or a call is on `flow`; other connections may be closed to make room."""
        return self._registrar.uses(flow) or any(call.uses(flow) for call in self._calls)

    def shut_down(self, now: float) -> None:
        """End every call."""
        for call in list(self._calls):
            call.hang_up(now)

    def _take(self, event: TransactionEvent, now: float) -> None:
        match event:
            case NewRequest():
                self._receive_request(event, now)
            case ResponseReceived(transaction, response):
                for call in list(self._calls):
                    call.respond(transaction, response, now)
            case TimedOut(transaction):
                for call in list(self._calls):
                    call.time_out(transaction, now)
            case Unacknowledged():
                self._station.counters.count("never acknowledged")

    def _receive_request(self, new: NewRequest, now: float) -> None:
        request = new.request
        if request.method == "CANCEL":
            self._cancel(new, now)
            return
        required = request.headers.all("Require")
        if self._settings.closed and request.method != "ACK":
            self._station.refuse(new, 503, Retry_After=CLOSED_FOR)
        elif required and request.method != "ACK":
            # Not one extension is needed by a phone on loopback (section 8.2.2.3).
            names = [name for name in required if is_token(name) and len(name) <= 64][:8]
            self._station.refuse(new, 420, Unsupported=", ".join(names))
        elif request.to.tag is not None:
            self._receive_in_dialog(new, now)
        elif not request.uri.lower().startswith("sip:"):
            self._station.refuse(new, 416)
        else:
            self._receive_outside(new, now)

    def _receive_in_dialog(self, new: NewRequest, now: float) -> None:
        if new.request.method == "ACK" and new.request.to.tag == self._station.steady_tag(new.request):
            return  # for a refusal that was given statelessly, a challenge most often
        for call in self._calls:
            if call.owns(new.request):
                call.receive(new, now)
                return
        self._station.counters.count("unknown dialog")
        self._station.refuse(new, 481)

    def _receive_outside(self, new: NewRequest, now: float) -> None:
        match new.request.method:
            case "REGISTER":
                self._register(new, now)
            case "INVITE":
                self._invited(new, now)
            case "OPTIONS":
                response = response_to(new.request, 200, to_tag=self._station.steady_tag(new.request))
                response.headers.add("Allow", ALLOW)
                response.headers.add("Accept", SDP)
                self._station.transactions.reply(new, response)
            case "BYE" | "INFO" | "ACK":
                self._station.counters.count("unknown dialog")
                self._station.refuse(new, 481)
            case method:
                self._station.refuse(new, 405 if method in KNOWN_METHODS else 501, Allow=ALLOW)

    def _register(self, new: NewRequest, now: float) -> None:
        request = new.request
        refusal = self._gatekeeper.check(new, now)
        if refusal is not None:
            self._station.transactions.reply(new, refusal)
            return
        if request.to.sip_uri.user_text != self._settings.user:
            self._station.refuse(new, 404)
            return
        transaction = self._station.transactions.accept(new)
        if transaction is None:
            self._station.refuse(new, 503, Retry_After="1")
            return
        before = self._registrar.keys()
        response = self._registrar.register(request, new.flow, now, self._station.new_tag())
        self._station.transactions.respond(transaction, response, now)
        self._tell_registrations(before)

    def _invited(self, new: NewRequest, now: float) -> None:
        station = self._station
        refusal = self._gatekeeper.check(new, now)
        if refusal is not None:
            station.transactions.reply(new, refusal)
            return
        if self.active_calls >= self._settings.max_calls:
            station.counters.count("busy")
            station.refuse(new, 486)
            return
        try:
            dialled, offer = SipUri.parse(new.request.uri), offered(new.request)
        except PeerError:
            # An INVITE without an offer (the callee offers) is not taken either: no softphone needs it.
            station.refuse(new, 488, Accept=SDP)
            return
        if len(new.request.contacts) != 1:
            station.refuse(new, 400)
            return
        transaction = station.transactions.accept(new)
        if transaction is None:
            station.refuse(new, 503, Retry_After="1")
            return
        call = IncomingCall(station, transaction, now)
        self._calls.append(call)
        station.emit(IncomingInvite(call, dialled, offer))

    def _cancel(self, new: NewRequest, now: float) -> None:
        """Section 9.2: 200 to the CANCEL itself, whatever becomes of the INVITE."""
        pending = self._station.transactions.pending_invite(new.request)
        transaction = None if pending is None else self._station.transactions.accept(new)
        if transaction is None:
            self._station.refuse(new, 481)
            return
        call = next(
            (one for one in self._calls if isinstance(one, IncomingCall) and one.transaction is pending), None
        )
        tag = self._station.steady_tag(new.request) if call is None else call.tag
        self._station.answer(transaction, 200, now, to_tag=tag)
        if call is not None:
            call.cancel(now)

    def _invite(self, binding: Binding, caller: str, display: str, tag: str, call_id: str) -> Request:
        station, flow = self._station, binding.flow
        origin = NameAddr(display, f"sip:{escape(caller)}@{station.host}", (("tag", tag),))
        target = NameAddr("", f"sip:{escape(self._settings.user)}@{station.host}")
        headers = Headers(
            [
                ("Via", str(station.new_via(flow))),
                ("Max-Forwards", "70"),
                ("From", str(origin)),
                ("To", str(target)),
                ("Call-ID", call_id),
                ("CSeq", str(CSeq(1, "INVITE"))),
                ("Contact", station.contact(flow)),
                ("Allow", ALLOW),
            ]
        )
        return Request("INVITE", binding.uri, headers)

    def _tell_registrations(self, before: frozenset[str]) -> None:
        after = self._registrar.keys()
        if after - before:
            self._station.emit(Registered(self._settings.user, len(after)))
        if before and not after:
            self._station.emit(Unregistered(self._settings.user))

    def _forget_finished(self) -> None:
        self._calls = [call for call in self._calls if not call.finished]
