"""What a private network leaves on disk for its clients: `network.json`, the authority's caches as a seed."""

import shutil
from pathlib import Path

import msgspec

from relay.core import ConfigurationError
from relay.tor.supervision import ProcessIdentity
from relay.wire import UNREADABLE

NETWORK_FILE = "network.json"
SEED_FILES = ("cached-certs", "cached-microdesc-consensus", "cached-microdescs", "cached-microdescs.new")

CIRCUIT_SECONDS = 5
RELAYS_FOR_GUARDS = 20


class NetworkFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network that is up.

    `authority` is a DirAuthority line; `seed` the directory whose caches a client may copy; `members` the tor
    processes by their names; `started_at` Unix time.  Where it runs on another machine, an `island`, there is no
    `supervisor`, no members and no seed, and `started_at` is when it was joined.
    """

    authority: str
    seed: str
    directory_host: str
    directory_port: int
    relays: int
    supervisor: ProcessIdentity | None
    members: dict[str, ProcessIdentity]
    started_at: float
    island: bool = False

    @property
    def running(self) -> bool:
        """Whether who runs it still does: after a crash the file stays behind.  Of another machine's, nobody knows
        here; Tor will tell."""
        return self.supervisor is None or self.supervisor.running

    def write(self, directory: Path) -> None:
        temporary = directory / f".{NETWORK_FILE}"
        temporary.write_bytes(msgspec.json.encode(self))
        temporary.rename(directory / NETWORK_FILE)

    @classmethod
    def read(cls, directory: Path) -> "NetworkFile":
        """Raises `ConfigurationError` where no network is up."""
        try:
            network = msgspec.json.decode((directory / NETWORK_FILE).read_bytes(), type=cls)
        except (OSError, *UNREADABLE):
            network = None
        if network is None or not network.running:
            raise ConfigurationError(
                "tor.network_directory: no private network is up there; start one with 'bayonne testnet up'"
            )
        return network


def network_options(authority: str, relays: int) -> list[str]:
    """Torrc lines of every member of a private network, client or relay; `relays` besides the authority."""
    options = [
        "TestingTorNetwork 1",
        authority,
        "PathsNeededToBuildCircuits 0.25",
        # The default scheduler batches: 16 to 25 ms a round trip on loopback, against 1 ms.
        "Schedulers Vanilla",
        # A circuit on loopback takes milliseconds; one that hangs would hold a client up for a minute.
        "LearnCircuitBuildTimeout 0",
        f"CircuitBuildTimeout {CIRCUIT_SECONDS}",
    ]
    if relays < RELAYS_FOR_GUARDS:
        # With guards an onion circuit may end at the very relay it began with.  Where relays are few that is
        # often the hop it would extend back to, which relays refuse, and each time costs a second.
        options += ["UseEntryGuards 0", "VanguardsLiteEnabled 0"]
    return options


def seed(network: NetworkFile, data_directory: Path) -> None:
    """Give a client what it would otherwise spend its first half minute fetching."""
    data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not network.seed:
        return
    for name in SEED_FILES:
        source = Path(network.seed) / name
        if source.exists():
            shutil.copyfile(source, data_directory / name)
