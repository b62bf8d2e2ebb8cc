"""The configuration of `bayonne contact-point`."""

from pathlib import Path

import msgspec

from relay.core import ConfigurationError
from relay.forward_publish import ContactPointLimits
from relay.tor import TorSettings
from relay.wire import is_onion

MOST_SEEDS = 64


class ContactPointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The TOML file of `bayonne contact-point`.

    `database` is an SQLAlchemy URL; empty: SQLite in the state directory.  `peers` are the onion names of other contact
    points to pull from, the seeds from which more are learned.
    """

    state_directory: str
    database: str = ""
    peers: tuple[str, ...] = ()
    tor: TorSettings = msgspec.field(default_factory=TorSettings)
    limits: ContactPointLimits = msgspec.field(default_factory=ContactPointLimits)

    def check(self) -> None:
        """What types alone cannot say.  Raises `ConfigurationError` that names the key."""
        if not self.state_directory:
            raise ConfigurationError("state_directory: must name a directory")
        if len(self.peers) > MOST_SEEDS or not all(map(is_onion, self.peers)):
            raise ConfigurationError("peers: at most 64 onion names of 56 characters, without '.onion'")
        for name in self.limits.__struct_fields__:
            if getattr(self.limits, name) <= 0:
                raise ConfigurationError(f"limits.{name}: must be greater than 0")
        if self.limits.tokens_per_flow > 8:
            raise ConfigurationError("limits.tokens_per_flow: at most 8, or one flow would tell too much")

    @property
    def directory(self) -> Path:
        return Path(self.state_directory).expanduser()
