"""What the 111 bytes inside the end-to-end encryption hold: chunks of datagrams, then zeros.

A chunk is one byte of kind and flags, one byte of length and its data; a piece of a larger datagram has a
rolling piece number in between, so that a lost cell cannot splice two datagrams together. Every content is
111 bytes, with voice and without.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from relay.core import Counters, MisuseError, PeerError
from relay.rtp.cell import CONTENT_SIZE

_FIRST = 0x80
_LAST = 0x40
_KIND_MASK = 0x0F
_WHOLE_HEADER = 2
_PIECE_HEADER = 3

MAX_VOICE_QUEUED = 2
MAX_VOICE_SIZE = 3 * (CONTENT_SIZE - _PIECE_HEADER)
"""A 60 ms packet of a telephone that ignores our 20 ms fits in three cells; nothing larger is voice."""
STANDING_CELLS = 50
"""Cells in a row after which a frame that still waits is given up."""

MAX_EVENTS_QUEUED = 8
"""Packets of keys pressed that may wait: more of one key say the same, and what ends the call waits behind them."""

MAX_ZRTP_QUEUED = 8
"""Packets of ZRTP that may wait.  Each is said again until it is answered, so one too many is not missed."""

MAX_DATAGRAM = 4096
MAX_QUEUED = 16 * 1024
STALE_AFTER = 2.0
"""Seconds without progress after which a half-received datagram is given up."""


class Kind(IntEnum):
    """What a datagram inside a cell is.  Zero is the filling."""

    VOICE = 1
    CONTROL = 2
    RTCP = 3
    ZRTP = 4
    EVENT = 5
    REKEY = 6
    SIGNATURE = 7


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram as it was offered at the other end."""

    kind: Kind
    data: bytes


class _Outgoing:
    __slots__ = ("data", "kind", "position")

    def __init__(self, kind: Kind, data: bytes) -> None:
        self.kind = kind
        self.data = data
        self.position = 0


class ContentPacker:
    """Queues datagrams and gives exactly one content for every cell, voice first.

    At most two voice frames wait; the oldest is dropped.  A frame that waits behind every cell for a second is one too
    many: one is dropped then, or the call would have that delay for good.  Counters: `voice_dropped`,
    `voice_trimmed`, `voice_oversized`, `events_dropped`, `zrtp_dropped`, `queue_full`.
    """

    def __init__(self) -> None:
        voice = ("voice_dropped", "voice_trimmed", "voice_oversized")
        self.counters = Counters((*voice, "events_dropped", "zrtp_dropped", "queue_full"))
        self._standing = 0
        self._voice: deque[_Outgoing] = deque()
        self._other: deque[_Outgoing] = deque()
        # What new keys are agreed with is long and in no hurry: a BYE overtakes it; and signatures are in none at all.
        self._rekeying: deque[_Outgoing] = deque()
        self._signing: deque[_Outgoing] = deque()
        self._other_size = 0
        self._numbers = dict.fromkeys(Kind, 0)

    def offer_voice(self, data: bytes) -> None:
        """Queue one voice datagram; a larger one than `MAX_VOICE_SIZE`, or an empty one, is counted and
        dropped."""
        if not 0 < len(data) <= MAX_VOICE_SIZE:
            self.counters.count("voice_oversized")
            return
        if len(self._voice) == MAX_VOICE_QUEUED:
            self._voice.popleft()
            self.counters.count("voice_dropped")
        self._voice.append(_Outgoing(Kind.VOICE, data))

    def offer_event(self, data: bytes) -> None:
        """Queue one packet of a key pressed, for the bytes that voice leaves; one too many is counted and dropped."""
        if self._waiting(Kind.EVENT) >= MAX_EVENTS_QUEUED:
            self.counters.count("events_dropped")
        else:
            self.offer(Kind.EVENT, data)

    def offer_zrtp(self, data: bytes) -> None:
        """Queue one packet of ZRTP, which a phone may have made; one too many, or too large, is counted and dropped."""
        if self._waiting(Kind.ZRTP) >= MAX_ZRTP_QUEUED or not 0 < len(data) <= MAX_DATAGRAM:
            self.counters.count("zrtp_dropped")
        else:
            self.offer(Kind.ZRTP, data)

    def _waiting(self, kind: Kind) -> int:
        return sum(item.kind is kind for item in self._other)

    def offer_control(self, data: bytes) -> bool:
        """Queue one control datagram; False (and counted) when the queue is full."""
        return self.offer(Kind.CONTROL, data)

    def offer(self, kind: Kind, data: bytes) -> bool:
        """Queue a datagram of 1 to `MAX_DATAGRAM` bytes of any kind but voice, in order of offering.

        False where it was not taken.  Of those for new keys one waits, and one signature: they are said again until
        they are answered.
        """
        if kind is Kind.VOICE or not 0 < len(data) <= MAX_DATAGRAM:
            raise MisuseError("not a datagram for the spare bytes of a cell")
        if kind in (Kind.REKEY, Kind.SIGNATURE):
            # Not in the queue of the others: beside a phone with large frames it may never leave, and must not keep a
            # BYE out.
            waiting = self._rekeying if kind is Kind.REKEY else self._signing
            if waiting:
                return False
            waiting.append(_Outgoing(kind, data))
            return True
        if self._other_size + len(data) > MAX_QUEUED:
            self.counters.count("queue_full")
            return False
        self._other.append(_Outgoing(kind, data))
        self._other_size += len(data)
        return True

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not (self._voice or self._other or self._rekeying or self._signing)

    def next(self) -> bytes:
        """The content of the next cell: always `CONTENT_SIZE` bytes."""
        content = bytearray()
        while self._voice and self._take(content, self._voice[0], whole_only=bool(content)):
            self._drop_finished(self._voice)
        for waiting in (self._other, self._rekeying, self._signing):
            while waiting and self._take(content, waiting[0], whole_only=False):
                if (size := self._drop_finished(waiting)) is None:
                    break
                self._other_size -= size if waiting is self._other else 0
        self._trim()
        return bytes(content) + bytes(CONTENT_SIZE - len(content))

    def _trim(self) -> None:
        self._standing = self._standing + 1 if self._voice and self._voice[0].position == 0 else 0
        if self._standing == STANDING_CELLS:
            self._voice.popleft()
            self.counters.count("voice_trimmed")
            self._standing = 0

    @staticmethod
    def _drop_finished(queue: deque[_Outgoing]) -> int | None:
        if queue[0].position < len(queue[0].data):
            return None
        return len(queue.popleft().data)

    def _take(self, content: bytearray, item: _Outgoing, *, whole_only: bool) -> bool:
        """Append as much of `item` as fits; False when nothing did."""
        room = CONTENT_SIZE - len(content)
        size = len(item.data)
        if item.position == 0 and size + _WHOLE_HEADER <= room:
            content += bytes((item.kind | _FIRST | _LAST, size)) + item.data
            item.position = size
            return True
        if whole_only or room <= _PIECE_HEADER:
            return False
        piece = item.data[item.position : item.position + room - _PIECE_HEADER]
        flags = (_FIRST if item.position == 0 else 0) | (_LAST if item.position + len(piece) == size else 0)
        number = self._numbers[item.kind]
        self._numbers[item.kind] = (number + 1) & 0xFF
        content += bytes((item.kind | flags, len(piece), number)) + piece
        item.position += len(piece)
        return True


