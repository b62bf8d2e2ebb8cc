"""The reflector: single-hop relay of voice cells between lines, and an agent's end of such a line.

DESIGN.md section 4; link SRTP per RFC 7714, handshake per the Noise Protocol Framework revision 34, tickets
per RFC 9180.  Must never learn an identity, a name, a key of a call, or whether anyone speaks.
"""

from relay.media_reflector.client import LineClient
from relay.media_reflector.control import JOIN_CODE_SIZE
from relay.media_reflector.crossing import TrunkSwitch
from relay.media_reflector.descriptor import (
    ONION_PORT,
    Descriptor,
    ReflectorReference,
    sign_descriptor,
    verify_descriptor,
)
from relay.media_reflector.fetch import fetch_descriptor, fetch_ticket, fetch_trunk_ticket, leave_backup_key
from relay.media_reflector.handouts import BackupSource
from relay.media_reflector.keys import ReflectorKeys
from relay.media_reflector.line_events import (
    BackupReceived,
    BodyReceived,
    Draining,
    JoinRefused,
    LineCrossed,
    LineEvent,
    LineHeard,
    LineLost,
    LineOpened,
    LossCause,
    ResumptionReceived,
)
from relay.media_reflector.lists import (
    ReflectorList,
    format_maker,
    parse_maker,
    read_list,
    sign_list,
    verify_list,
)
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.reflector import DROPS, Occupancy, Reflector
from relay.media_reflector.server import CellServer, TicketServer
from relay.media_reflector.ticket_messages import ANSWER_SIZE, REQUEST_SIZE, ComeAgainLater
from relay.media_reflector.tickets import Ticket, TicketKind

__all__ = [
    "ANSWER_SIZE",
    "DROPS",
    "JOIN_CODE_SIZE",
    "ONION_PORT",
    "REQUEST_SIZE",
    "BackupReceived",
    "BackupSource",
    "BodyReceived",
    "CellServer",
    "ComeAgainLater",
    "Descriptor",
    "Draining",
    "JoinRefused",
    "LineClient",
    "LineCrossed",
    "LineEvent",
    "LineHeard",
    "LineLost",
    "LineOpened",
    "LossCause",
    "Occupancy",
    "Reflector",
    "ReflectorKeys",
    "ReflectorList",
    "ReflectorReference",
    "ResumptionReceived",
    "Ticket",
    "TicketKind",
    "TicketOffice",
    "TicketServer",
    "TrunkSwitch",
    "fetch_descriptor",
    "fetch_ticket",
    "fetch_trunk_ticket",
    "format_maker",
    "leave_backup_key",
    "parse_maker",
    "read_list",
    "sign_descriptor",
    "sign_list",
    "verify_descriptor",
    "verify_list",
]
