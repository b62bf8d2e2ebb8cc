"""The state directory of a reflector: two key files that only its user can read.  Nothing about lines is ever in it."""

import os
from pathlib import Path

from relay.core import ConfigurationError, Entropy, PeerError
from relay.media_reflector import ReflectorKeys
from relay.tor import OnionKey
from relay.wire import decode, encode

_KEY_LIMIT = 4096


class ReflectorState:
    """The files beneath one directory, which `prepare` makes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.expanduser().absolute()

    def prepare(self) -> None:
        """Make the directory, private to its owner.  Raises `ConfigurationError`."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
        except OSError as error:
            raise ConfigurationError(
                f"state_directory: cannot be used ({error.strerror}); choose another"
            ) from None

    def keys(self, entropy: Entropy) -> ReflectorKeys:
        """The reflector's keys, made at the first start.  Raises `ConfigurationError` where they are damaged."""
        path = self._directory / "reflector.keys"
        if not path.exists():
            keys = ReflectorKeys.generate(entropy)
            _write_private(path, encode(keys))
            return keys
        try:
            keys = decode(path.read_bytes(), ReflectorKeys, limit=_KEY_LIMIT)
        except PeerError:
            raise ConfigurationError("reflector.keys in the state directory is damaged") from None
        if not keys.valid:
            raise ConfigurationError("reflector.keys in the state directory is damaged")
        return keys

    def onion_key(self) -> OnionKey | None:
        path = self._directory / "onion.key"
        return OnionKey.from_bytes(path.read_bytes()) if path.exists() else None

    def keep_onion_key(self, key: OnionKey) -> None:
        _write_private(self._directory / "onion.key", key.to_bytes())

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def ticket_socket(self) -> Path:
        return self._directory / "tickets.sock"


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
