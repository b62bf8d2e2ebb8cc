"""The far ends of a data plane's lines: their cells are sealed and opened by `relay.rtp`, which no data plane uses."""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import SystemClock
from relay.media_reflector.forwarding.face import (
    CHECK_SIZE,
    MAX_UPCALLS,
    OPEN_PER_TICK,
    TICKET_ID_SIZE,
    Address,
    Datagram,
    DownKeys,
    Forwarding,
    UpKeys,
    pack_address,
)
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK, LinkType
from relay.rtp.packet import pack_header
from relay.rtp.srtp import AeadSrtp, SessionKeys, SrtpDrop
from tests.native_code import native_plane

PAYLOAD_TYPE = 111
NOW = 1000.0


def up_keys(ssrc: int) -> UpKeys:
    """The keys that go with an SSRC in these tests."""
    material = hashlib.sha256(b"up" + ssrc.to_bytes(4)).digest()
    return UpKeys(ssrc, material[:16], material[16:28])


def down_keys(
    ssrc: int, sequence_number: int = 100, timestamp: int = 7, rollover_counter: int = 0
) -> DownKeys:
    material = hashlib.sha256(b"down" + ssrc.to_bytes(4)).digest()
    return DownKeys(ssrc, material[:16], material[16:28], sequence_number, timestamp, rollover_counter)


def seal(keys: UpKeys, index: int, link_type: int, body: bytes) -> bytes:
    """The cell with this packet index, whatever was sealed before."""
    header = pack_header(PAYLOAD_TYPE, index & 0xFFFF, index * 960 & 0xFFFFFFFF, keys.ssrc)
    srtp = AeadSrtp(SessionKeys(keys.key, keys.salt), rollover_counter=index >> 16)
    return srtp.protect(header, bytes((link_type,)) + body)


def opened(keys: DownKeys, cell: bytes, rollover_counter: int = 0) -> tuple[LinkType, bytes]:
    """Link type and body of a cell that a data plane sealed."""
    payload = AeadSrtp(SessionKeys(keys.key, keys.salt), rollover_counter=rollover_counter).unprotect(cell)
    assert not isinstance(payload, SrtpDrop), payload
    return LinkType(payload[0]), payload[1:]


def body(text: str) -> bytes:
    return text.encode().ljust(BODY_SIZE, b".")


def address(port: int) -> Address:
    return pack_address("127.0.0.1", port)


def speech(text: str) -> tuple[LinkType, bytes]:
    return LinkType.END_TO_END, body(text)


def ticket(number: int) -> bytes:
    """A ticket's number."""
    return b"ticket" + number.to_bytes(10)


def checked(key: bytes, number: int) -> bytes:
    """A ticket's number that checks under `key`."""
    pick = number.to_bytes(TICKET_ID_SIZE - CHECK_SIZE)
    return pick + AESGCM(key).encrypt(pick + bytes(4), b"", None)[:CHECK_SIZE]


def first_message(ticket_id: bytes, ssrc: int = 99) -> bytes:
    """A cell that is none yet: a header, then a ticket's number and the rest of a handshake message."""
    header = pack_header(PAYLOAD_TYPE, 0, 0, ssrc)
    return header + ticket_id + bytes(CELL_SIZE - len(header) - len(ticket_id))


ELSEWHERE = address(60_000)
SILENCE = (LinkType.CHAFF, bytes(BODY_SIZE))


@dataclass
class FarEnd:
    """One line: its number, its keys, where its agent is, and the packet index of the agent's next cell."""

    number: int
    up: UpKeys
    down: DownKeys
    address: Address
    slot: int
    index: int = 0

    def cell(self, link_type: int = LinkType.CHAFF, text: str = "") -> Datagram:
        """The agent's next cell, from where it is."""
        self.index += 1
        return seal(self.up, self.index - 1, link_type, body(text)), self.address

    def speech(self, text: str) -> Datagram:
        return self.cell(LinkType.END_TO_END, text)


@dataclass
class Bed:
    """A data plane and its lines."""

    forwarding: Forwarding
    now: float = NOW
    lines: list[FarEnd] = field(default_factory=list)

    def opening(self, slot: int = 3) -> FarEnd:
        """A line that has no address yet."""
        ssrc = 1000 + len(self.lines)
        up = up_keys(ssrc)
        number = self.forwarding.add_line(slot, up, self.now)
        assert number is not None
        self.lines.append(FarEnd(number, up, down_keys(ssrc), address(ssrc), slot))
        return self.lines[-1]

    def line(self, slot: int = 3) -> FarEnd:
        """A line that has its address and keys both ways."""
        line = self.opening(slot)
        assert self.forwarding.settle(line.number, line.down, line.address, advance=False)
        return line

    def pair(self) -> tuple[FarEnd, FarEnd]:
        """Two crossed lines, of slots 3 and 11."""
        one, other = self.line(3), self.line(11)
        assert self.forwarding.cross(one.number, other.number)
        return one, other

    def arrive(self, *datagrams: Datagram) -> None:
        self.forwarding.receive(datagrams, self.now)

    def leave(self, line: FarEnd) -> tuple[LinkType, bytes]:
        """What is in the only cell that leaves in the line's slot."""
        ((cell, destination),) = self.forwarding.slot(line.slot, self.now)
        assert destination == line.address
        return opened(line.down, cell)

    def destinations(self) -> list[Address]:
        """Where the cells of slot 3 go."""
        return [destination for _, destination in self.forwarding.slot(3, self.now)]

    def fill_upcalls(self) -> None:
        """Leave no room for another upcall: many lines in several ticks, because none may fill it alone."""
        agents = [
            FarEnd(0, up_keys(2000 + index), down_keys(1), address(2000 + index), 19)
            for index in range(MAX_UPCALLS)
        ]
        for agent in agents:
            number = self.forwarding.add_line(agent.slot, agent.up, self.now)
            assert number is not None
            self.forwarding.settle(number, None, agent.address, advance=False)
        for first in range(0, MAX_UPCALLS, OPEN_PER_TICK):
            self.arrive(*(agent.cell(LinkType.CONTROL) for agent in agents[first : first + OPEN_PER_TICK]))
            self.now += 2 * TICK

    def counted(self) -> dict[str, int]:
        """The counts that are not zero, without those of what arrived and left."""
        plain = ("datagrams_received", "cells_received", "cells_sent", "chaff_sent", "bodies_sent")
        return {name: n for name, n in self.forwarding.counters().items() if n and name not in plain}


def make_forwarding(name: str) -> Forwarding:
    """A data plane by its name."""
    return PlainForwarding(SystemClock()) if name == "plain" else native_plane()
