"""Length-prefixed frames over a byte stream, without input or output of its own."""

from relay.core import MisuseError, PeerError

_LENGTH = 4


def frame(payload: bytes) -> bytes:
    """`payload` behind its length as four bytes, big-endian."""
    if len(payload) >= 1 << 32:
        raise MisuseError("a frame holds less than 4 GiB")
    return len(payload).to_bytes(_LENGTH) + payload


class FrameReader:
    """Cuts a stream into frames of at most `limit` bytes; after a false length it holds and reads nothing."""

    __slots__ = ("_buffer", "_limit", "_refused")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._refused = False

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take what arrived, give the payloads that are whole.  Raises `PeerError` ("oversized")."""
        if self._refused:
            raise PeerError("oversized")
        self._buffer += data
        payloads = []
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH])
            if length > self._limit:
                self._refused = True
                self._buffer.clear()
                raise PeerError("oversized")
            end = _LENGTH + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[_LENGTH:end]))
            del self._buffer[:end]
        return payloads
