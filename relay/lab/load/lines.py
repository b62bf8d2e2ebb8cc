"""The lines of a load: keys, numbers and places that the generator and the relay under test both work out from one
seed, so that no key has to travel between them.  For loopback alone: everybody who knows the seed knows the keys."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.media_reflector.forwarding.face import SLOTS, Address, DownKeys, UpKeys, pack_address
from relay.rtp.cell import TICK

_TICK_MICROSECONDS = round(TICK * 1e6)
_SPREAD = 0x9E3779B1
"""Odd, so that multiplying by it gives every 32-bit number once."""

LINE = np.dtype(
    [
        ("up_ssrc", "u4"),
        ("down_ssrc", "u4"),
        ("up_key", "u1", 16),
        ("down_key", "u1", 16),
        ("up_salt", "u1", 12),
        ("down_salt", "u1", 12),
        ("source", ">u4"),
        ("destination", ">u4"),
        ("arrival", "u4"),
        ("departure", "u4"),
        ("partner", "u4"),
        ("port", ">u2"),
        ("sequence", "u2"),
        ("prefix", "u1", 4),
        ("prefixed", "u2"),
        ("sealed", "u1"),
        ("opened", "u1"),
    ]
)
"""One line as the generator's native part takes it (native/agent.rs, `LineSpec`); times in microseconds of a tick."""

FIRST_SOURCE = 0x7F010000
"""Line `n` is at 127.1.0.0 plus `n`: a peer of its own for every line."""
LOOPBACK = 0x7F000001


@dataclass(frozen=True, slots=True)
class LoadLine:
    """One line, both epochs; lines `2n` and `2n + 1` are crossed."""

    index: int
    slot: int
    up: UpKeys
    down: DownKeys
    following: UpKeys

    @classmethod
    def of(cls, index: int, seed: int) -> "LoadLine":
        """The same for everybody, and unlike any other line of this seed."""
        secret = hashlib.shake_256(f"load {seed} {index}".encode()).digest(92)
        up, down, following = (secret[at : at + 28] for at in (0, 28, 56))
        up_ssrc, down_ssrc, next_ssrc = (_ssrc(3 * index + which, seed) for which in range(3))
        # Below 2**15, so that the first packet's rollover counter is beyond doubt (RFC 3711 section 3.3.1).
        sequence_number = int.from_bytes(secret[84:86]) >> 1
        return cls(
            index=index,
            slot=index % SLOTS,
            up=UpKeys(up_ssrc, up[:16], up[16:]),
            down=DownKeys(down_ssrc, down[:16], down[16:], sequence_number, int.from_bytes(secret[86:90])),
            following=UpKeys(next_ssrc, following[:16], following[16:]),
        )

    @property
    def partner(self) -> int:
        return self.index ^ 1

    def address(self, port: int) -> Address:
        """Where this line's agent is, for a generator on `port`."""
        source = (FIRST_SOURCE + self.index).to_bytes(4)
        return pack_address(".".join(map(str, source)), port)


def _ssrc(number: int, seed: int) -> int:
    return (number * _SPREAD + seed * 0x85EBCA6B) & 0xFFFFFFFF


def blank(count: int, seed: int, *, destination: tuple[int, int]) -> NDArray[np.void]:
    """`count` lines that send to one place (IPv4 address as a number, port) and seal nothing.

    A line's SSRC is its number, and the cells of its partner come back to it.  Agents send at moments spread evenly
    over the tick; where in the tick they are sent to is the middle of slot 0, for lack of anything better.
    """
    lines = np.zeros(count, LINE)
    index = np.arange(count, dtype="u4")
    generator = np.random.default_rng(seed)
    lines["up_ssrc"], lines["down_ssrc"], lines["partner"] = index, index ^ 1, index ^ 1
    lines["source"] = FIRST_SOURCE + index
    lines["destination"], lines["port"] = destination
    lines["arrival"] = generator.integers(_TICK_MICROSECONDS, size=count)
    lines["opened"] = 1
    return lines


def sealed(
    lines: list[LoadLine], seed: int, *, destination: tuple[int, int], opened_every: int = 16
) -> NDArray[np.void]:
    """The same lines as the generator takes them; one in `opened_every` pairs is opened and its bodies looked at."""
    found = blank(len(lines), seed, destination=destination)
    found["source"] = [FIRST_SOURCE + line.index for line in lines]
    found["up_ssrc"] = [line.up.ssrc for line in lines]
    found["down_ssrc"] = [line.down.ssrc for line in lines]
    found["departure"] = [line.slot * _TICK_MICROSECONDS // SLOTS for line in lines]
    for name, keys in (("up", [line.up for line in lines]), ("down", [line.down for line in lines])):
        found[f"{name}_key"] = _bytes([key.key for key in keys])
        found[f"{name}_salt"] = _bytes([key.salt for key in keys])
    found["sealed"] = 1
    found["opened"] = np.arange(len(lines)) // 2 % opened_every == 0
    return found


def _bytes(values: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(values), dtype="u1").reshape(len(values), -1)
