"""The native data plane, behind the library that `build` makes of native/*.rs: bytes packed, sizes checked.

Every call releases the interpreter's lock, and takes locks of the library for about a microsecond at most.
"""

import ctypes
import socket
import struct
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from relay.core import MisuseError, TransportUnavailable
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    ADDRESS_SIZE,
    Address,
    ControlReceived,
    Datagram,
    DownKeys,
    Elsewhere,
    Expired,
    Stranger,
    Upcall,
    UpKeys,
)
from relay.media_reflector.forwarding.library import TEXT_SIZE, shared_library
from relay.rtp.cell import BODY_SIZE, CELL_SIZE

_pack_up = struct.Struct("!I16s12s").pack
_pack_down = struct.Struct("!I16s12sHII").pack
_pack_arrival = struct.Struct(f"!{ADDRESS_SIZE}sH").pack
_departures = struct.Struct(f"!{ADDRESS_SIZE}s{CELL_SIZE}s").iter_unpack
_upcall = struct.Struct(f"!B?Q{ADDRESS_SIZE}sH")

_UPCALLS_SIZE = face.MAX_UPCALLS * (_upcall.size + CELL_SIZE)

_Counts = ctypes.c_uint64 * len(face.COUNTERS)


class NativeForwarding:
    """One data plane (`Forwarding`).  Raises `TransportUnavailable` when the library or libcrypto is not there."""

    name = "native"

    def __init__(self) -> None:
        self._native = shared_library()
        error = ctypes.create_string_buffer(TEXT_SIZE)
        self._handle = self._native.forwarding_new(error, len(error) - 1)
        if not self._handle:
            raise TransportUnavailable(f"the native data plane does not start: {error.value.decode()}")
        # Workers end with the data plane, whoever forgets to stop them.
        self._close = weakref.finalize(self, self._native.forwarding_free, self._handle)
        self._sockets: list[socket.socket] = []

    # Lines.

    def add_line(self, slot: int, up: UpKeys, now: float) -> int | None:
        return self._native.forwarding_add_line(self._handle, slot % face.SLOTS, _up(up), now) or None

    def prepare(self, line: int, up: UpKeys | None) -> bool:
        return self._done("prepare", line, None if up is None else _up(up))

    def settle(self, line: int, down: DownKeys | None, address: Address, *, advance: bool) -> bool:
        _check(address, ADDRESS_SIZE, "an address")
        return self._done("settle", line, None if down is None else _down(down), address, advance)

    def cross(self, one: int, other: int) -> bool:
        return self._done("cross", one, other)

    def uncross(self, line: int) -> bool:
        return self._done("uncross", line)

    def control(self, line: int, body: bytes) -> bool:
        return self._done("control", line, _check(body, BODY_SIZE, "a control body"))

    def remove(self, line: int) -> bool:
        return self._done("remove", line)

    @property
    def lines(self) -> int:
        return int(self._native.forwarding_lines(self._handle))

    # Strangers.

    def send(self, slot: int, datagram: bytes, address: Address) -> bool:
        _check(datagram, CELL_SIZE, "a single datagram")
        return self._done("send", slot % face.SLOTS, datagram, _check(address, ADDRESS_SIZE, "an address"))

    def permit(self, ticket_id: bytes) -> None:
        self._native.forwarding_permit(
            self._handle, _check(ticket_id, face.TICKET_ID_SIZE, "a ticket's number")
        )

    def forbid(self, ticket_id: bytes) -> None:
        self._native.forwarding_forbid(
            self._handle, _check(ticket_id, face.TICKET_ID_SIZE, "a ticket's number")
        )

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        if len(own) + len(left) > face.MAX_CHECK_KEYS:
            raise MisuseError(f"at most {face.MAX_CHECK_KEYS} check keys")
        packed = b"".join(_check(key, face.CHECK_KEY_SIZE, "a check key") for key in (*own, *left))
        self._native.forwarding_check_keys(self._handle, packed, len(packed), len(own))

    # What comes out.

    def upcalls(self) -> list[Upcall]:
        return list(_unpack_upcalls(self._read("upcalls", _UPCALLS_SIZE)))

    def counters(self) -> dict[str, int]:
        counts = _Counts()
        self._native.forwarding_counters(self._handle, counts)
        return dict(zip(face.COUNTERS, counts, strict=True))

    # Cells.

    def receive(self, datagrams: Sequence[Datagram], now: float) -> None:
        packed = b"".join(
            _pack_arrival(_check(source, ADDRESS_SIZE, "an address"), len(datagram)) + datagram
            for datagram, source in datagrams
        )
        if not self._native.forwarding_receive(self._handle, packed, len(packed), now):
            raise MisuseError("datagrams that do not end where they say")

    def slot(self, number: int, now: float) -> list[Datagram]:
        size = self._native.forwarding_slot(self._handle, number, now)
        return [(cell, address) for address, cell in _departures(self._read("departures", size))]

    # Sockets.

    def start(self, sockets: Sequence[Sequence[socket.socket]]) -> int:
        if self._sockets:
            raise MisuseError("this data plane runs already")
        if not sockets or not all(sockets):
            raise MisuseError("a worker without a socket")
        kept = [one for group in sockets for one in group]
        numbers = [
            number
            for worker, group in enumerate(sockets)
            for one in group
            for number in (worker, one.fileno(), one.family)
        ]
        error = ctypes.create_string_buffer(TEXT_SIZE)
        packed = (ctypes.c_int * len(numbers))(*numbers)
        descriptor = int(
            self._native.forwarding_start(self._handle, packed, len(kept), error, len(error) - 1)
        )
        if descriptor < 0:
            raise TransportUnavailable(f"the native data plane does not start: {error.value.decode()}")
        self._sockets = kept
        return descriptor

    def stop(self) -> None:
        self._native.forwarding_stop(self._handle)
        self._sockets = []

    def _done(self, name: str, *arguments: Any) -> bool:
        return bool(getattr(self._native, f"forwarding_{name}")(self._handle, *arguments))

    def _read(self, name: str, size: int) -> bytes:
        packed = ctypes.create_string_buffer(size)
        filled = getattr(self._native, f"forwarding_{name}")(self._handle, packed, size)
        return packed.raw[:filled]


def _check(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise MisuseError(f"{what} has {size} bytes")
    return value


def _up(keys: UpKeys) -> bytes:
    _check(keys.key, 16, "a key"), _check(keys.salt, 12, "a salt")
    return _pack_up(keys.ssrc, keys.key, keys.salt)


def _down(keys: DownKeys) -> bytes:
    _check(keys.key, 16, "a key"), _check(keys.salt, 12, "a salt")
    return _pack_down(
        keys.ssrc, keys.key, keys.salt, keys.sequence_number, keys.timestamp, keys.rollover_counter
    )


def _unpack_upcalls(packed: bytes) -> Iterator[Upcall]:
    at = 0
    while at < len(packed):
        kind, following, line, source, size = _upcall.unpack_from(packed, at)
        at += _upcall.size
        data = packed[at : at + size]
        at += size
        match kind:
            case 0:
                yield Stranger(data, source)
            case 1:
                yield ControlReceived(line, data)
            case 2:
                yield Elsewhere(line, following, data, source)
            case _:
                yield Expired(line)
