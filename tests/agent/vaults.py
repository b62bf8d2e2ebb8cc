"""Vaults whose passphrase costs nothing to try."""

from pathlib import Path

from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_directory import VaultDirectory
from relay.core import SystemEntropy
from relay.identity.vault import Cost

CHEAP = Cost(memory=32, passes=1, lanes=1)
PASSPHRASE = bytearray(b"correct horse battery staple")
ENTROPY = SystemEntropy()


def directory_of(state_directory: Path) -> VaultDirectory:
    return VaultDirectory(state_directory, ENTROPY, CHEAP)


def new_vault(state_directory: Path) -> SealedFiles:
    return directory_of(state_directory).create(PASSPHRASE)


def flip(path: Path, position: int = 40) -> None:
    """Damage one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1
    path.write_bytes(content)


def everything_in(place: Path) -> bytes:
    """All that stands in files beneath, and their names."""
    found = sorted(place.rglob("*"))
    contents = [path.read_bytes() for path in found if path.is_file()]
    return b"\n".join([*(path.name.encode() for path in found), *contents])
