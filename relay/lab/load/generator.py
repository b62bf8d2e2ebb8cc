"""Many agents' lines from one thread: the native load generator, and what it counted."""

import ctypes
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from relay.core import MisuseError, TransportUnavailable
from relay.lab.load.library import load_library
from relay.lab.load.lines import LINE

JITTER = 0.004
"""Seconds by which a cell leaves its agent before or after its moment, uniformly: a bad home network."""

GRAIN = 110e-6
"""Seconds whose cells leave together, with one system call.  No divisor of the reflector's slots, whose clock agents do
not know."""

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SO_BINDTODEVICE = 25
_BUFFER = 64 << 20
_HALF_BINS = 10_000
_NAMES = (
    "sent",
    "received",
    "skipped",
    "send_failed",
    "foreign",
    "not_authentic",
    "lost",
    "reordered",
    "missed",
    "opened",
    "bodies",
    "bodies_lost",
    "not_stamped",
    "latest",
)


_SUMS = ("count", "x", "y", "xx", "yy", "xy")


class _Pairs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in _SUMS]


class _Tally(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in _NAMES),
        ("crossed", _Pairs),
        ("own", _Pairs),
        ("deviations", ctypes.c_uint64 * (2 * _HALF_BINS + 1)),
    ]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's coefficient of two jitters, each pair of microseconds once; NaN when one of them never varied."""

    sums: NDArray[np.float64]

    @property
    def pairs(self) -> int:
        return int(self.sums[0])

    @property
    def coefficient(self) -> float:
        count, x, y, xx, yy, xy = self.sums
        spread = (count * xx - x * x) * (count * yy - y * y)
        return float((count * xy - x * y) / np.sqrt(spread)) if spread > 0 else float("nan")

    @property
    def standard_error(self) -> float:
        """Of the coefficient, were there no correlation."""
        return float(1 / np.sqrt(self.pairs)) if self.pairs else float("nan")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one generator, or several together, counted since `reset`; see native/tally.rs."""

    values: dict[str, int]
    crossed: Correlation
    own: Correlation
    deviations: NDArray[np.uint64]

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    @classmethod
    def together(cls, parts: "list[Counts]") -> "Counts":
        """Of several generators; the latest departure is the latest of any."""
        values = {name: sum(part.values[name] for part in parts) for name in _NAMES}
        values["latest"] = max(part.values["latest"] for part in parts)
        crossed = Correlation(np.sum([part.crossed.sums for part in parts], axis=0))
        own = Correlation(np.sum([part.own.sums for part in parts], axis=0))
        return cls(values, crossed, own, np.sum([part.deviations for part in parts], axis=0))

    def deviation(self, share: float) -> float:
        """Seconds by which at most `share` of the departures lay beside their slot's edge, either way; NaN of none."""
        either = self.deviations[_HALF_BINS:].copy()
        either[1:] += self.deviations[:_HALF_BINS][::-1]
        if not (total := int(either.sum())):
            return float("nan")
        return float(np.searchsorted(np.cumsum(either), share * total)) / 1e6


def agent_socket() -> socket.socket:
    """A socket that stands for all agents of one generator: any loopback address, and no other interface."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Without the privilege the socket is open to other machines for a minute; what comes from there is no cell of ours.
    with suppress(PermissionError):
        made.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    made.bind(("0.0.0.0", 0))
    return made


class LoadGenerator:
    """All of `lines` (see `relay.lab.load.lines.LINE`) on one socket, which it closes with itself."""

    def __init__(
        self,
        sock: socket.socket,
        lines: NDArray[np.void],
        *,
        jitter: float = JITTER,
        grain: float = GRAIN,
        seed: int = 1,
    ) -> None:
        """Raises `TransportUnavailable` when there is no native library and none can be built."""
        self._library = load_library()
        if lines.dtype != LINE or not len(lines):
            raise MisuseError("a load has lines")
        line_size, tally_size = ctypes.c_size_t(), ctypes.c_size_t()
        self._library.load_sizes(ctypes.byref(line_size), ctypes.byref(tally_size))
        if (line_size.value, tally_size.value) != (LINE.itemsize, ctypes.sizeof(_Tally)):
            raise MisuseError("the load generator's library was built from other sources")
        self._socket = sock
        self._stop = ctypes.c_uint8(0)
        array = np.ascontiguousarray(lines)
        self._load = self._library.load_new(
            sock.fileno(), array.ctypes.data, len(array), round(jitter * 1e9), round(grain * 1e9), seed
        )
        if not self._load:
            raise TransportUnavailable("libcrypto 3.0 or newer is needed to make a load")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything; once is enough, and never while `run` works."""
        if self._load:
            self._library.load_free(self._load)
            self._load = None
            self._socket.close()

    def run(self, start: float, until: float, settled: float) -> None:
        """Send from one monotonic second to another, and receive until `settled`; other Python threads go on."""
        times = (round(moment * 1e9) for moment in (start, until, settled))
        self._library.load_run(self._load, *times, ctypes.byref(self._stop))

    def stop(self) -> None:
        """Let `run` return soon, and every later one at once."""
        self._stop.value = 1

    def reset(self) -> None:
        """Forget all counts; the lines go on.  Never while `run` works."""
        self._library.load_reset(self._load)

    def progress(self) -> tuple[int, int]:
        """Cells sent, and cells that came, so far, also while `run` works.

        A cell that came twice counts twice: the relay had its work with it.
        """
        tally = self._tally()
        return tally.sent, tally.received + tally.reordered

    def counts(self) -> Counts:
        """Everything; exact only when `run` does not work."""
        tally = self._tally()

        def sums(pairs: _Pairs) -> Correlation:
            return Correlation(np.array([getattr(pairs, name) for name in _SUMS], dtype="f8"))

        values = {name: int(getattr(tally, name)) for name in _NAMES}
        deviations = np.array(tally.deviations, dtype="u8")
        return Counts(values, sums(tally.crossed), sums(tally.own), deviations)

    def _tally(self) -> _Tally:
        return _Tally.from_address(self._library.load_tally(self._load))
