"""What a caller's own softphone sees: a registrar and a user agent, on loopback alone.

RFC 3261 (sections 8 to 17, 22), 3581, 5626 (flows, keep-alive), 6026, 8760: what one user's phones need.
Must never learn: who the contacts are, what a line or a cell is, anything that comes from the network.
"""

from relay.agent.phone.call import PhoneCall
from relay.agent.phone.events import (
    Answered,
    Cancelled,
    HungUp,
    IncomingInvite,
    PhoneEvent,
    Refused,
    Registered,
    Reoffered,
    Ringing,
    Unregistered,
)
from relay.agent.phone.server import PhoneServer
from relay.agent.phone.settings import PhoneSettings, is_loopback
from relay.agent.phone.user_agent import PhoneUserAgent

__all__ = [
    "Answered",
    "Cancelled",
    "HungUp",
    "IncomingInvite",
    "PhoneCall",
    "PhoneEvent",
    "PhoneServer",
    "PhoneSettings",
    "PhoneUserAgent",
    "Refused",
    "Registered",
    "Reoffered",
    "Ringing",
    "Unregistered",
    "is_loopback",
]
