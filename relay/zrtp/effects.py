"""What an exchange wants done: the only way in which it acts (RFC 6189 sections 4.3.2, 4.6, 4.7)."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from relay.zrtp.ends import Session
from relay.zrtp.errors import ErrorCode
from relay.zrtp.key_schedule import SrtpMaster
from relay.zrtp.sas import Sas
from relay.zrtp.shared_secrets import Continuity, Role
from relay.zrtp.suites import Suite


@dataclass(frozen=True, slots=True)
class Send:
    """Put this datagram on the path of the voice."""

    datagram: bytes


@dataclass(frozen=True, slots=True)
class Listening:
    """The initiator's: SRTP from the peer may come already, and nothing may be sent yet.

    The first packet that is authentic under this key is worth a Conf2ACK: call `media_arrived`.
    """

    suite: Suite
    receive: SrtpMaster


@dataclass(frozen=True, slots=True)
class Secured:
    """Both ends have the same keys.  Voice may go both ways, as SRTP."""

    role: Role
    suite: Suite
    send: SrtpMaster
    receive: SrtpMaster
    sas: Sas | None
    """None in Multistream mode: the call has one SAS, the first stream's."""
    continuity: Continuity
    verified: bool
    """Our user compared the SAS in some call, and retained secrets lead from there to here."""
    peer_verified: bool
    """The peer says the same of its user."""
    signalled: bool
    """The peer's Hello is the one that its signalling announced."""
    authenticated: bool
    """So it is, and nobody could change that announcement: no one is in the middle, compared or not (8.1.1)."""
    peer_zid: bytes
    session: Session = field(repr=False)
    exported_key: bytes = field(repr=False, default=b"")
    """For other uses than voice (section 4.5.2)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no keys.  The call must not go on in the clear by itself.

    `code` is None where nobody at the other end speaks ZRTP, or the peer's code is none of the RFC's.
    """

    code: ErrorCode | None
    by_peer: bool = False


class AlarmKind(StrEnum):
    """What a user must be told, loudly."""

    CACHE_MISMATCH = "cache_mismatch"
    """The peer does not have the secret of the last call: compare the SAS now (section 4.3.2)."""
    AUXSECRET_MISMATCH = "auxsecret_mismatch"
    OTHER_ZID = "other_zid"
    """This contact had another ZID before (section 12)."""
    HELLO_HASH_MISMATCH = "hello_hash_mismatch"
    """A Hello that is not the one which signalling announced; it was not taken (section 8.1)."""
    TAMPERED = "tampered"
    """A hash or MAC is wrong that the peer cannot have got wrong: somebody is in the middle."""
    DOWNGRADE = "downgrade"
    """Weaker than what this peer is known to do, or no ZRTP at all from one that speaks it."""
    DISCLOSURE = "disclosure"
    """The peer's product says that it may give the keys away (section 11)."""
    MITM_DEVICE = "mitm_device"
    """The peer is a PBX that says of itself that it stands in the middle (section 7.3)."""
    RELAYED_SAS = "relayed_sas"
    """It sent somebody else's SAS to show; that was refused (section 5.13)."""
    GO_CLEAR = "go_clear"
    """The peer asked to go on without encryption; that was refused (section 4.7.2)."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The call may go on or not; another effect says so."""

    kind: AlarmKind


Effect: TypeAlias = Send | Listening | Secured | Failed | Alarm
