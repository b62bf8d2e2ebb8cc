"""How bytes are written: one canonical bounded codec, padding to fixed sizes, frames over a stream.

MessagePack (array-like structs) with a size limit and a re-encoding check; no specification of its own.  Must
never learn what a message means.
"""

from relay.wire.codec import UNREADABLE, decode, encode
from relay.wire.frames import FrameReader, frame
from relay.wire.onion_name import is_onion
from relay.wire.padding import pad, unpad
from relay.wire.streams import OnionDialer, exchange, read_frame

__all__ = [
    "UNREADABLE",
    "FrameReader",
    "OnionDialer",
    "decode",
    "encode",
    "exchange",
    "frame",
    "is_onion",
    "pad",
    "read_frame",
    "unpad",
]
