"""The configuration of a reflector: what an operator may set, and what can change while it runs."""

import ipaddress
from typing import Literal

import msgspec

from relay.core import ConfigurationError, MisuseError
from relay.media_reflector import ReflectorReference
from relay.media_reflector.trunk_handshake import MAX_SLOTS
from relay.tor import TorSettings
from relay.wire import is_onion

LogLevel = Literal["debug", "info", "warning", "error"]
DataPlane = Literal["auto", "native", "plain"]

MOST_WORKERS = 4
"""Workers when the operator leaves their number to us: the cores of a small server; more are asked for by number."""
MOST_TRUNK_SLOTS = MAX_SLOTS
MOST_CONTACT_POINTS = 16

AT_RUN_TIME = (
    "capacity",
    "udp_advertise",
    "drain_limit",
    "backup",
    "peers",
    "trunks",
    "contact_points",
    "log_level",
)
"""The keys that a reflector takes anew at SIGHUP; all others belong to sockets, threads and files that it holds."""

_WORKER_LIMIT = 64


class TrunkSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One table `[[trunks]]`: the reflector at the other end, and how many slots the trunk has.  Both ends list each
    other."""

    reference: str
    slots: int


class ReflectorSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The configuration file of a reflector; ops/config/reflector.toml explains each key."""

    state_directory: str
    udp_listen: str | tuple[str, ...] = "127.0.0.1:7210"
    udp_advertise: str | tuple[str, ...] = ""
    capacity: int = 1000
    workers: int = 0
    data_plane: DataPlane = "auto"
    drain_limit: float = 7200.0
    backup: str = ""
    peers: tuple[str, ...] = ()
    contact_points: tuple[str, ...] = ()
    log_level: LogLevel = "info"
    tor: TorSettings = msgspec.field(default_factory=TorSettings)
    trunks: tuple[TrunkSettings, ...] = ()

    def check(self) -> None:
        """What types alone cannot say.  Raises `ConfigurationError` that names the key."""
        if not self.state_directory:
            raise ConfigurationError("state_directory: must name a directory")
        self._check_addresses()
        if not 2 <= self.capacity <= 100_000:
            raise ConfigurationError("capacity: 2 to 100000 lines")
        if not 0 <= self.workers <= _WORKER_LIMIT:
            raise ConfigurationError(
                f"workers: 0 to {_WORKER_LIMIT}; 0 is one for each core, {MOST_WORKERS} at most"
            )
        if not 0.0 <= self.drain_limit <= 86400.0:
            raise ConfigurationError("drain_limit: 0 to 86400 seconds")
        self._check_others()

    @property
    def listens(self) -> list[tuple[str, int]]:
        """The addresses to bind: one, or one of IPv4 and one of IPv6.  Raises `ConfigurationError`."""
        return _addresses(self.udp_listen, "udp_listen", lowest_port=0)

    @property
    def advertised(self) -> list[tuple[str, int]]:
        """The addresses that agents are told; none where they are those that get bound."""
        return _addresses(self.udp_advertise, "udp_advertise", lowest_port=1)

    @property
    def backup_reference(self) -> ReflectorReference | None:
        """The reflector that takes this one's lines when it is gone."""
        return _reference(self.backup, "backup") if self.backup else None

    @property
    def trunk_references(self) -> list[tuple[ReflectorReference, int]]:
        """(the reflector at the other end, slots) of each trunk."""
        return [(_reference(trunk.reference, "trunks"), trunk.slots) for trunk in self.trunks]

    @property
    def peer_identities(self) -> frozenset[bytes]:
        """Whose requests this reflector takes as another reflector's: `peers`, and the ends of its trunks."""
        references = [_reference(text, "peers") for text in self.peers]
        references += [reference for reference, _ in self.trunk_references]
        return frozenset(reference.identity for reference in references)

    def worker_count(self, cores: int) -> int:
        """How many workers to run on a machine that gives us `cores`."""
        return self.workers or max(1, min(MOST_WORKERS, cores))

    def _check_addresses(self) -> None:
        listens, advertised = self.listens, self.advertised
        if not listens:
            raise ConfigurationError("udp_listen: at least one address is needed")
        heard = {ipaddress.ip_address(host).version for host, _ in listens}
        for host, _ in advertised:
            address = ipaddress.ip_address(host)
            if address.is_unspecified or address.is_multicast:
                raise ConfigurationError("udp_advertise: must be the address of one machine")
            if address.version not in heard:
                raise ConfigurationError(
                    f"udp_advertise: nothing listens on IPv{address.version}; add an address to udp_listen"
                )
        if not advertised and any(ipaddress.ip_address(host).is_unspecified for host, _ in listens):
            raise ConfigurationError("udp_advertise: needed, because udp_listen is not one address")

    def _check_others(self) -> None:
        """The other reflectors: every reference that is there can be read."""
        _ = self.backup_reference, self.peer_identities
        ends = {reference.identity for reference, _ in self.trunk_references}
        if len(ends) < len(self.trunks):
            raise ConfigurationError("trunks: two of them lead to the same reflector; keep one")
        if any(not 1 <= trunk.slots <= MOST_TRUNK_SLOTS for trunk in self.trunks):
            raise ConfigurationError(f"trunks.slots: 1 to {MOST_TRUNK_SLOTS}")
        self._check_contact_points()

    def _check_contact_points(self) -> None:
        if len(self.contact_points) > MOST_CONTACT_POINTS:
            raise ConfigurationError(
                f"contact_points: at most {MOST_CONTACT_POINTS}; they hand your descriptor on to one another"
            )
        if len(set(self.contact_points)) < len(self.contact_points):
            raise ConfigurationError("contact_points: one of them is named twice")
        if not all(is_onion(onion) for onion in self.contact_points):
            raise ConfigurationError(
                "contact_points: an onion name has 56 characters, small letters and digits, without '.onion'"
            )


def taken_over(
    running: ReflectorSettings, read: ReflectorSettings
) -> tuple[ReflectorSettings, list[str], list[str]]:
    """What `read` from the file changes in a `running` reflector.

    The settings from now on, the keys that changed, and the keys that differ and wait for a restart.
    """
    different = [name for name in read.__struct_fields__ if getattr(read, name) != getattr(running, name)]
    now = {name: getattr(read, name) for name in different if name in AT_RUN_TIME}
    return msgspec.structs.replace(running, **now), list(now), [name for name in different if name not in now]


def split_address(text: str, key: str, *, lowest_port: int = 0) -> tuple[str, int]:
    """Address and port of "192.0.2.1:7210" or "[2001:db8::1]:7210".  Raises `ConfigurationError`."""
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        if not (len(port) < 6 and port.isascii() and port.isdigit() and lowest_port <= int(port) < 65536):
            raise ValueError
    except ValueError:
        raise ConfigurationError(f'{key}: an address and a port, as in "192.0.2.1:7210"') from None
    return host, int(port)


def _addresses(value: str | tuple[str, ...], key: str, *, lowest_port: int) -> list[tuple[str, int]]:
    """`value` is one address, a list of them, or (from the environment) several between commas."""
    texts = value.split(",") if isinstance(value, str) else value
    found = [split_address(text, key, lowest_port=lowest_port) for text in texts if text.strip()]
    if len({ipaddress.ip_address(host).version for host, _ in found}) < len(found):
        raise ConfigurationError(f"{key}: one address, or one of IPv4 and one of IPv6")
    return found


def _reference(text: str, key: str) -> ReflectorReference:
    try:
        return ReflectorReference.parse(text)
    except MisuseError as error:
        raise ConfigurationError(f"{key}: {error}") from None
