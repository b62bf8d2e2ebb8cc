"""The reflector: single-hop relay of voice cells between lines, and an agent's end of such a line.

DESIGN.md section 4; link SRTP per RFC 7714, handshake per the Noise Protocol Framework revision 34, tickets
per RFC 9180.  Must never learn an identity, a name, a key of a call, or whether anyone speaks.
"""

from relay.media_reflector.client import (
    BodyReceived,
    JoinRefused,
    LineClient,
    LineCrossed,
    LineEvent,
    LineLost,
    LineOpened,
)
from relay.media_reflector.control import JOIN_CODE_SIZE
from relay.media_reflector.descriptor import (
    ONION_PORT,
    Descriptor,
    ReflectorReference,
    sign_descriptor,
    verify_descriptor,
)
from relay.media_reflector.fetch import fetch_descriptor, fetch_ticket
from relay.media_reflector.keys import ReflectorKeys
from relay.media_reflector.reflector import DROPS, Occupancy, Reflector
from relay.media_reflector.server import CellServer, TicketServer
from relay.media_reflector.tickets import ANSWER_SIZE, REQUEST_SIZE, Ticket, TicketOffice

__all__ = [
    "ANSWER_SIZE",
    "DROPS",
    "JOIN_CODE_SIZE",
    "ONION_PORT",
    "REQUEST_SIZE",
    "BodyReceived",
    "CellServer",
    "Descriptor",
    "JoinRefused",
    "LineClient",
    "LineCrossed",
    "LineEvent",
    "LineLost",
    "LineOpened",
    "Occupancy",
    "Reflector",
    "ReflectorKeys",
    "ReflectorReference",
    "Ticket",
    "TicketOffice",
    "TicketServer",
    "fetch_descriptor",
    "fetch_ticket",
    "sign_descriptor",
    "verify_descriptor",
]
