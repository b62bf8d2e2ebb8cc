"""SIP without sockets: messages, streams of messages, digest, session descriptions, transactions, dialogs.

RFC 3261 (sections 7, 8.2.6, 12, 17, 18.3, 19, 20, 25), 8866, 3264, 7616, 8760, 5626 (keep-alive).
Must never learn: keys of the identity, where a contact is, what the voice says.
"""

from relay.sip.digest import Authenticator, Challenge, Credentials, Outcome, Verdict
from relay.sip.headers import Headers
from relay.sip.message import MAX_MESSAGE, Message, Request, Response, parse_message, response_to
from relay.sip.reasons import REASONS
from relay.sip.sdp import SessionDescription
from relay.sip.stream import MessageStream
from relay.sip.uri import NameAddr, SipUri
from relay.sip.via import MAGIC_COOKIE, CSeq, Via

__all__ = [
    "MAGIC_COOKIE",
    "MAX_MESSAGE",
    "REASONS",
    "Authenticator",
    "CSeq",
    "Challenge",
    "Credentials",
    "Headers",
    "Message",
    "MessageStream",
    "NameAddr",
    "Outcome",
    "Request",
    "Response",
    "SessionDescription",
    "SipUri",
    "Verdict",
    "Via",
    "parse_message",
    "response_to",
]
