"""Many datagrams in one call to the kernel, recvmmsg(2) and sendmmsg(2), from Python.

The kernel reads and writes numpy arrays that are made once; addresses of a whole batch are turned round by a handful of
array operations, so that what is left per datagram is the making of its bytes.
"""

import ctypes
import errno
import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relay.media_reflector.forwarding.face import ADDRESS_SIZE, Datagram
from relay.rtp.cell import CELL_SIZE

_RECEIVED = 128
"""Datagrams taken in one call at most."""
_SENT = 256
"""Datagrams for which there is room at first; more is made when more leave at once."""

_NAME_SIZE = 28
_BUFFER_SIZE = CELL_SIZE + 16
_TOO_LONG = CELL_SIZE + 1
"""Bytes that the kernel may write of one datagram: one more than a cell tells that it is none."""

Bytes = NDArray[np.uint8]


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("size", ctypes.c_uint))


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.recvmmsg.argtypes = (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_void_p,
    )
    library.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    return library


_libc = _load()


class _Batch:
    """Room for `count` datagrams and their socket addresses, and the messages that name it to the kernel."""

    def __init__(self, count: int, stride: int, size: int) -> None:
        self.count = count
        self.datagrams: Bytes = np.zeros((count, stride), np.uint8)
        self.names: Bytes = np.zeros((count, _NAME_SIZE), np.uint8)
        rows = np.arange(count, dtype=np.uintp)
        self._vectors = np.zeros(count, np.dtype(_Vector))
        self._vectors["base"] = self.datagrams.ctypes.data + rows * stride
        self._vectors["size"] = size
        self.messages = np.zeros(count, np.dtype(_Message))
        self.headers = self.messages["header"]
        self.headers["name"] = self.names.ctypes.data + rows * _NAME_SIZE
        self.headers["vectors"] = self._vectors.ctypes.data + rows * self._vectors.itemsize
        self.headers["vector_count"] = 1
        self.place: int = self.messages.ctypes.data
        self.step: int = self.messages.itemsize


class DatagramSocket:
    """One UDP socket.  Nothing here blocks."""

    most = _RECEIVED
    """Datagrams that `receive` gives at most."""

    def __init__(self, wrapped: socket.socket) -> None:
        self._descriptor = wrapped.fileno()
        self.is_ipv4 = wrapped.family == socket.AF_INET
        # struct sockaddr_in and sockaddr_in6: family 2, port 2, then the address, or flow information and address.
        self._name_size = 16 if self.is_ipv4 else _NAME_SIZE
        self._in_name = slice(4, 8) if self.is_ipv4 else slice(8, 24)
        self._in_address = slice(12, 16) if self.is_ipv4 else slice(0, 16)
        self._family = int(wrapped.family).to_bytes(2, "little" if np.little_endian else "big")
        self._incoming = _Batch(_RECEIVED, _BUFFER_SIZE, _TOO_LONG)
        # A row as one value: a list of bytes comes out of it in one call.
        row = np.dtype({"names": ["cell"], "formats": [f"V{CELL_SIZE}"], "itemsize": _BUFFER_SIZE})
        self._cells = self._incoming.datagrams.view(row)["cell"][:, 0]
        self._name_sizes = self._incoming.headers["name_size"]
        self._sizes = self._incoming.messages["size"]
        self._sources: Bytes = np.zeros((_RECEIVED, ADDRESS_SIZE), np.uint8)
        if self.is_ipv4:
            self._sources[:, 10:12] = 0xFF
        self._source_rows = self._sources.view(f"V{ADDRESS_SIZE}")[:, 0]
        self._outgoing = self._room(_SENT)
        self._ready = 0

    def receive(self) -> Sequence[Datagram]:
        """What the kernel has, at most `most`; a datagram longer than a cell is cut after one byte more.

        Raises `OSError` for an error that came in instead of a datagram.
        """
        self._name_sizes[:] = _NAME_SIZE
        count = _libc.recvmmsg(self._descriptor, self._incoming.place, _RECEIVED, socket.MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.EINTR):
                return ()
            raise OSError(error, "recvmmsg")
        names, sources = self._incoming.names[:count], self._sources[:count]
        sources[:, self._in_address] = names[:, self._in_name]
        sources[:, 16:18] = names[:, 2:4]
        return list(zip(self._datagrams(count), self._source_rows[:count].tolist(), strict=True))

    def _datagrams(self, count: int) -> list[bytes]:
        cells: list[bytes] = self._cells[:count].tolist()
        sizes = self._sizes[:count]
        for at in np.flatnonzero(sizes != CELL_SIZE).tolist():
            cells[at] = self._incoming.datagrams[at, : sizes[at]].tobytes()
        return cells

    def fill(self, datagrams: Sequence[Datagram]) -> None:
        """Make these datagrams, all of `CELL_SIZE`, ready for `flush`."""
        self._ready = count = len(datagrams)
        if not count:
            return
        if count > self._outgoing.count:
            self._outgoing = self._room(2 * count)
        cells, destinations = zip(*datagrams, strict=True)
        batch = self._outgoing
        batch.datagrams[:count] = _table(cells, CELL_SIZE)
        addresses = _table(destinations, ADDRESS_SIZE)
        batch.names[:count, self._in_name] = addresses[:, self._in_address]
        batch.names[:count, 2:4] = addresses[:, 16:18]

    def flush(self) -> int:
        """Let everything that is ready leave; how many the kernel refused."""
        done = failed = 0
        batch = self._outgoing
        while done < self._ready:
            sent = _libc.sendmmsg(
                self._descriptor, batch.place + done * batch.step, self._ready - done, socket.MSG_DONTWAIT
            )
            if sent <= 0:
                # The error is of the first one; the others may well leave.
                failed += 1
                sent = 1
            done += sent
        self._ready = 0
        return failed

    def _room(self, count: int) -> _Batch:
        batch = _Batch(count, CELL_SIZE, CELL_SIZE)
        batch.headers["name_size"] = self._name_size
        batch.names[:, 0:2] = list(self._family)
        return batch


def _table(rows: Sequence[bytes], size: int) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)
