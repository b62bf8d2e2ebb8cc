"""ZRTP, sans-IO: two ends agree on keys for voice, on the path of the voice, and two people can hear that they did.

RFC 6189 but for signatures (7.2) and PBX enrolment (7.3), both of which are refused.  Must never learn who calls whom:
a peer is a ZID and what a cache holds under it.
"""

from relay.zrtp.effects import Alarm, AlarmKind, Effect, Failed, Listening, Secured, Send
from relay.zrtp.ends import Session
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.exchange import Exchange, Phase
from relay.zrtp.hello import HelloHashes, is_newer_hello
from relay.zrtp.key_schedule import SrtpMaster
from relay.zrtp.messages import MessageType, passing
from relay.zrtp.packet import looks_like_zrtp
from relay.zrtp.retained import MemoryZidCache, Retained, Strength, ZidCache
from relay.zrtp.sas import Sas
from relay.zrtp.settings import EVERYTHING, Expectation, Schedule, Settings
from relay.zrtp.shared_secrets import Continuity, Role
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, Offer, SasType, Suite

__all__ = [
    "EVERYTHING",
    "Alarm",
    "AlarmKind",
    "AuthTagType",
    "CipherType",
    "Continuity",
    "Effect",
    "ErrorCode",
    "Exchange",
    "Expectation",
    "Failed",
    "HashType",
    "HelloHashes",
    "KeyAgreementType",
    "Listening",
    "MemoryZidCache",
    "MessageType",
    "Offer",
    "Phase",
    "Retained",
    "Role",
    "Sas",
    "SasType",
    "Schedule",
    "Secured",
    "Send",
    "Session",
    "Settings",
    "SrtpMaster",
    "Strength",
    "Suite",
    "ZidCache",
    "ZrtpError",
    "is_newer_hello",
    "looks_like_zrtp",
    "passing",
]
