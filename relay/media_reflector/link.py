"""One direction of a line's cells: continuous RTP headers, one SSRC, and the link SRTP once there are keys."""

from relay.core import Entropy
from relay.media_reflector.forwarding.face import DownKeys, UpKeys
from relay.rtp.cell import CELL_SIZE, RTP_HEADER_SIZE, TIMESTAMP_STEP, LinkType
from relay.rtp.packet import VERSION_BYTE, pack_header
from relay.rtp.srtp import AeadSrtp, SessionKeys

PAYLOAD_TYPE = 111
"""A dynamic payload type (RFC 3551 section 6), the same on every cell of every line."""

_REMEMBERED = 500
"""Cells whose timestamp `CellSender.sent` still knows: ten seconds, as long as a handshake may take."""

_TYPES = [bytes((kind,)) for kind in LinkType]


def opener(keys: UpKeys) -> AeadSrtp:
    """What opens the cells of one epoch in one direction."""
    return AeadSrtp(SessionKeys(keys.key, keys.salt))


class CellSender:
    """Makes the cells of one direction: handshake messages first, sealed cells after `keys` is set.

    One epoch's keys go into one sender and never into a second: it alone counts their nonces.
    """

    __slots__ = ("_count", "_rollover_counter", "_sequence_number", "_timestamp", "keys", "ssrc")

    def __init__(self, ssrc: int, entropy: Entropy, keys: UpKeys | None = None) -> None:
        self.ssrc = ssrc
        self.keys: AeadSrtp | None = None if keys is None else opener(keys)
        # RFC 3711 section 3.3.1: random, but in the lower half, so that the receiver's first guess of the
        # rollover counter is right whatever was lost.
        self._sequence_number = entropy.below(1 << 15)
        self._rollover_counter = 0
        self._timestamp = entropy.below(1 << 32)
        self._count = 0

    def _header(self) -> bytes:
        header = pack_header(PAYLOAD_TYPE, self._sequence_number, self._timestamp, self.ssrc)
        self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        if self._sequence_number == 0:
            self._rollover_counter += 1
        self._timestamp = (self._timestamp + TIMESTAMP_STEP) & 0xFFFFFFFF
        self._count += 1
        return header

    def sent(self, timestamp: int) -> bool:
        """Whether one of the latest cells had this RTP timestamp."""
        steps, rest = divmod((self._timestamp - timestamp) & 0xFFFFFFFF, TIMESTAMP_STEP)
        return rest == 0 and 0 < steps <= min(self._count, _REMEMBERED)

    def handshake(self, message: bytes) -> bytes:
        """A cell around a handshake message."""
        return self._header() + message

    def seal(self, link_type: LinkType, body: bytes) -> bytes:
        """A cell around a body."""
        assert self.keys is not None, "the handshake comes first"
        return self.keys.protect(self._header(), _TYPES[link_type] + body)

    def continued(self, keys: UpKeys) -> DownKeys:
        """Hand the direction over to the data plane, which goes on where this sender stopped.

        `keys` are those of this sender's SSRC; it must seal nothing more.
        """
        assert keys.ssrc == self.ssrc
        return DownKeys(
            self.ssrc, keys.key, keys.salt, self._sequence_number, self._timestamp, self._rollover_counter
        )


def is_cell(datagram: bytes) -> bool:
    """Whether size and header are those of a cell."""
    return len(datagram) == CELL_SIZE and datagram[0] == VERSION_BYTE and datagram[1] == PAYLOAD_TYPE


def cell_timestamp(datagram: bytes) -> int:
    """The RTP timestamp of something that `is_cell`."""
    return int.from_bytes(datagram[4:8])


def cell_ssrc(datagram: bytes) -> int:
    """The SSRC of something that `is_cell`."""
    return int.from_bytes(datagram[8:RTP_HEADER_SIZE])
