"""What a private network leaves on disk for its clients: `network.json`, and the authority's own caches as a seed."""

import shutil
from pathlib import Path

import msgspec

from relay.core import ConfigurationError

NETWORK_FILE = "network.json"
SEED_FILES = ("cached-certs", "cached-microdesc-consensus", "cached-microdescs", "cached-microdescs.new")


class NetworkFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`authority` is a DirAuthority line; `seed` the directory whose caches a client may copy."""

    authority: str
    seed: str
    directory_host: str
    directory_port: int
    relays: int
    supervisor_pid: int
    supervisor_started: str
    started_at: float

    def write(self, directory: Path) -> None:
        temporary = directory / f".{NETWORK_FILE}"
        temporary.write_bytes(msgspec.json.encode(self))
        temporary.rename(directory / NETWORK_FILE)

    @classmethod
    def read(cls, directory: Path) -> "NetworkFile":
        """Raises `ConfigurationError` where no network is."""
        try:
            return msgspec.json.decode((directory / NETWORK_FILE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            raise ConfigurationError(
                "tor.network_directory: no private network runs there; start one with 'bayonne testnet up'"
            ) from None


def network_options(authority: str) -> list[str]:
    """Torrc lines of every member of a private network, client or relay."""
    return [
        "TestingTorNetwork 1",
        authority,
        "PathsNeededToBuildCircuits 0.25",
        # The default scheduler batches for 10 ms and more: 16 to 25 ms a round trip on loopback, against 1 ms.
        "Schedulers Vanilla",
    ]


def seed(network: NetworkFile, data_directory: Path) -> None:
    """Give a client what it would otherwise spend its first half minute fetching."""
    data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in SEED_FILES:
        source = Path(network.seed) / name
        if source.exists():
            shutil.copyfile(source, data_directory / name)
