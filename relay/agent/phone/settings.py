"""How the phone-facing side is set up: where it listens, who may register, and every bound."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from relay.core import ConfigurationError
from relay.sip.transaction import Timers


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """All of it is fixed while the agent runs.  Raises `ConfigurationError` for what cannot be used."""

    user: str
    password: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 5060
    """0 lets the operating system choose; `PhoneServer.port` says what it chose."""
    realm: str = "bayonne"
    closed: bool = False
    """Nobody is served: every request is told to come again later."""
    algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    """Offered in this order (RFC 8760 section 2.4: the preferred one first)."""
    max_contacts: int = 4
    max_forks: int = 3
    max_calls: int = 8
    max_transactions: int = 256
    max_connections: int = 16
    message_limit: int = 16384
    """Bytes of one SIP message; no softphone on loopback comes near."""
    write_limit: int = 262144
    """Bytes that may wait to be written to one TCP connection before it is closed."""
    idle_limit: float = 20.0
    """Seconds that half a message may take over TCP before the connection is closed."""
    min_expires: int = 20
    default_expires: int = 300
    max_expires: int = 3600
    ring_limit: float = 180.0
    """Seconds a phone may ring before its leg is cancelled (in place of RFC 3261's Timer C)."""
    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ConfigurationError(
                "softphones are served on loopback only: set the listening address to 127.0.0.1 or ::1"
            )
        if not 0 <= self.port <= 65535:
            raise ConfigurationError("the softphone port is not between 0 and 65535")
        if not self.user or not self.password:
            raise ConfigurationError("the softphone needs a user name and a password")
        if not self.algorithms or not set(self.algorithms) <= {"SHA-256", "MD5"}:
            raise ConfigurationError("digest algorithms are SHA-256 and MD5")


def is_loopback(host: str) -> bool:
    """Whether `host` is the literal of a loopback address; names never are, for none is ever resolved."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
