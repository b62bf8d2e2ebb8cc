"""The directory of a vault: two copies of its header, and its parts (`relay.agent.sealed_files`).

    vault/header, vault/header.copy     salt, cost, and the key that the passphrase opens
    vault/0123456789abcdef…             parts

Whoever destroys both headers has destroyed the vault, whatever becomes of the rest.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from relay.agent.kept import NotKept, file_lock, read_file, replace_file
from relay.agent.sealed_files import SealedFiles
from relay.core import ConfigurationError, Entropy, PeerError, private_directory
from relay.identity.vault import COST, Cost, Vault, check_header, create, header_for, unlock

VAULT = "vault"
"""Its name in the state directory."""
HEADERS = ("header", "header.copy")

_NEW = "vault.new"


class VaultDirectory:
    """The vault of one state directory, locked; it may not be there yet."""

    def __init__(self, state_directory: Path, entropy: Entropy, cost: Cost = COST) -> None:
        """`cost` is that of passphrases set from now on."""
        self._state_directory = state_directory
        self._entropy = entropy
        self._cost = cost
        self.path = state_directory / VAULT

    @property
    def exists(self) -> bool:
        """Whether there is one, or what is left of one."""
        return self.path.is_dir() and any(self.path.iterdir())

    def header(self) -> bytes:
        """The first header that is whole.  Raises `ConfigurationError`."""
        for name in HEADERS:
            found = read_file(self.path / name)
            if found is not None:
                try:
                    check_header(found)
                except PeerError:
                    continue
                return found
        raise ConfigurationError(
            "the vault's header is damaged, both copies of it, and nothing opens it without; put the file back from "
            "a copy, or import an export of the vault"
        )

    def unlock(self, passphrase: bytearray) -> SealedFiles:
        """Takes about a second.  Raises `WrongPassphrase`, `ConfigurationError`."""
        header = self.header()
        try:
            vault = unlock(header, passphrase)
        except PeerError:  # it was checked
            raise ConfigurationError("the vault's header is damaged") from None
        self._heal(header)
        files = self.opened(vault)
        with suppress(NotKept):
            files.tidy()
        return files

    def opened(self, vault: Vault) -> SealedFiles:
        return SealedFiles(self.path, vault, self._entropy)

    def create(self, passphrase: bytearray, things: Iterable[tuple[str, bytes]] = ()) -> SealedFiles:
        """Make it, with these in it; it is there whole or not at all.  Raises `ConfigurationError`, `NotKept`."""
        header, vault = create(passphrase, self._entropy, self._cost)
        return self.place(header, vault, things)

    def place(self, header: bytes, vault: Vault, things: Iterable[tuple[str, bytes]]) -> SealedFiles:
        """As `create`, of a header that there is already."""
        private_directory(self._state_directory)
        with _alone_in(self._state_directory):
            if self.exists:
                raise ConfigurationError("somebody else made the vault just now; try again")
            self._make(header, vault, things)
        return self.opened(vault)

    def _make(self, header: bytes, vault: Vault, things: Iterable[tuple[str, bytes]]) -> None:
        making = self._state_directory / _NEW
        try:
            shutil.rmtree(making, ignore_errors=True)
            private_directory(making)
            files = SealedFiles(making, vault, self._entropy)
            files.begin()
            for name, content in things:
                files.write(name, content)
            for name in HEADERS:
                replace_file(making / name, header)
            _rename_for_good(making, self.path)
        except OSError as error:
            raise NotKept(f"the vault cannot be made ({error.strerror})") from None
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def change_passphrase(self, files: SealedFiles, passphrase: bytearray) -> None:
        """From now on `passphrase` opens it and the old one does not; what is kept stays as it is.

        Raises `NotKept`.
        """
        header = header_for(files.vault, passphrase, self._entropy, self._cost)
        with self._locked():
            for name in HEADERS:
                self._replace_header(name, header)

    def _heal(self, header: bytes) -> None:
        """Write a header that is damaged, gone, or of an earlier passphrase anew; another time where that fails.

        Unlocking takes a second: if another passphrase was chosen meanwhile, it is that one's.
        """
        with suppress(NotKept, ConfigurationError), self._locked():
            if self.header() != header:
                return
            for name in HEADERS:
                if read_file(self.path / name) != header:
                    self._replace_header(name, header)

    def _locked(self) -> AbstractContextManager[None]:
        return file_lock(self.path / ".header.lock")

    def _replace_header(self, name: str, header: bytes) -> None:
        """The old one is overwritten where it lay, as far as the disk does such a thing: it opens by the old
        passphrase."""
        path = self.path / name
        try:
            old = path.open("r+b")
        except OSError:
            replace_file(path, header)
            return
        with old:
            replace_file(path, header)
            overwrite(old.fileno())


def overwrite(descriptor: int) -> None:
    """Zeros in place of all that a file holds; on flash, and on file systems that copy, the old may live on."""
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, 1 << 20)))
    os.fsync(descriptor)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold a lock on the directory itself, which leaves nothing there.  Raises `NotKept`."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotKept(f"the vault cannot be made ({error.strerror})") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _rename_for_good(old: Path, new: Path) -> None:
    old.rename(new)
    directory = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
