"""Where the user's phones are (RFC 3261 section 10.3), for a handful of phones of one user."""

from dataclasses import dataclass, replace

from relay.agent.phone.settings import PhoneSettings, is_loopback
from relay.core import Counters, PeerError
from relay.sip.message import Request, Response, response_to
from relay.sip.transaction import Flow
from relay.sip.uri import NameAddr, SipUri

MAX_AT_ONCE = 8
"""Contacts in one REGISTER."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone: what to call it and the flow it is reached on (RFC 5626 section 6)."""

    uri: str
    instance: str | None
    flow: Flow
    call_id: str
    sequence: int
    registered_at: float
    expires_at: float

    @property
    def key(self) -> str:
        """A phone that names its instance replaces itself when it comes back on another port."""
        return self.instance or self.uri


class Registrar:
    """The bindings of the one user.  Whoever calls `register` has checked the credentials."""

    def __init__(self, settings: PhoneSettings, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._bindings: dict[str, Binding] = {}

    def __len__(self) -> int:
        return len(self._bindings)

    def bindings(self, now: float) -> list[Binding]:
        """The phones of this moment, the one heard of last first."""
        alive = [binding for binding in self._bindings.values() if binding.expires_at > now]
        return sorted(alive, key=lambda binding: -binding.registered_at)

    def register(self, request: Request, flow: Flow, now: float, to_tag: str) -> Response:
        """Carry out a REGISTER, wholly or not at all."""
        try:
            values = request.headers.all("Contact")
            if values == ["*"]:
                return self._forget_all(request, now, to_tag)
            wanted = [self._wanted(request, contact, flow, now) for contact in request.contacts]
        except PeerError:
            return response_to(request, 400, to_tag=to_tag)
        if len(wanted) > MAX_AT_ONCE:
            return response_to(request, 403, to_tag=to_tag)
        if any(0 < binding.expires_at - now < self._settings.min_expires for binding in wanted):
            response = response_to(request, 423, to_tag=to_tag)
            response.headers.add("Min-Expires", str(self._settings.min_expires))
            return response
        if any(self._is_out_of_order(binding) for binding in wanted):
            return response_to(request, 500, to_tag=to_tag)
        for binding in wanted:
            self._store(binding, now)
        return self._listing(request, now, to_tag)

    def uses(self, flow: Flow) -> bool:
        """Whether a phone is reached on `flow`."""
        return any(binding.flow == flow for binding in self._bindings.values())

    def keys(self) -> frozenset[str]:
        """Which phones there are, to see what a step changed."""
        return frozenset(self._bindings)

    def expire(self, now: float) -> None:
        """Forget the phones whose time is over."""
        for key in [key for key, binding in self._bindings.items() if binding.expires_at <= now]:
            del self._bindings[key]

    @property
    def deadline(self) -> float | None:
        return min((binding.expires_at for binding in self._bindings.values()), default=None)

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone: its phones are reached at their Contact from now on, or not at all."""
        for key, binding in list(self._bindings.items()):
            if binding.flow == flow:
                other = flow_to(binding.uri)
                if other is None:
                    del self._bindings[key]
                else:
                    self._bindings[key] = replace(binding, flow=other)

    def _wanted(self, request: Request, contact: NameAddr, flow: Flow, now: float) -> Binding:
        return Binding(
            uri=str(contact.sip_uri),
            instance=contact.param("+sip.instance") or None,
            flow=flow,
            call_id=request.call_id,
            sequence=request.cseq.number,
            registered_at=now,
            expires_at=now + self._expires(request, contact),
        )

    def _expires(self, request: Request, contact: NameAddr) -> int:
        text = contact.param("expires")
        if text is None:
            text = request.headers.get("Expires")
        if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
            return self._settings.default_expires
        return min(int(text), self._settings.max_expires)

    def _is_out_of_order(self, binding: Binding) -> bool:
        known = self._bindings.get(binding.key)
        return known is not None and known.call_id == binding.call_id and binding.sequence <= known.sequence

    def _store(self, binding: Binding, now: float) -> None:
        self._bindings.pop(binding.key, None)
        if binding.expires_at <= now:
            return
        while len(self._bindings) >= self._settings.max_contacts:
            # A phone that crashed on another port must not lock its owner out: the oldest makes room.
            oldest = min(self._bindings.values(), key=lambda other: other.registered_at)
            del self._bindings[oldest.key]
            self._counters.count("evicted contacts")
        self._bindings[binding.key] = binding

    def _forget_all(self, request: Request, now: float, to_tag: str) -> Response:
        if request.headers.get("Expires") != "0":
            return response_to(request, 400, to_tag=to_tag)
        self._bindings.clear()
        return self._listing(request, now, to_tag)

    def _listing(self, request: Request, now: float, to_tag: str) -> Response:
        response = response_to(request, 200, to_tag=to_tag)
        for binding in self.bindings(now):
            seconds = max(1, round(binding.expires_at - now))
            response.headers.add("Contact", str(NameAddr("", binding.uri, (("expires", str(seconds)),))))
        return response


def flow_to(uri: str) -> Flow | None:
    """A new TCP connection to a phone's Contact, if that is an address of this machine's loopback."""
    try:
        address = SipUri.parse(uri)
    except PeerError:
        return None
    host = address.host.strip("[]")
    transport = (address.param("transport") or "").lower()
    if transport != "tcp" or not is_loopback(host):
        return None
    return Flow("TCP", host, address.port or 5060)
