"""Dialogs (RFC 3261 section 12): what two user agents have in common between INVITE and BYE."""

from dataclasses import dataclass
from enum import Enum, auto

from relay.core import PeerError
from relay.sip.headers import Headers
from relay.sip.message import Request, Response
from relay.sip.uri import NameAddr, SipUri
from relay.sip.via import CSeq, Via

MAX_ROUTES = 8
"""The longest route set that is taken over; a phone on loopback has none."""


class DialogState(Enum):
    """EARLY until a 2xx, then CONFIRMED, TERMINATED by a BYE."""

    EARLY = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


@dataclass(slots=True)
class Dialog:
    """One end of a dialog.  `local` and `remote` carry their tags; a remote end without one has none."""

    call_id: str
    local: NameAddr
    remote: NameAddr
    local_sequence: int
    remote_sequence: int | None
    remote_target: str
    route_set: tuple[str, ...] = ()
    state: DialogState = DialogState.EARLY

    @classmethod
    def as_uas(cls, request: Request, local_tag: str, local_sequence: int = 0) -> "Dialog":
        """The callee's end (section 12.1.1).  Raises `PeerError` for an INVITE without Contact."""
        contacts = request.contacts
        if len(contacts) != 1:
            raise PeerError("Contact missing", "RFC 3261 section 8.1.1.8")
        return cls(
            call_id=request.call_id,
            local=_without_header_parameters(request.to, local_tag),
            remote=_without_header_parameters(request.from_, request.from_.tag),
            local_sequence=local_sequence,
            remote_sequence=request.cseq.number,
            remote_target=contacts[0].uri,
            route_set=_routes(request.headers),
        )

    @classmethod
    def as_uac(cls, request: Request, response: Response) -> "Dialog":
        """The caller's end, from its INVITE and a 101..299 answer to it (section 12.1.2)."""
        contacts = response.contacts
        return cls(
            call_id=request.call_id,
            local=_without_header_parameters(request.from_, request.from_.tag),
            remote=_without_header_parameters(response.to, response.to.tag),
            local_sequence=request.cseq.number,
            remote_sequence=None,
            # A 2xx must have a Contact; where one has not, the INVITE's own target is the best guess.
            remote_target=contacts[0].uri if contacts else request.uri,
            route_set=tuple(reversed(_routes(response.headers))),
            state=DialogState.CONFIRMED if response.status >= 200 else DialogState.EARLY,
        )

    def owns(self, request: Request) -> bool:
        """Whether a request of the peer belongs to this dialog (section 12.2.2)."""
        return (
            request.call_id == self.call_id
            and request.to.tag == self.local.tag
            and request.from_.tag == self.remote.tag
        )

    def take(self, request: Request) -> bool:
        """Note the sequence number of a request of the peer; False, nothing noted, when it is out of order.

        Equal numbers never come here but in ACK and CANCEL: retransmissions end in the transaction layer.
        """
        number = request.cseq.number
        if self.remote_sequence is not None and number <= self.remote_sequence:
            return False
        self.remote_sequence = number
        return True

    def refresh_target(self, message: Request | Response) -> None:
        """A re-INVITE or its answer moves the remote target (sections 12.2.1.2 and 12.2.2)."""
        contacts = message.contacts
        if contacts:
            self.remote_target = contacts[0].uri

    def request(self, method: str, via: Via) -> Request:
        """The next request within the dialog (section 12.2.1.1)."""
        self.local_sequence += 1
        return self._build(method, via, self.local_sequence)

    def ack(self, invite: Request, via: Via) -> Request:
        """The ACK for a 2xx to `invite` (section 13.2.2.4): a new branch, the INVITE's number."""
        return self._build("ACK", via, invite.cseq.number)

    def _build(self, method: str, via: Via, number: int) -> Request:
        uri, routes = self._next_hop()
        headers = Headers()
        headers.add("Via", str(via))
        headers.add("Max-Forwards", "70")
        for route in routes:
            headers.add("Route", route)
        headers.add("From", str(self.local))
        headers.add("To", str(self.remote))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", str(CSeq(number, method)))
        return Request(method, uri, headers)

    def _next_hop(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values: loose routing, or strict routing where the first has no `lr`."""
        if not self.route_set:
            return self.remote_target, ()
        first = NameAddr.parse(self.route_set[0]).uri
        if SipUri.parse(first).param("lr") is not None:
            return self.remote_target, self.route_set
        return first, (*self.route_set[1:], f"<{self.remote_target}>")


def _without_header_parameters(name: NameAddr, tag: str | None) -> NameAddr:
    return NameAddr(name.display_name, name.uri, () if tag is None else (("tag", tag),))


def _routes(headers: Headers) -> tuple[str, ...]:
    routes = tuple(headers.all("Record-Route"))
    if len(routes) > MAX_ROUTES:
        raise PeerError("too many routes", "RFC 3261 section 12.1.1")
    for route in routes:
        SipUri.parse(NameAddr.parse(route).uri)
    return routes
