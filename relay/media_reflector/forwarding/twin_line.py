"""What the plain data plane keeps of a line: what opens its cells, what seals them, and what waits for its slot.

The formulas are those of `relay.rtp.srtp` and `relay.rtp.replay`, without their calls from one function to the next,
which would cost more than the cryptography; tests hold the two to one another, and to libsrtp.
"""

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import MisuseError
from relay.media_reflector.forwarding.face import Address, DownKeys, UpKeys
from relay.rtp.cell import RTP_HEADER_SIZE, TIMESTAMP_STEP
from relay.rtp.replay import WINDOW_SIZE

_KEY_SIZE = 16
_SALT_SIZE = 12
_NONCE_SIZE = 12
_HALF = 1 << 15
_WINDOW = (1 << WINDOW_SIZE) - 1

FIRST_BYTES = 0x806F
"""The first two bytes of every cell: RTP version 2 and nothing else, payload type 111."""
_pack_header = struct.Struct("!HHII").pack


class UpEpoch:
    """Opens the cells of one epoch, each once (RFC 3711 section 3.3, RFC 7714)."""

    __slots__ = ("_base", "_decrypt", "_highest", "_seen", "line", "ssrc")

    def __init__(self, keys: UpKeys, line: "Line") -> None:
        self.ssrc = keys.ssrc
        self.line = line
        self._decrypt = _aead(keys).decrypt
        self._base = _nonce_base(keys)
        self._highest = -1
        self._seen = 0
        """Bit `n`: the packet `n` before the highest one was accepted."""

    def open(self, sequence_number: int, cell: bytes) -> bytes | None:
        """Link type and body; None when the cell is too old or was accepted before.

        Raises `InvalidTag` when the cell is not authentic; only an authentic one moves the window.
        """
        highest = self._highest
        ahead = (sequence_number - highest) & 0xFFFF
        if 0 < ahead < _HALF:
            # The first cell of all comes this way too: one before index 0 is -1.
            index = highest + ahead
        else:
            index = _estimate(sequence_number, highest)
            ahead = index - highest
            if index < 0 or (ahead <= 0 and not self._fresh(-ahead)):
                return None
        nonce = (self._base ^ index).to_bytes(_NONCE_SIZE)
        # Not called as a method: to look one up that is a slot takes Python 3.11 longer.
        decrypt = self._decrypt
        payload = decrypt(nonce, cell[RTP_HEADER_SIZE:], cell[:RTP_HEADER_SIZE])
        if ahead == 1:
            self._seen = (self._seen << 1 | 1) & _WINDOW
            self._highest = index
        elif ahead > 0:
            self._seen = (self._seen << min(ahead, WINDOW_SIZE) | 1) & _WINDOW
            self._highest = index
        else:
            self._seen |= 1 << -ahead
        return payload

    def _fresh(self, behind: int) -> bool:
        return behind < WINDOW_SIZE and not self._seen >> behind & 1


class DownEpoch:
    """Seals the cells of one epoch, each under the next RTP header."""

    __slots__ = ("_base", "_encrypt", "_index", "_ssrc", "_timestamp")

    def __init__(self, keys: DownKeys) -> None:
        self._encrypt = _aead(keys).encrypt
        self._base = _nonce_base(keys)
        self._ssrc = keys.ssrc
        self._timestamp = keys.timestamp
        self._index = keys.rollover_counter << 16 | keys.sequence_number

    def seal(self, payload: bytes) -> bytes:
        """The next cell, around link type and body."""
        index = self._index
        self._index = index + 1
        timestamp = self._timestamp
        self._timestamp = (timestamp + TIMESTAMP_STEP) & 0xFFFFFFFF
        header = _pack_header(FIRST_BYTES, index & 0xFFFF, timestamp, self._ssrc)
        nonce = (self._base ^ index).to_bytes(_NONCE_SIZE)
        encrypt = self._encrypt
        return header + encrypt(nonce, payload, header)


class Line:
    """One line.  Its payloads are link type and body, so that what was opened is sealed again as it is."""

    __slots__ = (
        "address",
        "control",
        "current",
        "down",
        "expired",
        "following",
        "heard",
        "number",
        "other",
        "queue",
        "reported",
        "slot",
        "standing",
    )

    def __init__(self, number: int, slot: int, up: UpKeys, now: float) -> None:
        self.number = number
        self.slot = slot
        self.current = UpEpoch(up, self)
        self.following: UpEpoch | None = None
        self.down: DownEpoch | None = None
        self.address: Address | None = None
        self.other: Line | None = None
        self.heard = now
        self.expired = False
        self.reported = False
        """Whether its `Expired` was handed up."""
        self.control: list[bytes] = []
        self.queue: list[bytes] = []
        self.standing = 0
        """Departures in a row after which the queue still was long."""

    def uncross(self) -> None:
        """Part this line and its other one, if there is one."""
        if self.other is not None:
            self.other.other = None
            self.other = None


def _aead(keys: UpKeys | DownKeys) -> AESGCM:
    if (len(keys.key), len(keys.salt)) != (_KEY_SIZE, _SALT_SIZE):
        raise MisuseError("AEAD_AES_128_GCM takes a 16-byte key and a 12-byte salt")
    return AESGCM(keys.key)


def _nonce_base(keys: UpKeys | DownKeys) -> int:
    """Salt exclusive or SSRC at its place in the nonce; the packet index goes into the lowest 48 bits (RFC 7714
    section 8.1)."""
    return int.from_bytes(keys.salt) ^ keys.ssrc << 48


def _estimate(sequence_number: int, highest: int) -> int:
    """The packet index nearest to the highest one so far (RFC 3711 section 3.3.1); below zero: before the start."""
    if highest < 0:
        return sequence_number
    rollover_counter, last = highest >> 16, highest & 0xFFFF
    if last < _HALF:
        if sequence_number - last > _HALF:
            rollover_counter -= 1
    elif last - _HALF > sequence_number:
        rollover_counter += 1
    return (rollover_counter << 16) + sequence_number
