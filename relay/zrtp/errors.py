"""What goes wrong in ZRTP, as the codes of RFC 6189 section 5.9, and how this package says so."""

from enum import IntEnum

from relay.core import PeerError


class ErrorCode(IntEnum):
    """RFC 6189 section 5.9, table 8."""

    MALFORMED = 0x10
    SOFTWARE = 0x20
    VERSION = 0x30
    HELLO_MISMATCH = 0x40
    HASH = 0x51
    CIPHER = 0x52
    KEY_AGREEMENT = 0x53
    AUTH_TAG = 0x54
    SAS = 0x55
    NO_SHARED_SECRET = 0x56
    BAD_PUBLIC_VALUE = 0x61
    WRONG_HVI = 0x62
    UNTRUSTED_RELAY = 0x63
    BAD_CONFIRM_MAC = 0x70
    NONCE_REUSE = 0x80
    EQUAL_ZIDS = 0x90
    SSRC_COLLISION = 0x91
    UNAVAILABLE = 0xA0
    TIMEOUT = 0xB0
    GO_CLEAR_NOT_ALLOWED = 0x100


class ZrtpError(PeerError):
    """The peer, or somebody in its place, broke a rule of RFC 6189; `code` is what an Error message would say.

    `attack` is True where no accident explains it: a hash or MAC that the right sender cannot have got wrong
    (sections 4.4.1.2, 8.1.1); `downgrade` where the peer is known to have done better before.
    """

    def __init__(
        self, code: ErrorCode, reason: str, section: str, *, attack: bool = False, downgrade: bool = False
    ) -> None:
        super().__init__(reason, f"RFC 6189 section {section}")
        self.code = code
        self.attack = attack
        self.downgrade = downgrade


def malformed(reason: str, section: str) -> ZrtpError:
    """A structure that no version of the message has."""
    return ZrtpError(ErrorCode.MALFORMED, reason, section)
