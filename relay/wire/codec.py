"""MessagePack, made canonical: what does not re-encode to the same bytes is refused."""

from typing import TypeVar

import msgspec

from relay.core import PeerError

T = TypeVar("T", bound=msgspec.Struct)

UNREADABLE = (ValueError, RecursionError, OverflowError)
"""All that msgspec raises for bytes that are not what they should be, MessagePack and JSON alike: text that is no UTF-8
and what nests too deep are no `DecodeError` of its own, which is a `ValueError`."""

_encoder = msgspec.msgpack.Encoder()


def encode(value: msgspec.Struct) -> bytes:
    """The canonical bytes of a Struct declared with `array_like=True, forbid_unknown_fields=True`."""
    return _encoder.encode(value)


def decode(data: bytes, schema: type[T], *, limit: int) -> T:
    """Read one `schema` that fills `data` exactly.

    Raises `PeerError` ("oversized", "malformed" or "non-canonical") on anything else.
    """
    if len(data) > limit:
        raise PeerError("oversized")
    try:
        value = msgspec.msgpack.decode(data, type=schema)
    except UNREADABLE:
        raise PeerError("malformed") from None
    if _encoder.encode(value) != data:
        raise PeerError("non-canonical")
    return value
