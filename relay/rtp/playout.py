"""The frames of one voice in the order and at the pace of their listener (RFC 3550 section 5.1): a jitter buffer.

Frames stand at their RTP timestamps, a place for every 20 ms.  The listener takes one place each tick; where its frame
is missing, he gets the following one to recover it from, or nothing.
"""

from dataclasses import dataclass

from relay.core import Counters
from relay.rtp.cell import TIMESTAMP_STEP
from relay.rtp.packet import RtpPacket

DEPTH = 2
"""Frames that wait before the first is played: cells come within a tick of their time, and whoever wants to recover a
lost frame needs the one after it."""
MOST = 6
"""Frames that may wait; the oldest goes then, or the call would have that delay for good."""
GIVE_UP = 50
"""Places in a row without a frame after which the voice is over until the next frame."""
_HALF_PLACE = TIMESTAMP_STEP // 2
_HALF = 1 << 31
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Place:
    """20 ms to be played: a `frame`; else one that came after it, or (both None) nothing."""

    frame: bytes | None
    following: bytes | None = None


class Playout:
    """One voice.  Counters: `late`, `skipped`, `recovered` (or tried to), `missing`."""

    def __init__(self) -> None:
        self.counters = Counters(("late", "skipped", "recovered", "missing"))
        self._frames: dict[int, bytes] = {}
        self._next = 0
        self._speaking = False
        self._filling = True
        self._empty = 0

    def put(self, packet: RtpPacket) -> None:
        """A frame came.  Where timestamps jump it begins a new voice; one that is late, with nothing behind it, moves
        the pace: its clock is slower than the listener's."""
        ahead = _distance(self._next, packet.timestamp)
        if abs(ahead) > TIMESTAMP_STEP * GIVE_UP or (self._filling and not self._frames):
            self._begin(packet.timestamp)
        elif ahead < -_HALF_PLACE:
            if not self._filling and self._frames:
                self.counters.count("late")
                return
            self._next, self._filling = packet.timestamp, True
        self._frames[packet.timestamp] = packet.payload
        while len(self._frames) > MOST:
            self.pass_over()
            self.counters.count("skipped")
        if len(self._frames) >= DEPTH:
            self._speaking, self._filling = True, False

    def take(self) -> Place | None:
        """What is to be played now; None as long as nobody speaks."""
        if not self._speaking:
            return None
        frame = None if self._filling else self.pass_over()
        if frame is not None:
            self._empty = 0
            return Place(frame)
        self._empty += 1
        if self._empty >= GIVE_UP:
            self._frames.clear()
            self._speaking, self._filling, self._empty = False, True, 0
            return None
        following = None if self._filling else self._frames.get(self._near(self._next))
        self.counters.count("missing" if following is None else "recovered")
        return Place(None, following)

    def pass_over(self) -> bytes | None:
        """Go on by one place, whose frame, if there is one, is returned: its time is up."""
        place = self._next
        self._next = (place + TIMESTAMP_STEP) & _MASK
        frame = self._frames.pop(self._near(place), None)
        for old in [timestamp for timestamp in self._frames if _distance(place, timestamp) < -_HALF_PLACE]:
            del self._frames[old]
        return frame

    def _begin(self, timestamp: int) -> None:
        self._frames.clear()
        self._next, self._filling = timestamp, True

    def _near(self, place: int) -> int:
        """The timestamp of the frame that stands at `place`, or near it; -1 where there is none."""
        return next((at for at in self._frames if -_HALF_PLACE <= _distance(place, at) < _HALF_PLACE), -1)


def _distance(origin: int, timestamp: int) -> int:
    """How far `timestamp` lies ahead, modulo 2^32."""
    return ((timestamp - origin + _HALF) & _MASK) - _HALF
