"""An agent's things in a vault: a file for each, sealed, under a name that says nothing (`relay.identity.vault`).

What stands on the disk is ciphertext at every moment, in files that are being written too.  A list of the parts, itself
a part and there twice, tells a part that is gone from one that never was.  What is damaged is named, and never
overwritten: it is put aside when something new takes its place.
"""

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import msgspec

from relay.agent.kept import Damaged, NotKept, file_lock, read_file, remove_file, replace_file, stamp_of
from relay.core import Entropy, PeerError
from relay.identity.vault import Vault
from relay.wire import UNREADABLE

ASIDE = ".damaged"
"""The ending of what was put aside."""

ROLL = "roll"
"""The name of the part that lists the others."""

_ROLLS = (ROLL, f"{ROLL}.copy")
_MOST_ASIDE = 100


class SealedFiles:
    """A `relay.agent.kept.Kept` in the directory of an open vault."""

    def __init__(self, directory: Path, vault: Vault, entropy: Entropy) -> None:
        self.path = directory
        self.vault = vault
        self._entropy = entropy

    def read(self, name: str) -> bytes | None:
        path = self._path(name)
        sealed = read_file(path)
        if sealed is None and name in self._names(about=name):
            # It may have come since.
            sealed = read_file(path)
            if sealed is None:
                raise Damaged(
                    f"the part '{name}' of the vault is gone (file {path.name}); import an export of the vault, or "
                    f"put the file back from a copy"
                )
        return None if sealed is None else self._open(name, sealed)

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        sealed = self.vault.seal(name, content, self._entropy)
        before = read_file(path)
        if before is not None and not self.is_whole(name, before):
            self._put_aside(path)
        replace_file(path, sealed)
        self._change_names(lambda names: names | {name})

    def remove(self, name: str) -> None:
        self._change_names(lambda names: names - {name})
        remove_file(self._path(name))

    def stamp(self, name: str) -> Hashable:
        return stamp_of(self._path(name))

    def locked(self, name: str) -> AbstractContextManager[None]:
        return file_lock(self.path / f".{self.vault.file_name('lock ' + name)}.lock")

    def names(self) -> tuple[str, ...]:
        """Everything that is kept.  Raises `Damaged` where nobody knows."""
        return tuple(sorted(self._names(about="")))

    def damaged(self) -> tuple[str, ...]:
        """The sentences about each part that is damaged or gone."""
        found = []
        try:
            for name in self.names():
                try:
                    self.read(name)
                except Damaged as error:
                    found.append(str(error))
        except Damaged as error:
            found.append(str(error))
        return tuple(found)

    def begin(self) -> None:
        """Of a new vault: nothing is kept yet.  Raises `NotKept`."""
        self._write_names(frozenset())

    def is_whole(self, name: str, sealed: bytes) -> bool:
        try:
            self.vault.open(name, sealed)
        except PeerError:
            return False
        return True

    def _path(self, name: str) -> Path:
        return self.path / self.vault.file_name(name)

    def _open(self, name: str, sealed: bytes) -> bytes:
        try:
            return self.vault.open(name, sealed)
        except PeerError:
            raise Damaged(
                f"the part '{name}' of the vault is damaged (file {self._path(name).name}); import an export of the "
                "vault, or put the file back from a copy"
            ) from None

    def _put_aside(self, path: Path) -> None:
        """Raises `NotKept` rather than lose it."""
        for number in range(_MOST_ASIDE):
            aside = path.with_name(f"{path.name}{ASIDE}{number or ''}")
            if not aside.exists():
                try:
                    path.rename(aside)
                except OSError as error:
                    raise NotKept(f"what is damaged cannot be put aside ({error.strerror})") from None
                return
        raise NotKept("the vault is damaged again and again; look at its disk")

    # -- the list of parts ---------------------------------------------------------------------------------------

    def _names(self, about: str) -> frozenset[str]:
        for roll in _ROLLS:
            sealed = read_file(self._path(roll))
            if sealed is not None:
                with suppress(PeerError):
                    return frozenset(names_of(self.vault.open(roll, sealed)))
        doubt = f", so that nobody knows whether there was a part '{about}'" if about else ""
        raise Damaged(
            f"the list of the vault's parts is damaged or gone (file {self._path(_ROLLS[0]).name}){doubt}; import an "
            "export of the vault, or put the file back from a copy"
        )

    def _change_names(self, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        # Mostly nothing changes, and nothing is written.  A damaged list stays as it is.
        with suppress(Damaged):
            names = self._names(about="")
            if change(names) != names:
                with self.locked(_ROLLS[0]):
                    self._write_names(change(self._names(about="")))

    def _write_names(self, names: frozenset[str]) -> None:
        content = msgspec.json.encode(sorted(names))
        for roll in _ROLLS:
            replace_file(self._path(roll), self.vault.seal(roll, content, self._entropy))


def names_of(content: bytes) -> list[str]:
    """What a list of parts says.  Raises `PeerError`."""
    try:
        return msgspec.json.decode(content, type=list[str])
    except UNREADABLE:
        raise PeerError("damaged part") from None
