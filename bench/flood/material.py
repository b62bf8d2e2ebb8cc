"""What an attacker has seen on the wire, or has: written to a file for the native generator.

A record is one byte of sort and 160 of content: 1 a cell that a line sent, 2 a first message, 3 a line of the
attacker's own (key 16, salt 12, SSRC 4, next packet's index 4; zeros follow).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.lab.load.lines import LoadLine
from relay.media_reflector.forwarding.face import UpKeys
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TIMESTAMP_STEP, LinkType

_CELL, _FIRST_MESSAGE, _OWN_LINE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class OwnLine:
    """An open line of the attacker's own: what seals its cells, and the next packet's index."""

    up: UpKeys
    index: int

    def later(self, cells: int) -> "OwnLine":
        """The same line so many cells on."""
        return replace(self, index=self.index + cells)


def sent_cells(line: LoadLine, count: int) -> Iterable[bytes]:
    """The first cells that the load generator sent on a line, byte for byte (relay/lab/load/native/agent.rs)."""
    aead = AESGCM(line.up.key)
    ssrc = line.up.ssrc.to_bytes(4)
    for index in range(count):
        timestamp = (line.up.ssrc + index * TIMESTAMP_STEP) & 0xFFFFFFFF
        header = bytes([0x80, 111]) + index.to_bytes(2) + timestamp.to_bytes(4) + ssrc
        body = line.index.to_bytes(4) + index.to_bytes(4) + bytes(BODY_SIZE - 8)
        # RFC 7714 section 8.1.
        nonce = int.from_bytes(line.up.salt) ^ (line.up.ssrc << 48 | index)
        yield header + aead.encrypt(nonce.to_bytes(12), bytes([LinkType.END_TO_END]) + body, header)


def write_material(
    path: Path, *, cells: Iterable[bytes] = (), first: Iterable[bytes] = (), own: Sequence[OwnLine] = ()
) -> None:
    """All of it to one file."""
    records = [bytes([_CELL]) + cell for cell in cells]
    records += [bytes([_FIRST_MESSAGE]) + cell for cell in first]
    for line in own:
        content = line.up.key + line.up.salt + line.up.ssrc.to_bytes(4) + line.index.to_bytes(4)
        records.append(bytes([_OWN_LINE]) + content.ljust(CELL_SIZE, b"\0"))
    path.write_bytes(b"".join(records))
