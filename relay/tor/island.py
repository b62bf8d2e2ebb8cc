"""An island: a private network whose relays run at an address that other machines reach.

The host writes `island.json`; with that file alone another machine's Tor finds the authority, and from it everything
else.  What the file says goes into a torrc, so that every field is checked to be what it is called.
"""

import ipaddress
import re
import socket
from pathlib import Path

import msgspec

from relay.core import ConfigurationError, PeerError
from relay.tor.network_file import NetworkFile
from relay.tor.supervision import CLAIM_FILE
from relay.wire import UNREADABLE

ISLAND_FILE = "island.json"

_VERSION = 1
_LIMIT = 4096
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_NICKNAME = re.compile(r"[a-z0-9]{1,19}")


class IslandFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The authority of an island, and how many relays there are besides it."""

    version: int
    nickname: str
    address: str
    or_port: int
    directory_port: int
    v3ident: str
    fingerprint: str
    relays: int

    @classmethod
    def of(
        cls,
        *,
        nickname: str,
        address: str,
        or_port: int,
        directory_port: int,
        v3ident: str,
        fingerprint: str,
        relays: int,
    ) -> "IslandFile":
        return cls(_VERSION, nickname, address, or_port, directory_port, v3ident, fingerprint, relays)

    @classmethod
    def parse(cls, data: bytes) -> "IslandFile":
        """Raises `PeerError`: the file came from somebody else."""
        if len(data) > _LIMIT:
            raise PeerError("oversized")
        try:
            island = msgspec.json.decode(data, type=cls)
        except UNREADABLE:
            raise PeerError("bad island file") from None
        ports = island.or_port, island.directory_port
        good = (
            island.version == _VERSION
            and _NICKNAME.fullmatch(island.nickname)
            and all(0 < port < 65536 for port in ports)
            and _FINGERPRINT.fullmatch(island.v3ident)
            and _FINGERPRINT.fullmatch(island.fingerprint)
            and 3 <= island.relays <= 1000
        )
        if not good or not _is_unicast(island.address):
            raise PeerError("bad island file")
        return island

    @property
    def authority_line(self) -> str:
        """For a torrc."""
        return (
            f"DirAuthority {self.nickname} orport={self.or_port} no-v2 v3ident={self.v3ident} "
            f"{self.address}:{self.directory_port} {self.fingerprint}"
        )

    def write(self, directory: Path) -> None:
        temporary = directory / f".{ISLAND_FILE}"
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
        temporary.rename(directory / ISLAND_FILE)

    def join(self, directory: Path, now: float) -> NetworkFile:
        """Make `directory` one for `tor.network_directory`.  Raises `ConfigurationError`."""
        if (directory / CLAIM_FILE).exists():
            raise ConfigurationError(
                f"'{directory.name}' holds a network of this machine; choose another directory"
            )
        network = NetworkFile(
            authority=self.authority_line,
            seed="",
            directory_host=self.address,
            directory_port=self.directory_port,
            relays=self.relays,
            supervisor=None,
            members={},
            started_at=now,
            island=True,
        )
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            network.write(directory)
        except OSError as error:
            raise ConfigurationError(f"'{directory.name}' cannot be used: {error.strerror}") from None
        return network


def kept_island(directory: Path, address: str) -> IslandFile | None:
    """The island that `directory` held before, where it was at `address`: whoever joined it finds it again."""
    try:
        island = IslandFile.parse((directory / ISLAND_FILE).read_bytes())
    except (OSError, PeerError):
        return None
    return island if island.address == address else None


def check_address(address: str) -> None:
    """Raises `ConfigurationError` where relays cannot listen at `address`, or nobody could reach them there."""
    if not _is_unicast(address):
        raise ConfigurationError(
            "--address: must be an IPv4 address of this machine that the others reach, such as 192.168.1.5"
        )
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            raise ConfigurationError(
                "--address: is no address of this machine; 'ip address' shows them"
            ) from None


def anonymity_note(network: NetworkFile) -> str:
    """One sentence on how few relays there are, and what that means."""
    relays = network.relays + 1
    return (
        f"This island has {relays} relays, all on one machine: whoever runs or watches that machine can find out who "
        "calls whom, so it keeps you talking but hides you from nobody there; voice stays sealed from end to end."
    )


def _is_unicast(address: str) -> bool:
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (
        parsed.is_unspecified or parsed.is_multicast or parsed == ipaddress.IPv4Address("255.255.255.255")
    )
