"""TURN (RFC 8656) over UDP, as much of it as opens an allocation and binds a channel at a server that asks nobody who
he is."""

import ipaddress
import struct
from dataclasses import dataclass

from relay.core import PeerError

COOKIE = 0x2112A442
_HEADER = struct.Struct("!HHI12s")

ALLOCATE = 0x0003
CHANNEL_BIND = 0x0009
_SUCCESS = 0x0100
_ERROR = 0x0110

_CHANNEL_NUMBER = 0x000C
_ERROR_CODE = 0x0009
_XOR_PEER_ADDRESS = 0x0012
_XOR_RELAYED_ADDRESS = 0x0016
_REQUESTED_TRANSPORT = 0x0019
_UDP = 17

CHANNEL = 0x4001
"""The one channel of every allocation here."""


@dataclass(frozen=True, slots=True)
class Response:
    """`transaction` is the number that the request was given; `relayed` is there after an allocation."""

    method: int
    transaction: int
    error: int = 0
    relayed: tuple[str, int] | None = None


def allocate(transaction: int) -> bytes:
    """Ask for a UDP port (RFC 8656 section 7)."""
    return _message(ALLOCATE, transaction, [(_REQUESTED_TRANSPORT, struct.pack("!B3x", _UDP))])


def channel_bind(transaction: int, host: str, port: int) -> bytes:
    """Bind the channel to a peer (RFC 8656 section 12)."""
    attributes = [
        (_CHANNEL_NUMBER, struct.pack("!H2x", CHANNEL)),
        (_XOR_PEER_ADDRESS, _xor_address(host, port)),
    ]
    return _message(CHANNEL_BIND, transaction, attributes)


def channel_header(size: int) -> bytes:
    """What stands before `size` bytes for the peer (RFC 8656 section 12.4)."""
    return struct.pack("!HH", CHANNEL, size)


def parse(data: bytes) -> Response:
    """A server's answer.  Raises `PeerError` when it is none."""
    if len(data) < _HEADER.size:
        raise PeerError("truncated", "RFC 8489 section 5")
    kind, size, cookie, transaction = _HEADER.unpack_from(data)
    if cookie != COOKIE or size != len(data) - _HEADER.size:
        raise PeerError("no STUN message", "RFC 8489 section 5")
    error, relayed = 0, None
    for name, value in _attributes(data[_HEADER.size :]):
        if name == _ERROR_CODE and len(value) >= 4:
            error = value[2] * 100 + value[3]
        elif name == _XOR_RELAYED_ADDRESS and len(value) == 8:
            port, host = struct.unpack("!HI", value[2:])
            relayed = str(ipaddress.IPv4Address(host ^ COOKIE)), port ^ COOKIE >> 16
    if kind & _ERROR == _ERROR:
        error = error or 500
    elif not kind & _SUCCESS:
        raise PeerError("not an answer", "RFC 8489 section 5")
    return Response(kind & ~_ERROR, int.from_bytes(transaction), error, relayed)


def _message(method: int, transaction: int, attributes: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("!HH", name, len(value)) + value for name, value in attributes)
    return _HEADER.pack(method, len(body), COOKIE, transaction.to_bytes(12)) + body


def _attributes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(body) >= 4:
        name, size = struct.unpack_from("!HH", body)
        if len(body) < 4 + size:
            raise PeerError("truncated", "RFC 8489 section 14")
        found.append((name, body[4 : 4 + size]))
        body = body[4 + (size + 3) // 4 * 4 :]
    return found


def _xor_address(host: str, port: int) -> bytes:
    return struct.pack("!xBHI", 1, port ^ COOKIE >> 16, int(ipaddress.IPv4Address(host)) ^ COOKIE)
