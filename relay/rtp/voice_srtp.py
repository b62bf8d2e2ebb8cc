"""SRTP with AES-128 in counter mode and HMAC-SHA1 (RFC 3711), by libsrtp: the voice between two ends of ZRTP.

Where a packet does not pass, None comes back and is counted.  One object for one direction; never in two threads.
"""

from enum import StrEnum

from pylibsrtp import Error, Policy, Session

from relay.core import Counters, MisuseError

MASTER_KEY_SIZE = 16
MASTER_SALT_SIZE = 14
MOST_SOURCES = 8
"""SSRCs in one direction of a call: a phone may take another one when it is put on hold, and not for ever."""
_RTP_HEADER = 12


class SrtpTag(StrEnum):
    """How long the tag is, by its bits, as RFC 6189 section 5.1.4 names it."""

    HS80 = "HS80"
    HS32 = "HS32"


_PROFILES = {
    SrtpTag.HS80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpTag.HS32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}


class _Direction:
    def __init__(self, key: bytes, salt: bytes, tag: SrtpTag, ssrc_type: int) -> None:
        if (len(key), len(salt)) != (MASTER_KEY_SIZE, MASTER_SALT_SIZE):
            raise MisuseError(
                "AES-128 in counter mode takes a master key of 16 bytes and a master salt of 14"
            )
        self.counters = Counters(("passed", "dropped", "other_source"))
        policy = Policy(key=key + salt, ssrc_type=ssrc_type, srtp_profile=_PROFILES[tag])
        self._session: Session | None = Session(policy)

    def forget(self) -> None:
        """Drop the keys; nothing passes any more."""
        self._session = None


class SrtpSender(_Direction):
    """What we say."""

    def __init__(self, key: bytes, salt: bytes, tag: SrtpTag) -> None:
        super().__init__(key, salt, tag, Policy.SSRC_ANY_OUTBOUND)

    def protect(self, packet: bytes) -> bytes | None:
        """The SRTP packet for an RTP packet; None for a number that was used before, or that is too old."""
        try:
            if self._session is not None and len(packet) >= _RTP_HEADER:
                sealed: bytes = self._session.protect(packet)
                self.counters.count("passed")
                return sealed
        except (Error, ValueError):
            # ValueError: a packet larger than libsrtp takes.
            pass
        self.counters.count("dropped")
        return None


class SrtpReceiver(_Direction):
    """What we hear."""

    def __init__(self, key: bytes, salt: bytes, tag: SrtpTag) -> None:
        super().__init__(key, salt, tag, Policy.SSRC_ANY_INBOUND)
        self._sources: set[bytes] = set()

    def unprotect(self, packet: bytes) -> bytes | None:
        """The RTP packet in an SRTP packet; None where it is not authentic, was there before, or is too old."""
        source = packet[8:12]
        if source not in self._sources and len(self._sources) >= MOST_SOURCES:
            self.counters.count("other_source")
            return None
        try:
            if self._session is not None and len(packet) > _RTP_HEADER:
                opened: bytes = self._session.unprotect(packet)
                self._sources.add(source)
                self.counters.count("passed")
                return opened
        except (Error, ValueError):
            pass
        self.counters.count("dropped")
        return None
