"""The directory of a vault: two copies of its header, and its parts (`relay.agent.sealed_files`).

    vault/header, vault/header.copy     salt, cost, and the key that the passphrase opens
    vault/0123456789abcdef…             parts

Whoever destroys both headers has destroyed the vault, whatever becomes of the rest.  One that is damaged is put aside,
told, and made anew of the other.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from relay.agent.kept import NotKept, file_lock, keep_names, read_file, remove_file, replace_file
from relay.agent.overwriting import destroy_file, overwrite
from relay.agent.put_aside import put_aside, put_aside_of
from relay.agent.sealed_files import SealedFiles, nobody
from relay.core import ConfigurationError, Entropy, PeerError, private_directory, rename_for_good
from relay.identity.vault import COST, Cost, Vault, check_header, create, header_for, unlock

VAULT = "vault"
"""Its name in the state directory."""
HEADERS = ("header", "header.copy")
FORMER = ".former"
"""The ending of a header that is about to be overwritten."""

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
            if found is not None and not self._fault(name):
                return found
        raise ConfigurationError(
            "the vault's header is damaged, both copies of it, and nothing opens it without; put the file back from "
            "a copy, or import an export of the vault"
        )

    def damaged_headers(self) -> tuple[str, ...]:
        """The sentences about each copy of the header that is damaged or gone."""
        return tuple(
            f"a copy of the vault's header {fault} (file {name}); the next unlocking makes it of the other"
            for name in HEADERS
            if (fault := self._fault(name))
        )

    def put_aside(self) -> tuple[str, ...]:
        """The names of files that were damaged and put aside, for whoever wants to look at them."""
        return tuple(path.name for path in put_aside_of(self.path)) if self.exists else ()

    def unlock(self, passphrase: bytearray, tell: Callable[[str], None] = nobody) -> SealedFiles:
        """Takes about a second; `tell` hears of each thing that was damaged and is put aside, now or later.

        Raises `WrongPassphrase`, `ConfigurationError`.
        """
        header = self.header()
        try:
            vault = unlock(header, passphrase)
        except PeerError:  # it was checked
            raise ConfigurationError("the vault's header is damaged") from None
        self._heal(header, tell)
        files = self.opened(vault, tell)
        with suppress(NotKept):
            files.tidy()
        return files

    def opened(self, vault: Vault, tell: Callable[[str], None] = nobody) -> SealedFiles:
        return SealedFiles(self.path, vault, self._entropy, tell)

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
            rename_for_good(making, self.path)
        except OSError as error:
            raise NotKept(f"the vault cannot be made ({error.strerror})") from None
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def change_passphrase(self, files: SealedFiles, passphrase: bytearray) -> None:
        """From now on `passphrase` opens it and the old one does not; what is kept stays as it is.

        Headers that were put aside are destroyed: mended, they would open by the old one.

        Raises `NotKept`.
        """
        header = header_for(files.vault, passphrase, self._entropy, self._cost)
        with self._locked():
            for name in HEADERS:
                self._replace_header(name, header)
                for aside in put_aside_of(self.path / name):
                    destroy_file(aside)

    def _heal(self, header: bytes, tell: Callable[[str], None]) -> None:
        """Make a header anew that is damaged, which is put aside, or gone, or of another passphrase; another time where
        that fails.

        Unlocking takes a second: if another passphrase was chosen meanwhile, it is that one's.
        """
        try:
            with self._locked():
                if self.header() != header:
                    return
                for name in HEADERS:
                    fault = self._fault(name)
                    if fault or read_file(self.path / name) != header:
                        tell(self._make_anew(name, fault, header))
                for name in HEADERS:
                    self._destroy_former(name)
        except (NotKept, ConfigurationError) as error:
            tell(f"a copy of the vault's header cannot be made whole: {error}")

    def _make_anew(self, name: str, fault: str, header: bytes) -> str:
        """The sentence about it."""
        path = self.path / name
        if not fault:
            self._replace_header(name, header)
            return f"a copy of the vault's header was of another passphrase (file {name}), and was destroyed"
        where = f", and is put aside as {put_aside(path).name}" if path.exists() else ""
        replace_file(path, header)
        return f"a copy of the vault's header {fault} (file {name}){where}; it was made anew of the other"

    def _fault(self, name: str) -> str:
        """What is wrong with a header, for people; empty where nothing is."""
        found = read_file(self.path / name)
        if found is None:
            return "is gone"
        try:
            check_header(found)
        except PeerError:
            return "is damaged"
        return ""

    def _locked(self) -> AbstractContextManager[None]:
        return file_lock(self.path / ".header.lock")

    def _replace_header(self, name: str, header: bytes) -> None:
        """The old one is overwritten where it lay, as far as the disk does such a thing: it opens by the old
        passphrase.  Until that is done it has a name, for who comes after somebody who was stopped."""
        path = self.path / name
        self._destroy_former(name)
        if self._name_twice(name):
            replace_file(path, header)
            self._destroy_former(name)
            return
        try:
            old = path.open("r+b")
        except OSError:
            replace_file(path, header)
            return
        with old:
            replace_file(path, header)
            keep_names(self.path)
            try:
                overwrite(old.fileno())
            except OSError as error:
                raise NotKept(f"the old header could not be overwritten ({error.strerror})") from None

    def _former(self, name: str) -> Path:
        return self.path / f"{name}{FORMER}"

    def _name_twice(self, name: str) -> bool:
        """False where there is no header, or the file system has no second names that can be told to be such."""
        path, former = self.path / name, self._former(name)
        try:
            os.link(path, former)
            if not former.samefile(path):
                former.unlink()
                return False
        except OSError:
            return False
        keep_names(self.path)
        return True

    def _destroy_former(self, name: str) -> None:
        """What somebody left who was stopped; where that is in the place of a header still, its second name alone.

        Raises `NotKept`."""
        former = self._former(name)
        try:
            found = former.lstat()
        except OSError:
            return
        if stat.S_ISDIR(found.st_mode):
            # Nobody of ours made that.
            return
        if stat.S_ISLNK(found.st_mode) or any(self._is_header(found, other) for other in HEADERS):
            remove_file(former)
            return
        # What took its place may be there for no more than this process.
        keep_names(self.path)
        destroy_file(former)

    def _is_header(self, found: os.stat_result, name: str) -> bool:
        with suppress(OSError):
            return os.path.samestat(found, (self.path / name).stat())
        return False


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
