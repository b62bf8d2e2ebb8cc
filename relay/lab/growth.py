"""When a growing file grew: inotify(7) in a thread of its own, stamped with the monotonic clock.

The softphones write one audio frame per write(2), so a file's growth dates every frame to well under a
millisecond.
"""

import ctypes
import os
import select
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

from relay.core import Clock, TransportUnavailable

_IN_MODIFY = 0x00000002
_IN_CREATE = 0x00000100
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Growth:
    """One file: the times at which it was seen to have grown, and to which size."""

    path: Path
    seen: list[tuple[float, int]] = field(default_factory=list)


class GrowthWatch:
    """Watches every file in one directory until closed."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._files: dict[str, Growth] = {}
        self._lock = threading.Lock()
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watched = _libc.inotify_add_watch(self._descriptor, bytes(directory), _IN_MODIFY | _IN_CREATE)
        if self._descriptor < 0 or watched < 0:
            raise TransportUnavailable(
                "this kernel refuses inotify watches; raise fs.inotify.max_user_instances"
            )
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="growth", daemon=True)
        self._thread.start()

    def files(self) -> list[Growth]:
        """What was seen so far, as copies."""
        with self._lock:
            return [Growth(entry.path, list(entry.seen)) for entry in self._files.values()]

    def close(self) -> None:
        if self._descriptor < 0:
            return
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (self._descriptor, self._wake_read, self._wake_write):
            os.close(descriptor)
        self._descriptor = -1

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._descriptor, self._wake_read], [], [])
            now = self._clock.monotonic()
            if self._wake_read in ready:
                return
            for name in _names(os.read(self._descriptor, 65536)):
                self._note(name, now)

    def _note(self, name: str, now: float) -> None:
        path = self._directory / name
        try:
            size = path.stat().st_size
        except OSError:
            return
        with self._lock:
            entry = self._files.setdefault(name, Growth(path))
            if not entry.seen or size > entry.seen[-1][1]:
                entry.seen.append((now, size))


def _names(events: bytes) -> set[str]:
    """The file names in a buffer of struct inotify_event."""
    names: set[str] = set()
    position = 0
    while position + _EVENT.size <= len(events):
        _, _, _, length = _EVENT.unpack_from(events, position)
        position += _EVENT.size
        name = events[position : position + length].split(b"\0", 1)[0]
        position += length
        if name:
            names.add(name.decode())
    return names
