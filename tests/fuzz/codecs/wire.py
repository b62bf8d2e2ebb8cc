"""Padding and frames."""

from collections.abc import Iterable

from relay.core import PeerError
from relay.wire import FrameReader, frame, pad, unpad
from tests.fuzz.codec import Codec, same

_SIZE = 64
_LIMIT = 300


def _padding(data: bytes) -> None:
    same(pad(unpad(data), len(data)), data)


def _frames(data: bytes) -> None:
    """However a stream is cut, the same payloads; and they are what was framed."""
    whole, refused = _read([data])
    cut, refused_too = _read([data[at : at + 7] for at in range(0, len(data), 7)])
    same(refused_too, refused)
    if refused:
        raise PeerError("oversized")
    same(cut, whole)
    same(data[: sum(map(len, map(frame, whole)))], b"".join(map(frame, whole)))


def _read(pieces: Iterable[bytes]) -> tuple[list[bytes], bool]:
    reader, payloads = FrameReader(_LIMIT), list[bytes]()
    try:
        for piece in pieces:
            payloads += reader.receive(piece)
            if reader.buffered > _LIMIT + 4:
                raise AssertionError("more is held than the longest frame")
    except PeerError:
        return payloads, True
    return payloads, False


CODECS = (
    Codec("padding", _padding, lambda: [pad(b"content", _SIZE)], longest=_SIZE),
    Codec("frames", _frames, lambda: [frame(b"one") + frame(b"two"), frame(bytes(300))], longest=1000),
)
