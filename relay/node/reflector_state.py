"""The state directory of a reflector: two key files that only its user can read, and the date of what it told contact
points last, where it tells any.  Nothing about lines is ever in it."""

from pathlib import Path

from relay.core import ConfigurationError, Entropy, PeerError, private_directory, replace_private
from relay.media_reflector import ReflectorKeys
from relay.node.onion_keys import read_onion_key
from relay.tor import OnionKey
from relay.wire import decode, encode

_KEY_LIMIT = 4096
_DATE_FILE = "descriptor.date"
_DATE_SIZE = 8


class ReflectorState:
    """The files beneath one directory, which `prepare` makes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.expanduser().absolute()

    def prepare(self) -> None:
        """Make the directory, private to its owner.  Raises `ConfigurationError`."""
        private_directory(self._directory)

    def keys(self, entropy: Entropy) -> ReflectorKeys:
        """The reflector's keys, made at the first start.  Raises `ConfigurationError` where they are damaged."""
        path = self._directory / "reflector.keys"
        if not path.exists():
            keys = ReflectorKeys.generate(entropy)
            replace_private(path, encode(keys))
            return keys
        try:
            keys = decode(path.read_bytes(), ReflectorKeys, limit=_KEY_LIMIT)
        except PeerError:
            raise ConfigurationError("reflector.keys in the state directory is damaged") from None
        if not keys.valid:
            raise ConfigurationError("reflector.keys in the state directory is damaged")
        return keys

    def onion_key(self) -> OnionKey | None:
        """Raises `ConfigurationError`."""
        return read_onion_key(self._directory / "onion.key")

    def keep_onion_key(self, key: OnionKey) -> None:
        replace_private(self._directory / "onion.key", key.to_bytes())

    def descriptor_date(self) -> int:
        """The date of the last descriptor that contact points were given, Unix seconds; 0 where there is none.

        One that is damaged counts as none: contact points say so where they have a later one.
        """
        try:
            return int.from_bytes((self._directory / _DATE_FILE).read_bytes()[:_DATE_SIZE])
        except OSError:
            return 0

    def keep_descriptor_date(self, date: int) -> None:
        """Raises `OSError`."""
        replace_private(self._directory / _DATE_FILE, date.to_bytes(_DATE_SIZE))

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def ticket_socket(self) -> Path:
        return self._directory / "tickets.sock"
