"""The caller's daemon: local SIP for any softphone, Tor for ringing, lines for voice; where identity meets media.

DESIGN.md sections 1, 4 and 6; RFC 3261 towards phones.  Must never learn what is said: voice passes through it sealed.
"""

from relay.agent.accepted import AcceptedReflectors
from relay.agent.agent import Agent
from relay.agent.contacts import Contact, ContactBook
from relay.agent.events import JsonReporter, ProseReporter, Reporter
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
    "ProseReporter",
    "Reporter",
    "StateDirectory",
]
