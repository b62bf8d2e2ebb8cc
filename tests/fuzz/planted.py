"""A codec with a fault, which the fuzzer must find: one that does not is blind, and its silence means nothing."""

from relay.core import PeerError
from tests.fuzz.codec import Codec


def _read(data: bytes) -> None:
    if len(data) < 6 or data[0] != 0x42 or data[1] != data[2] ^ 0x55:
        raise PeerError("malformed")
    if data[3] == 0x17 and data[4] > 0xF0 and data[5] & 0x0F == 9:
        raise IndexError("planted")


PLANTED = Codec("planted", _read, lambda: [bytes(6)], longest=16)
