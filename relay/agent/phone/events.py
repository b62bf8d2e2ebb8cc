"""What the phone-facing side tells the agent.

A call that the agent itself refused or hung up says nothing more; every other call ends with exactly one of
`Refused`, `Cancelled` and `HungUp`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.sip.sdp import SessionDescription
from relay.sip.uri import SipUri

if TYPE_CHECKING:
    from relay.agent.phone.call import PhoneCall


@dataclass(frozen=True, slots=True)
class Registered:
    """A phone took up the user's registration (refreshes are not told)."""

    user: str
    contacts: int


@dataclass(frozen=True, slots=True)
class Unregistered:
    """The last phone of the user is gone."""

    user: str


@dataclass(frozen=True, slots=True)
class IncomingInvite:
    """A phone dials.  It was authenticated and has been told 100 Trying."""

    call: "PhoneCall"
    dialled: SipUri
    offer: SessionDescription


@dataclass(frozen=True, slots=True)
class Ringing:
    """A phone that we called rings: 180, or another provisional answer above 100.  Told once."""

    call: "PhoneCall"
    status: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A phone that we called was picked up; the ACK is on its way."""

    call: "PhoneCall"
    answer: SessionDescription


@dataclass(frozen=True, slots=True)
class Refused:
    """Every phone that we called said no, or none answered in time (408)."""

    call: "PhoneCall"
    status: int


@dataclass(frozen=True, slots=True)
class Reoffered:
    """A phone offered its session again (hold, resume, a new port) and got ours as it is."""

    call: "PhoneCall"
    offer: SessionDescription


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The phone that dialled gave up before the answer."""

    call: "PhoneCall"


@dataclass(frozen=True, slots=True)
class HungUp:
    """The phone ended an answered call, or vanished from it."""

    call: "PhoneCall"


PhoneEvent = (
    Registered | Unregistered | IncomingInvite | Ringing | Answered | Refused | Reoffered | Cancelled | HungUp
)
