"""Padding to one size, so that a length says nothing."""

from relay.core import MisuseError, PeerError

_LENGTH = 4


def pad(data: bytes, size: int) -> bytes:
    """`data` behind its length, followed by zeros, `size` bytes in all; meant to be encrypted afterwards."""
    if len(data) + _LENGTH > size:
        raise MisuseError("the content does not fit its padded size")
    return len(data).to_bytes(_LENGTH) + data + bytes(size - _LENGTH - len(data))


def unpad(padded: bytes) -> bytes:
    """Undo `pad`.  Raises `PeerError` when the length lies or the filling is not zero."""
    length = int.from_bytes(padded[:_LENGTH])
    end = _LENGTH + length
    if len(padded) < _LENGTH or end > len(padded) or any(padded[end:]):
        raise PeerError("bad padding")
    return padded[_LENGTH:end]
