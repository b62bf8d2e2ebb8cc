"""Messages out of a byte stream (RFC 3261 section 18.3) with the keep-alive of RFC 5626 section 4.4.1."""

from relay.core import PeerError
from relay.sip.message import MAX_MESSAGE, Message, content_length, parse_head


class MessageStream:
    """Cuts a TCP stream into messages.

    After a `PeerError` the place of the next message is unknown: the connection has to be closed, and every
    further call raises the same error.  `pings` counts the double line ends that ask for a single one as
    answer.  The side that sends pings itself sets `expects_pongs`: then every line end counts in `pongs`.
    """

    __slots__ = (
        "_body_size",
        "_buffer",
        "_error",
        "_expects_pongs",
        "_head",
        "_limit",
        "_scanned",
        "pings",
        "pongs",
    )

    def __init__(self, limit: int = MAX_MESSAGE, *, expects_pongs: bool = False) -> None:
        self.pings = 0
        self.pongs = 0
        self._limit = limit
        self._expects_pongs = expects_pongs
        self._buffer = bytearray()
        self._scanned = 0
        self._head: Message | None = None
        self._body_size = 0
        self._error: PeerError | None = None

    @property
    def buffered(self) -> int:
        """Bytes held of a message that is not complete yet."""
        return len(self._buffer)

    @property
    def unfinished(self) -> bool:
        """Whether a part of a message has come and its rest has not, a body that is still owed included."""
        return bool(self._buffer) or self._head is not None

    def receive(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order.  Raises `PeerError`: close the connection."""
        if self._error is not None:
            raise PeerError(self._error.reason, self._error.section)
        self._buffer += data
        messages: list[Message] = []
        try:
            while (message := self._next()) is not None:
                messages.append(message)
        except PeerError as error:
            self._error = error
            self._buffer.clear()
            raise
        return messages

    def _next(self) -> Message | None:
        if self._head is None and not self._read_head():
            return None
        message = self._head
        if message is None or len(self._buffer) < self._body_size:
            return None
        message.body = bytes(self._buffer[: self._body_size])
        del self._buffer[: self._body_size]
        self._head = None
        return message

    def _read_head(self) -> bool:
        if self._scanned == 0:
            self._skip_line_ends()
        # A line end may be cut by the previous chunk: look again at its last three bytes.
        end = self._buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > self._limit:
                raise PeerError("oversized", "RFC 3261 section 18.3")
            if self._buffer[:1] == b"\r":
                self._scanned = 0
            return False
        if end > self._limit:
            raise PeerError("oversized", "RFC 3261 section 18.3")
        message = parse_head(bytes(self._buffer[:end]))
        length = content_length(message.headers)
        if length is None:
            raise PeerError("Content-Length missing", "RFC 3261 section 18.3")
        if end + 4 + length > self._limit:
            raise PeerError("oversized", "RFC 3261 section 18.3")
        del self._buffer[: end + 4]
        self._scanned = 0
        self._head = message
        self._body_size = length
        return True

    def _skip_line_ends(self) -> None:
        index = 0
        while self._buffer.startswith(b"\r\n", index):
            if self._expects_pongs:
                self.pongs += 1
                index += 2
            elif self._buffer.startswith(b"\r\n\r\n", index):
                self.pings += 1
                index += 4
            elif b"\r\n\r".startswith(self._buffer[index:]):
                break
            else:
                index += 2
        del self._buffer[:index]
        if self._buffer.startswith(b"\r") and not b"\r\n\r".startswith(self._buffer):
            raise PeerError("malformed", "RFC 3261 section 7")
