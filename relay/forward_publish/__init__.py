"""Putting out, ahead of any call, where one can be reached; and the sealed SIP that rings there.

DESIGN.md sections 4 and 5; RFC 9180 (HPKE), RFC 3261 section 23.4 (SIP inside SIP), RFC 5626 (flows).
Must never learn who rings whom (the contact point's half), nor anything of the voice.
"""

from relay.forward_publish.buckets import ANSWER_SIZE, Bucket, RecordRequest, RequestKind
from relay.forward_publish.contact_point import (
    ContactPoint,
    ContactPointLimits,
    RecordOffice,
    RecordStore,
    RecordVisit,
)
from relay.forward_publish.key_schedule import CallKeys, Peer
from relay.forward_publish.prekeys import PREKEY_SIZE, HybridKey, HybridPublicKey, Prekey
from relay.forward_publish.publication import PublicationTimes
from relay.forward_publish.records import (
    PERIOD,
    ContactRecord,
    ReachableAt,
    RecordKeys,
    Role,
    StoredRecord,
    coarse_revision,
    current_period,
    latest_expiry,
    lookup_periods,
    newest_first,
    open_record,
    record_key,
    seal_record,
)
from relay.forward_publish.replay import TIME_WINDOW, ReplayCache
from relay.forward_publish.sealed import (
    MOST_SIP,
    SEALED_SIZE,
    OpenedNote,
    OpenedRing,
    OutgoingRing,
    Reply,
    open_message,
    seal_note,
    seal_ring,
)
from relay.forward_publish.tokens import NONCE_SIZE, TokenBinding, TokenKey, is_token, token_of

__all__ = [
    "ANSWER_SIZE",
    "MOST_SIP",
    "NONCE_SIZE",
    "PERIOD",
    "PREKEY_SIZE",
    "SEALED_SIZE",
    "TIME_WINDOW",
    "Bucket",
    "CallKeys",
    "ContactPoint",
    "ContactPointLimits",
    "ContactRecord",
    "HybridKey",
    "HybridPublicKey",
    "OpenedNote",
    "OpenedRing",
    "OutgoingRing",
    "Peer",
    "Prekey",
    "PublicationTimes",
    "ReachableAt",
    "RecordKeys",
    "RecordOffice",
    "RecordRequest",
    "RecordStore",
    "RecordVisit",
    "ReplayCache",
    "Reply",
    "RequestKind",
    "Role",
    "StoredRecord",
    "TokenBinding",
    "TokenKey",
    "coarse_revision",
    "current_period",
    "is_token",
    "latest_expiry",
    "lookup_periods",
    "newest_first",
    "open_message",
    "open_record",
    "record_key",
    "seal_note",
    "seal_record",
    "seal_ring",
    "token_of",
]
