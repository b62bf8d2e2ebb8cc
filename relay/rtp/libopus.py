"""Opus by libopus itself (RFC 6716): constant size whatever is said, and recovery of what was lost.

FFmpeg's wrappers, which PyAV offers, neither decode the copy of a lost frame that the next one carries (RFC 6716
section 2.1) nor conceal a loss; libopus does both, so it is called directly: the library in PyAV's wheel, whose
version the lock file fixes, else the system's.  A call costs a fraction of a millisecond and releases the interpreter.
"""

import ctypes
import ctypes.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av

from relay.core import MisuseError, PeerError, TransportUnavailable
from relay.rtp.opus import BIT_RATE, FRAME_SIZE

FRAMES_PER_SECOND = 50
RATES = (8_000, 16_000, 48_000)
"""Samples a second at which libopus takes and gives sound here: G.711's, G.722's and its own."""

EXPECTED_LOSS = 5
"""Per cent of frames that the encoder is told to expect lost: see docs/adr/0011-audio.md."""
LONGEST_FRAME = 6
"""Ticks in the longest frame that a peer may send: 120 ms (RFC 6716 section 3.2.5)."""

_VOIP = 2048
_SET_BITRATE, _SET_VBR, _SET_COMPLEXITY, _SET_INBAND_FEC = 4002, 4006, 4010, 4012
_SET_PACKET_LOSS_PERC, _SET_DTX, _SET_SIGNAL = 4014, 4016, 4024
_SIGNAL_VOICE = 3001
_COMPLEXITY = 9
_LARGEST_PACKET = 1275


def _candidates() -> Iterator[str]:
    for bundled in sorted(Path(av.__file__).parents[1].glob("av.libs/libopus*.so*")):
        yield str(bundled)
    found = ctypes.util.find_library("opus")
    if found is not None:
        yield found
    yield "libopus.so.0"


@cache
def library() -> ctypes.CDLL:
    """libopus, declared.  Raises `TransportUnavailable` where there is none."""
    for path in _candidates():
        try:
            found = ctypes.CDLL(path)
            _declare(found)
        except (OSError, AttributeError):
            continue
        return found
    raise TransportUnavailable("libopus is not there; install the package libopus0")


def version() -> str:
    """What the library calls itself."""
    text: bytes = library().opus_get_version_string()
    return text.decode(errors="replace")


class OpusEncoder:
    """20 ms of mono sound in, 60 bytes out, always: constant rate, no DTX, no voice activity detection (RFC 6562).

    `recoverable` puts a coarse copy of each frame into the next where the library finds that worth its bits.  `leaky`
    is the control that tests must catch: variable rate and DTX.
    """

    def __init__(
        self, rate: int, *, recoverable: bool = True, loss: int = EXPECTED_LOSS, leaky: bool = False
    ) -> None:
        self._library = library()
        self._samples = _samples(rate)
        error = ctypes.c_int()
        self._state = self._library.opus_encoder_create(rate, 1, _VOIP, ctypes.byref(error))
        if not self._state:
            raise MisuseError("libopus makes no encoder of this kind")
        for request, value in (
            (_SET_BITRATE, BIT_RATE),
            (_SET_VBR, int(leaky)),
            (_SET_DTX, int(leaky)),
            (_SET_SIGNAL, _SIGNAL_VOICE),
            (_SET_COMPLEXITY, _COMPLEXITY),
            (_SET_INBAND_FEC, int(recoverable)),
            (_SET_PACKET_LOSS_PERC, loss if recoverable else 0),
        ):
            if self._library.opus_encoder_ctl(self._state, request, ctypes.c_int(value)):
                raise MisuseError("libopus refuses a setting")
        self._size = _LARGEST_PACKET if leaky else FRAME_SIZE
        self._room = ctypes.create_string_buffer(self._size)

    def encode(self, pcm: bytes) -> bytes:
        """`pcm` is 20 ms of little-endian 16-bit samples.  Raises `MisuseError` for any other length."""
        if len(pcm) != 2 * self._samples:
            raise MisuseError("not 20 ms of sound")
        size = self._library.opus_encode(self._state, pcm, self._samples, self._room, self._size)
        if size < 0:
            raise MisuseError("libopus does not encode")
        return self._room.raw[:size]

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_encoder_destroy(self._state)


class OpusDecoder:
    """Frames of any Opus stream in their order, to mono sound at `rate`; what never came is recovered or guessed."""

    def __init__(self, rate: int) -> None:
        self._library = library()
        self._samples = _samples(rate)
        error = ctypes.c_int()
        self._state = self._library.opus_decoder_create(rate, 1, ctypes.byref(error))
        if not self._state:
            raise MisuseError("libopus makes no decoder of this kind")
        self._room = (ctypes.c_int16 * (LONGEST_FRAME * self._samples))()

    def decode(self, frame: bytes) -> bytes:
        """The sound of one frame, as long as it is.  Raises `PeerError` for what is no Opus."""
        if not 0 < len(frame) <= _LARGEST_PACKET:
            raise PeerError("not Opus", "RFC 6716 section 3.4")
        return self._decode(frame, LONGEST_FRAME * self._samples, recover=False)

    def recover(self, following: bytes) -> bytes:
        """20 ms that were lost, out of the frame that follows them: its copy, or a guess where it carries none."""
        if not 0 < len(following) <= _LARGEST_PACKET:
            raise PeerError("not Opus", "RFC 6716 section 3.4")
        return self._decode(following, self._samples, recover=True)

    def conceal(self) -> bytes:
        """20 ms that were lost, guessed; silence after some of them."""
        return self._decode(None, self._samples, recover=False)

    def _decode(self, frame: bytes | None, room: int, *, recover: bool) -> bytes:
        size = 0 if frame is None else len(frame)
        count = self._library.opus_decode(self._state, frame, size, self._room, room, int(recover))
        if count < 0:
            raise PeerError("not Opus", "RFC 6716 section 3.4")
        return bytes(self._room)[: 2 * count]

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_decoder_destroy(self._state)


def _samples(rate: int) -> int:
    if rate not in RATES:
        raise MisuseError("a rate that no telephone here has")
    return rate // FRAMES_PER_SECOND


def _declare(found: ctypes.CDLL) -> None:
    state, data, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    error = ctypes.POINTER(ctypes.c_int)
    samples = ctypes.POINTER(ctypes.c_int16)
    for name, result, *arguments in (
        ("opus_get_version_string", ctypes.c_char_p),
        ("opus_encoder_create", state, number, ctypes.c_int, ctypes.c_int, error),
        ("opus_encoder_destroy", None, state),
        ("opus_encode", number, state, data, ctypes.c_int, data, number),
        ("opus_decoder_create", state, number, ctypes.c_int, error),
        ("opus_decoder_destroy", None, state),
        ("opus_decode", ctypes.c_int, state, data, number, samples, ctypes.c_int, ctypes.c_int),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    # Variadic: what follows the request is given its type at each call.
    found.opus_encoder_ctl.restype = ctypes.c_int
    found.opus_encoder_ctl.argtypes = [state, ctypes.c_int]
