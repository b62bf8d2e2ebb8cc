"""The key of a role's onion service, in its state directory."""

from pathlib import Path

from relay.core import ConfigurationError
from relay.tor import OnionKey


def read_onion_key(path: Path) -> OnionKey | None:
    """None where there is none yet.  Raises `ConfigurationError`."""
    try:
        return OnionKey.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"state_directory: {path.name} in it cannot be read") from None
