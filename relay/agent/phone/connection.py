"""One TCP connection of a phone: bytes to messages, with bounds on what may wait in either direction."""

import asyncio
from typing import Protocol

from relay.core import PeerError
from relay.sip.message import Message
from relay.sip.stream import MessageStream
from relay.sip.transaction import Flow


class ConnectionOwner(Protocol):
    """What the server is to its connections."""

    def opened(self, connection: "Connection") -> bool: ...
    def message(self, connection: "Connection", message: Message) -> None: ...
    def broken(self, connection: "Connection", error: PeerError) -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """`number` is its place in `Flow.connection`; `active_at` and `half_since` are for the server's sweep."""

    def __init__(self, owner: ConnectionOwner, number: int, message_limit: int, write_limit: int) -> None:
        self.number = number
        self.flow = Flow("TCP", "", 0, number)
        self.active_at = 0.0
        self.half_since: float | None = None
        self._owner = owner
        self._stream = MessageStream(message_limit)
        self._write_limit = write_limit
        self._transport: asyncio.Transport | None = None
        self._pings = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.flow = Flow("TCP", host, port, self.number)
        if not self._owner.opened(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        try:
            messages = self._stream.receive(data)
        except PeerError as error:
            # Where the next message starts is unknown: nothing more of this connection can be read.
            self.abort()
            self._owner.broken(self, error)
            return
        if self._stream.pings > self._pings:
            self._pings = self._stream.pings
            self.write(b"\r\n")
        for message in messages:
            self._owner.message(self, message)

    @property
    def unfinished(self) -> bool:
        """Whether the rest of a message is still owed."""
        return self._stream.unfinished

    @property
    def closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send; a phone that does not read what it is sent is cut off."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._write_limit:
            self._transport.abort()

    def close(self) -> None:
        """Let what was written leave, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)
