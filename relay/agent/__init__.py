"""The caller's daemon: local SIP for any softphone, Tor for ringing, lines for voice; where identity meets media.

DESIGN.md sections 1, 4 and 6; RFC 3261 towards phones.  Must never learn what is said: voice passes through it sealed.
"""

from relay.agent.accepted import AcceptedReflectors
from relay.agent.agent import Agent
from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.events import JsonReporter, ProseReporter, Reporter
from relay.agent.kept import Kept, PlainFiles
from relay.agent.settings import AgentSettings, ChaffSettings
from relay.agent.state import StateDirectory

__all__ = [
    "AcceptedReflectors",
    "Agent",
    "AgentSettings",
    "ChaffSettings",
    "Contact",
    "ContactBook",
    "JsonReporter",
    "Kept",
    "PlainFiles",
    "ProseReporter",
    "Reporter",
    "StateDirectory",
]
