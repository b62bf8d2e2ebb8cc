"""The frame that all ZRTP messages share, and those messages that are little more (RFC 6189 sections 5.1, 5.3, 5.8
to 5.12, 5.14 to 5.16).

A reader takes exactly one message or raises `ZrtpError`; what a writer makes, its reader reads back the same.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

from relay.zrtp.errors import ZrtpError, malformed
from relay.zrtp.packet import PacketDrop, open_packet

_FRAME = struct.Struct("!HH8s")
_PREAMBLE = 0x505A
FRAME_SIZE = _FRAME.size
VERSION = b"1.10"
MAC_SIZE = 8
"""Bytes of the MAC at the end of Hello, Commit and DHPart, and of the one at the front of Confirm."""
ZID_SIZE = 12


class MessageType(StrEnum):
    """Section 5.1.1, eight characters each."""

    HELLO = "Hello   "
    HELLO_ACK = "HelloACK"
    COMMIT = "Commit  "
    DH_PART_1 = "DHPart1 "
    DH_PART_2 = "DHPart2 "
    CONFIRM_1 = "Confirm1"
    CONFIRM_2 = "Confirm2"
    CONF2_ACK = "Conf2ACK"
    ERROR = "Error   "
    ERROR_ACK = "ErrorACK"
    GO_CLEAR = "GoClear "
    CLEAR_ACK = "ClearACK"
    SAS_RELAY = "SASrelay"
    RELAY_ACK = "RelayACK"
    PING = "Ping    "
    PING_ACK = "PingACK "


_BY_BLOCK = {kind.value.encode(): kind for kind in MessageType}


def build(kind: MessageType, body: bytes = b"") -> bytes:
    """One message; `body` is a multiple of four bytes."""
    return _FRAME.pack(_PREAMBLE, (FRAME_SIZE + len(body)) // 4, kind.value.encode()) + body


def read(message: bytes) -> tuple[MessageType, bytes]:
    """Type and body.  Raises `ZrtpError` where preamble, length or type are none of ours."""
    if len(message) < FRAME_SIZE:
        raise malformed("truncated", "5.1")
    preamble, words, block = _FRAME.unpack_from(message)
    if preamble != _PREAMBLE:
        raise malformed("wrong preamble", "5.2")
    if 4 * words != len(message):
        raise malformed("wrong length", "5.2")
    if (kind := _BY_BLOCK.get(block)) is None:
        raise malformed("unknown message type", "5.1.1")
    return kind, message[FRAME_SIZE:]


def passing(datagram: bytes) -> tuple[MessageType, bytes] | None:
    """What a datagram is to somebody who only passes it on, and the whole message; None where there is none."""
    packet = open_packet(datagram)
    if isinstance(packet, PacketDrop):
        return None
    try:
        return read(packet.message)[0], packet.message
    except ZrtpError:
        return None


HELLO_ACK = build(MessageType.HELLO_ACK)
CONF2_ACK = build(MessageType.CONF2_ACK)
ERROR_ACK = build(MessageType.ERROR_ACK)
CLEAR_ACK = build(MessageType.CLEAR_ACK)
RELAY_ACK = build(MessageType.RELAY_ACK)


def read_ack(body: bytes) -> None:
    """An acknowledgement has nothing in it."""
    if body:
        raise malformed("acknowledgement with a body", "5.3")


def build_error(code: int) -> bytes:
    """Section 5.9."""
    return build(MessageType.ERROR, code.to_bytes(4))


def read_error(body: bytes) -> int:
    """The code, which may be none that we know."""
    if len(body) != 4:
        raise malformed("wrong length", "5.9")
    return int.from_bytes(body)


def build_go_clear(clear_mac: bytes) -> bytes:
    """Section 5.11; this program never sends one outside of its tests."""
    return build(MessageType.GO_CLEAR, clear_mac)


def read_go_clear(body: bytes) -> bytes:
    """The clear_mac."""
    if len(body) != MAC_SIZE:
        raise malformed("wrong length", "5.11")
    return body


@dataclass(frozen=True, slots=True)
class Ping:
    """Section 5.15: a proxy on the way asks which stream belongs to which endpoint."""

    version: bytes
    endpoint_hash: bytes

    def build(self) -> bytes:
        return build(MessageType.PING, self.version + self.endpoint_hash)

    @classmethod
    def read(cls, body: bytes) -> "Ping":
        if len(body) != 12:
            raise malformed("wrong length", "5.15")
        return cls(body[:4], body[4:])


@dataclass(frozen=True, slots=True)
class PingAck:
    """Section 5.16: `ssrc` is that of the Ping."""

    version: bytes
    endpoint_hash: bytes
    asker_hash: bytes
    ssrc: int

    def build(self) -> bytes:
        body = self.version + self.endpoint_hash + self.asker_hash + self.ssrc.to_bytes(4)
        return build(MessageType.PING_ACK, body)

    @classmethod
    def read(cls, body: bytes) -> "PingAck":
        if len(body) != 24:
            raise malformed("wrong length", "5.16")
        return cls(body[:4], body[4:12], body[12:20], int.from_bytes(body[20:]))
