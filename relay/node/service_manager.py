"""What a service manager is told, and what it keeps for the next start: sd_notify(3), and systemd's descriptor store.

Without one (`NOTIFY_SOCKET` is not set) every method does nothing and nothing is kept.
"""

import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Mapping, MutableMapping

from relay.core import get_logger

_FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_KEPT_LIMIT = 1 << 24
_DIGEST = 32

log = get_logger("service-manager")


class ServiceManager:
    """The notification socket, and the memory files (memfd_create(2)) that the manager holds while we are restarted.

    Each piece of memory has a name.  It is handed over once; later writes go into the same memory, so that the manager
    never has an old one beside the new.
    """

    def __init__(self, address: str = "", held: Mapping[str, int] | None = None) -> None:
        self._address = address
        self._held = dict(held or {})
        """Descriptors by name: of memory that the manager holds too."""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], pid: int) -> "ServiceManager":
        """Takes the variables out of `environment`: tor, our child, would answer to them in our place."""
        address = environment.pop("NOTIFY_SOCKET", "")
        meant = environment.pop("LISTEN_PID", "") == str(pid)
        count = environment.pop("LISTEN_FDS", "")
        names = environment.pop("LISTEN_FDNAMES", "").split(":")
        held: dict[str, int] = {}
        if meant and count.isascii() and count.isdigit():
            for number in range(min(int(count), len(names))):
                _take(held, names[number], _FIRST_DESCRIPTOR + number)
        return cls(address, held)

    @property
    def present(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Start-up, or reading the configuration anew, is over."""
        self._notify(f"READY=1\nSTATUS={status}")

    def reloading(self, monotonic: float) -> None:
        """Follow with `ready`.  `monotonic` is the time now, which Type=notify-reload asks for."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1_000_000)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; never a count that could show a call."""
        self._notify(f"STATUS={text}")

    def stopping(self) -> None:
        """We end by ourselves, now: from here on the manager counts its stop timeout."""
        self._notify("STOPPING=1")

    def kept(self, name: str) -> bytes | None:
        """What an earlier process left under `name`."""
        if name not in self._held:
            return None
        try:
            content = os.pread(self._held[name], _DIGEST + _KEPT_LIMIT, 0)
        except OSError:
            return None
        data = content[_DIGEST:]
        return data if hashlib.sha256(data).digest() == content[:_DIGEST] else None

    def keep(self, name: str, data: bytes) -> bool:
        """Have `data` outlive this process, in memory alone.  False where nobody would hold it."""
        if not self._address or len(data) > _KEPT_LIMIT:
            return False
        # A process that is killed while it writes leaves what the digest does not fit: then nothing is kept.
        content = hashlib.sha256(data).digest() + data
        if name in self._held:
            return _overwrite(self._held[name], content)
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        # FDPOLL=0: memory never hangs up; there is nothing that the manager could watch.
        if _overwrite(descriptor, content) and self._notify(
            f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", descriptor
        ):
            self._held[name] = descriptor
            return True
        os.close(descriptor)
        return False

    def _notify(self, text: str, *descriptors: int) -> bool:
        if not self._address:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                # A manager that does not read must not hold up the reflector.
                out.setblocking(False)
                out.connect(address)
                socket.send_fds(out, [text.encode()], descriptors)
        except OSError as error:
            log.warning("the service manager cannot be told", why=error.strerror)
            return False
        return True


def _take(held: dict[str, int], name: str, descriptor: int) -> None:
    """Take over one descriptor that the manager passed to us; what is no memory of ours is closed."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        if name and name not in held and stat.S_ISREG(os.fstat(descriptor).st_mode):
            held[name] = descriptor
        else:
            os.close(descriptor)
    except OSError:
        log.warning("the service manager promised a descriptor that is not there")


def _overwrite(descriptor: int, content: bytes) -> bool:
    """In place, and without a rest of what was there: keys that were given up must be gone."""
    try:
        os.ftruncate(descriptor, len(content))
        return os.pwrite(descriptor, content, 0) == len(content)
    except OSError:
        return False
