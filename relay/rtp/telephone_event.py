"""Keys pressed during a call (RFC 4733 section 2.3): four bytes, of which only what was pressed and how long goes on.

In cells durations are in eighths of a millisecond (a clock of 8 kHz), whatever the phone's own clock.
"""

import struct
from dataclasses import dataclass

from relay.core import PeerError

EVENT_CLOCK = 8_000
LAST_EVENT = 15
"""0 to 9, *, #, A to D; flash and tones of the network end here."""
EVENT_SIZE = 4
_FORM = struct.Struct("!BBH")
_END = 0x80
_VOLUME = 10
"""-10 dBm0 for every key: how loud a phone says it is tells which phone it is."""
_SECTION = "RFC 4733 section 2.3"


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """A key, how long it was held so far (steps of `EVENT_CLOCK`), whether it was let go."""

    event: int
    duration: int
    end: bool = False

    @classmethod
    def parse(cls, payload: bytes, clock: int = EVENT_CLOCK) -> "TelephoneEvent":
        """Read one whose durations count `clock` steps a second.  Raises `PeerError`."""
        if len(payload) < EVENT_SIZE:
            raise PeerError("truncated", _SECTION)
        event, flags, duration = _FORM.unpack_from(payload)
        if event > LAST_EVENT:
            raise PeerError("not a key", _SECTION)
        return cls(event, min(0xFFFF, duration * EVENT_CLOCK // clock), bool(flags & _END))

    def to_bytes(self, clock: int = EVENT_CLOCK) -> bytes:
        """For whoever counts `clock` steps a second; a duration that does not fit is the longest that does."""
        duration = min(0xFFFF, self.duration * clock // EVENT_CLOCK)
        return _FORM.pack(self.event, (_END if self.end else 0) | _VOLUME, duration)