class _Incoming:
    __slots__ = ("data", "deadline", "expected")

    def __init__(self) -> None:
        self.data = bytearray()
        self.expected = -1
        self.deadline = 0.0


class ContentUnpacker:
    """Takes contents in the order of arrival and gives the datagrams that are whole.

    Never raises on what a peer sent.  Counters: `malformed` contents (what stood before the fault counts),
    `incomplete` datagrams given up, `oversized` datagrams.
    """

    def __init__(self) -> None:
        self.counters = Counters(("malformed", "incomplete", "oversized"))
        self._partial = {kind: _Incoming() for kind in Kind}

    def receive(self, content: bytes, now: float) -> list[Datagram]:
        datagrams: list[Datagram] = []
        try:
            self._read(content, now, datagrams)
        except PeerError:
            self.counters.count("malformed")
        return datagrams

    def _read(self, content: bytes, now: float, datagrams: list[Datagram]) -> None:
        position = 0
        while position < len(content) and content[position]:
            head = content[position]
            if head & 0x30 or not 1 <= head & _KIND_MASK <= max(Kind):
                raise PeerError("unknown chunk")
            kind = Kind(head & _KIND_MASK)
            whole = head & (_FIRST | _LAST) == _FIRST | _LAST
            start = position + (_WHOLE_HEADER if whole else _PIECE_HEADER)
            end = start + (content[position + 1] if start <= len(content) else 0)
            if end > len(content) or end == start:
                raise PeerError("truncated")
            piece = content[start:end]
            if whole:
                datagrams.append(Datagram(kind, piece))
            else:
                self._join(kind, head, content[start - 1], piece, now, datagrams)
            position = end
        if any(content[position:]):
            raise PeerError("bad padding")

    def _join(
        self, kind: Kind, head: int, number: int, piece: bytes, now: float, datagrams: list[Datagram]
    ) -> None:
        partial = self._partial[kind]
        if head & _FIRST:
            if partial.data:
                self.counters.count("incomplete")
            partial.data = bytearray(piece)
        elif not partial.data or number != partial.expected or now > partial.deadline:
            if partial.data:
                self.counters.count("incomplete")
            partial.data = bytearray()
            return
        else:
            partial.data += piece
        if len(partial.data) > MAX_DATAGRAM:
            self.counters.count("oversized")
            partial.data = bytearray()
            return
        partial.expected = (number + 1) & 0xFF
        partial.deadline = now + STALE_AFTER
        if head & _LAST:
            datagrams.append(Datagram(kind, bytes(partial.data)))
            partial.data = bytearray()
