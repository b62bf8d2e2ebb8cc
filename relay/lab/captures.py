"""Captures as an observer on the wire would hold them: pcap files with nanosecond times.

The classic libpcap file format (magic 0xa1b23c4d), link type RAW (101): IPv4 (RFC 791) and UDP (RFC 768)
headers with correct checksums around the payload, because the lab's observer sees datagrams and not frames.
"""

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from relay.core import PeerError

Address = tuple[str, int]

_MAGIC = 0xA1B23C4D
_LINKTYPE_RAW = 101
_SNAP_LENGTH = 65535
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")
_IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")
_UDP_PROTOCOL = 17
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram that was seen: when (nanoseconds of Unix time), from where, to where, and what."""

    at_ns: int
    source: Address
    destination: Address
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes of UDP payload."""
        return len(self.payload)


class CaptureWriter:
    """Writes datagrams to a pcap file, one by one; the file is readable after every `flush`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.write(_FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, _SNAP_LENGTH, _LINKTYPE_RAW))

    def write(self, datagram: Datagram) -> None:
        packet = ip_packet(datagram)
        seconds, nanoseconds = divmod(datagram.at_ns, _NANOSECONDS)
        self._file.write(_RECORD_HEADER.pack(seconds, nanoseconds, len(packet), len(packet)))
        self._file.write(packet)

    def flush(self) -> None:
        self._file.flush()


def write_capture(path: Path, datagrams: Iterable[Datagram]) -> int:
    """Write one pcap file; returns the number of datagrams."""
    count = 0
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        for datagram in datagrams:
            writer.write(datagram)
            count += 1
    return count


def read_capture(path: Path) -> list[Datagram]:
    """Every UDP datagram of a file that `CaptureWriter` wrote.

    A last record that was cut short (the writer was killed) ends the list.  Raises `PeerError` when the
    file is something else.
    """
    data = path.read_bytes()
    if len(data) < _FILE_HEADER.size:
        raise PeerError("truncated", "pcap file header")
    magic, _, _, _, _, _, link_type = _FILE_HEADER.unpack_from(data)
    if magic != _MAGIC or link_type != _LINKTYPE_RAW:
        raise PeerError("not a nanosecond RAW capture", "pcap file header")
    found: list[Datagram] = []
    position = _FILE_HEADER.size
    while position + _RECORD_HEADER.size <= len(data):
        seconds, nanoseconds, length, _ = _RECORD_HEADER.unpack_from(data, position)
        position += _RECORD_HEADER.size
        if position + length > len(data):
            break
        found.append(_parse(data[position : position + length], seconds * _NANOSECONDS + nanoseconds))
        position += length
    return found


def ip_packet(datagram: Datagram) -> bytes:
    """The datagram inside UDP and IPv4 headers; not to be fragmented, identification 0 (RFC 6864 4.1)."""
    source = ipaddress.IPv4Address(datagram.source[0]).packed
    destination = ipaddress.IPv4Address(datagram.destination[0]).packed
    udp_length = _UDP_HEADER.size + len(datagram.payload)
    ports = (datagram.source[1], datagram.destination[1], udp_length)
    pseudo_header = source + destination + struct.pack("!BBH", 0, _UDP_PROTOCOL, udp_length)
    udp_sum = checksum(pseudo_header + _UDP_HEADER.pack(*ports, 0) + datagram.payload) or 0xFFFF
    total = _IPV4_HEADER.size + udp_length
    header = _IPV4_HEADER.pack(0x45, 0, total, 0, 0x4000, 64, _UDP_PROTOCOL, 0, source, destination)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return header + _UDP_HEADER.pack(*ports, udp_sum) + datagram.payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def _parse(packet: bytes, at_ns: int) -> Datagram:
    if len(packet) < _IPV4_HEADER.size + _UDP_HEADER.size or packet[0] != 0x45 or packet[9] != _UDP_PROTOCOL:
        raise PeerError("not IPv4 and UDP", "pcap record")
    source_port, destination_port, udp_length, _ = _UDP_HEADER.unpack_from(packet, _IPV4_HEADER.size)
    if udp_length != len(packet) - _IPV4_HEADER.size:
        raise PeerError("length mismatch", "RFC 768")
    return Datagram(
        at_ns=at_ns,
        source=(str(ipaddress.IPv4Address(packet[12:16])), source_port),
        destination=(str(ipaddress.IPv4Address(packet[16:20])), destination_port),
        payload=packet[_IPV4_HEADER.size + _UDP_HEADER.size :],
    )
