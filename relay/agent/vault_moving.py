"""Into a vault, and from one machine to another: how a vault as a whole comes to be."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from relay.agent.credentials import IDENTITY_FILE
from relay.agent.kept import NAMES, PREKEY_FILES, Damaged, keep_names, read_file
from relay.agent.listings import DATABASE
from relay.agent.overwriting import destroy_file
from relay.agent.sealed_files import SealedFiles
from relay.agent.vault_destroying import LEFT_BY_EARLIER, plain_files
from relay.agent.vault_directory import VaultDirectory
from relay.core import ConfigurationError, Entropy, MisuseError, PeerError
from relay.identity.vault import LARGEST_HEADER, LARGEST_PART, Vault, unlock
from relay.wire import UNREADABLE, decode, encode

LARGEST_EXPORT = LARGEST_PART

_STAYS_HERE = frozenset({DATABASE, "listings.json", "descriptors.known", *PREKEY_FILES})
"""In no export.  The copies are fetched again; prekeys are deleted after some days, and an export is a copy that would
have them for as long as somebody keeps it: with its passphrase, rings that were recorded would open."""
_BLOCK = 4096
_EXPORTED_NAMES = "names in an export"


class _Export(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A header, the list of names, and the parts in its order, sealed under the vault's key for an export alone."""

    version: int
    header: bytes
    roll: bytes
    parts: tuple[bytes, ...]


# -- into a vault ------------------------------------------------------------------------------------------------


def move_in(state_directory: Path, directory: VaultDirectory, passphrase: bytearray) -> SealedFiles:
    """Make a vault of what lies there in the clear, if anything does, which is then destroyed.

    Raises `ConfigurationError`, `NotKept`; nothing is lost then.
    """
    files = directory.create(passphrase, _kept_in_the_clear(state_directory))
    clear_up(state_directory, files)
    return files


def clear_up(state_directory: Path, files: SealedFiles) -> None:
    """Destroy what still lies in the clear beside a vault that has it: somebody pulled the plug while it moved.

    Raises `ConfigurationError` where it is something else than what the vault has.
    """
    clear = plain_files(state_directory)
    if clear:
        # Whoever was stopped while it moved may have left the vault without a name that lasts.
        keep_names(state_directory)
    for path in clear:
        content = read_file(path) or b""
        if path.name in LEFT_BY_EARLIER or _is_left_of(content, files.read(path.name)):
            destroy_file(path)
        else:
            raise ConfigurationError(
                f"{path.name} lies in the clear beside the vault, and says something else; move it away, or the "
                "vault if that is the old one"
            )


def _is_left_of(content: bytes, kept: bytes | None) -> bool:
    """Whether that is what is kept, or that with zeros in places: whoever destroyed it was killed before it was gone,
    and a disk writes blocks in any order."""
    if kept is None or len(content) != len(kept):
        return not any(content)
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(content), _BLOCK))
    return all(content[block] == kept[block] or not any(content[block]) for block in blocks)


def _kept_in_the_clear(state_directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in plain_files(state_directory):
        content = read_file(path)
        if content is not None and path.name in NAMES:
            yield path.name, content


# -- to another machine ------------------------------------------------------------------------------------------


def export(directory: VaultDirectory, files: SealedFiles, entropy: Entropy) -> tuple[bytes, tuple[str, ...]]:
    """One file that the same passphrase opens, and the names of parts that are damaged and so not in it.

    Raises `ConfigurationError`.
    """
    names, parts, damaged = [], [], []
    for name in files.names():
        if name in _STAYS_HERE:
            continue
        try:
            content = files.read(name)
        except Damaged:
            damaged.append(name)
            continue
        if content is not None:
            names.append(name)
            parts.append(files.vault.seal(_exported(name), content, entropy))
    roll = files.vault.seal(_EXPORTED_NAMES, msgspec.json.encode(names), entropy)
    return encode(_Export(1, directory.header(), roll, tuple(parts))), tuple(damaged)


def _exported(name: str) -> str:
    return f"export of {name}"


class Import:
    """An export that is read; `header` is what the passphrase is for."""

    def __init__(self, data: bytes) -> None:
        """Raises `ConfigurationError`."""
        try:
            self._export = decode(data, _Export, limit=LARGEST_EXPORT)
        except PeerError:
            raise _no_export() from None
        if self._export.version != 1 or len(self._export.header) > LARGEST_HEADER:
            raise _no_export()

    def unlock(self, passphrase: bytearray) -> Vault:
        """Takes about a second.  Raises `WrongPassphrase`, `ConfigurationError`."""
        try:
            return unlock(self._export.header, passphrase)
        except PeerError:
            raise _no_export() from None

    def place(self, state_directory: Path, directory: VaultDirectory, vault: Vault) -> tuple[str, ...]:
        """Make it this machine's vault; the names of parts that are damaged and so not in it.

        Raises `ConfigurationError`, `MisuseError`, `NotKept`.
        """
        if directory.exists or plain_files(state_directory):
            raise MisuseError(
                "there is an agent's state already; name another state_directory, or destroy it first with "
                "'bayonne vault wipe --keep-config'"
            )
        try:
            names = msgspec.json.decode(vault.open(_EXPORTED_NAMES, self._export.roll), type=list[str])
        except (PeerError, *UNREADABLE):
            raise _no_export() from None
        if len(names) != len(self._export.parts):
            raise _no_export()
        whole, damaged = [], []
        for name, sealed in zip(names, self._export.parts, strict=True):
            if name in _STAYS_HERE:
                # Of an earlier version, or of who knows whom.
                continue
            try:
                whole.append((name, vault.open(_exported(name), sealed)))
            except PeerError:
                damaged.append(name)
        if IDENTITY_FILE in damaged:
            raise ConfigurationError(
                f"the part '{IDENTITY_FILE}' of that export is damaged, and without it you would be somebody else; "
                "take another copy of it"
            )
        directory.place(self._export.header, vault, whole)
        return tuple(damaged)


def _no_export() -> ConfigurationError:
    return ConfigurationError("that file is no export of a vault, or is damaged; take another copy of it")
