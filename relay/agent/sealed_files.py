"""An agent's things in a vault: a file for each, sealed, under a name that says nothing (`relay.identity.vault`).

What stands on the disk is ciphertext at every moment, in files that are being written too.  A list of the parts
(`relay.agent.part_list`), itself a part and there twice, tells a part that is gone from one that never was, and an old
one from the last.  What is damaged is named, and never overwritten: it is put aside, and told, when something takes its
place (`relay.agent.put_aside`).  A prekey alone is destroyed then: mended, it would open rings long after its days.

Whoever is killed at whatever moment leaves what was there before or what was to be: a part is put in its place and then
listed; one to be removed is struck from the list first.  What was put in its place and not listed is counted by whoever
writes or removes next, so that no two contents have one generation.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from relay.agent.kept import (
    NAMES,
    PREKEY_FILES,
    Damaged,
    NotKept,
    file_lock,
    prepared_file,
    read_file,
    remove_file,
    replace_file,
    stamp_of,
)
from relay.agent.overwriting import destroy_file
from relay.agent.part_list import MARK_SIZE, Fault, PartList
from relay.agent.put_aside import put_aside, put_aside_of
from relay.core import Entropy, PeerError
from relay.identity.vault import Vault

ROLL = "roll"
"""The name of the part that lists the others."""

_ROLLS = (ROLL, f"{ROLL}.copy")
_HELP = "import an export of the vault, or put the file back from a copy"
_HELP_ALL = "put the whole directory back from a copy, or import an export of the vault"


def nobody(sentence: str) -> None:
    """Hears of damage where nobody else does."""


class SealedFiles:
    """A `relay.agent.kept.Kept` in the directory of an open vault.

    `tell` hears a sentence of each thing that is put aside, from whichever thread writes; it must not raise.
    """

    def __init__(
        self, directory: Path, vault: Vault, entropy: Entropy, tell: Callable[[str], None] = nobody
    ) -> None:
        self.path = directory
        self.vault = vault
        self.tell = tell
        self._entropy = entropy

    def read(self, name: str) -> bytes | None:
        with suppress(Damaged):
            return self._read(name)
        try:
            # Or it was written just then.
            with self.locked(_ROLLS[0]):
                return self._read(name)
        except NotKept:
            # Where no lock can be had, nothing is written either.
            return self._read(name)

    def _read(self, name: str) -> bytes | None:
        sealed = read_file(self._path(name))
        try:
            listed = self._list()
        except Damaged:
            if sealed is None:
                raise self._nobody_knows(name) from None
            # It may be an old one, but damage to the list must not take all along.  Whoever opens the vault tells it.
            return self._open(name, sealed)[MARK_SIZE:]
        if name not in listed.names:
            if sealed is not None and self._is_ahead(name, sealed, listed):
                raise self._trouble(name, Fault.AHEAD.value, _HELP_ALL)
            return None
        if sealed is None:
            raise self._trouble(name, "is gone", _HELP)
        content = self._open(name, sealed)
        if (fault := listed.fault(name, content[:MARK_SIZE])) is not None:
            raise self._trouble(name, fault.value, _HELP_ALL)
        return content[MARK_SIZE:]

    def _is_ahead(self, name: str, sealed: bytes, listed: PartList) -> bool:
        """Of one that is not listed: whether that is because the list is an old one, and not because somebody was
        killed."""
        try:
            return listed.fault(name, self.vault.open(name, sealed)[:MARK_SIZE]) is Fault.AHEAD
        except PeerError:
            return False

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        # A lock of its own, for a large one takes long to write.
        with self.locked(f"write {name}"):
            may_go, standing = self._standing(name)
            mark = self._mark(name, standing)
            sealed = self.vault.seal(name, mark + content, self._entropy)
            with prepared_file(path, sealed) as put, self._changing_list() as change:
                self._destroy_asides(name)
                if not may_go:
                    what = f"what was damaged of the part '{name}' of the vault"
                    self.tell(f"{what} {self._make_room(name)}")
                change(lambda listed: listed.counted(name, standing))
                put()
                change(lambda listed: listed.written(name, mark))

    def remove(self, name: str) -> None:
        with self._changing_list() as change:
            change(lambda listed: self._removed(listed, name))
            remove_file(self._path(name))
            self._destroy_asides(name)

    def _make_room(self, name: str) -> str:
        """For what takes the place of something damaged; what becomes of that."""
        if name in PREKEY_FILES:
            destroy_file(self._path(name))
            return "is destroyed"
        return f"is put aside as {put_aside(self._path(name)).name}"

    def _destroy_asides(self, name: str) -> None:
        """Of a prekey: what an earlier version put aside."""
        for aside in put_aside_of(self._path(name)) if name in PREKEY_FILES else ():
            destroy_file(aside)

    def _removed(self, listed: PartList, name: str) -> PartList:
        """The list before the file of `name` goes."""
        return listed.removed(name) if name in listed.names else listed.counted(name, self._mark_of(name))

    def stamp(self, name: str) -> Hashable:
        return stamp_of(self._path(name))

    def locked(self, name: str) -> AbstractContextManager[None]:
        return file_lock(self.path / f".{self.vault.file_name('lock ' + name)}.lock")

    @property
    def opens(self) -> bool:
        """Whether the vault's key opens anything here, whatever else is damaged."""
        return any(self._mark_of(name) for name in (*_ROLLS, *sorted(NAMES)))

    def names(self) -> tuple[str, ...]:
        """Everything that is kept.  Raises `Damaged` where nobody knows."""
        return tuple(sorted(self._list().names))

    def damaged(self) -> tuple[str, ...]:
        """The sentences about each part, and each copy of their list, that is damaged or gone."""
        try:
            names = sorted(NAMES.union(self.names()))
        except Damaged as error:
            return (str(error),)
        found = [self._half_a_list(name) for name in _ROLLS if self._read_list(name) is None]
        for name in names:
            try:
                self.read(name)
            except Damaged as error:
                found.append(str(error))
        return tuple(found)

    def begin(self) -> None:
        """Of a new vault: nothing is kept yet.  Raises `NotKept`."""
        listed = PartList.new(self._entropy)
        for name in _ROLLS:
            self._put_list(name, listed)

    def tidy(self) -> None:
        """Remove what was struck from the list by somebody who was killed then, and prekeys that were put aside; make a
        damaged copy of the list anew.

        Raises `NotKept`."""
        with suppress(Damaged), self._changing_list() as change:
            listed = self._list()
            for name in _ROLLS:
                if self._read_list(name) is None:
                    self._write_list(name, listed)
            for name in listed.parts.keys() - listed.names:
                # One that is ahead was kept: it is the list that is wrong.
                if listed.fault(name, self._mark_of(name)) is not Fault.AHEAD:
                    change(partial(self._removed, name=name))
                    remove_file(self._path(name))
        for name in PREKEY_FILES:
            self._destroy_asides(name)

    def _path(self, name: str) -> Path:
        return self.path / self.vault.file_name(name)

    def _open(self, name: str, sealed: bytes) -> bytes:
        try:
            return self.vault.open(name, sealed)
        except PeerError:
            raise self._trouble(name, "is damaged", _HELP) from None

    def _trouble(self, name: str, what: str, help_: str) -> Damaged:
        return Damaged(f"the part '{name}' of the vault {what} (file {self._path(name).name}); {help_}")

    def _standing(self, name: str) -> tuple[bool, bytes]:
        """Of what stands in the place of a part: whether it is nobody's loss, and its mark, empty where it has none."""
        if not self._path(name).exists():
            return True, b""
        mark = self._mark_of(name)
        try:
            listed = self._list()
        except Damaged:
            return mark != b"", mark
        fault = listed.fault(name, mark)
        return (fault is None if name in listed.names else fault is not Fault.AHEAD), mark

    def _mark_of(self, name: str) -> bytes:
        """What stands in the place of a part begins with; empty where that is nothing that opens."""
        sealed = read_file(self._path(name))
        with suppress(PeerError):
            return b"" if sealed is None else self.vault.open(name, sealed)[:MARK_SIZE]
        return b""

    # -- the list of parts ---------------------------------------------------------------------------------------

    def _list(self) -> PartList:
        """The latest.  Raises `Damaged`."""
        found = [listed for name in _ROLLS if (listed := self._read_list(name)) is not None]
        if not found:
            raise Damaged(f"{self._no_list}, so that parts may be old ones; {_HELP_ALL}")
        return max(found, key=lambda listed: listed.revision)

    def _read_list(self, name: str) -> PartList | None:
        sealed = read_file(self._path(name))
        if sealed is not None:
            with suppress(PeerError):
                return PartList.from_bytes(self.vault.open(name, sealed))
        return None

    @property
    def _no_list(self) -> str:
        return f"the list of the vault's parts is damaged or gone (file {self._path(_ROLLS[0]).name})"

    def _half_a_list(self, name: str) -> str:
        where = self._path(name).name
        return (
            f"a copy of the list of the vault's parts is damaged or gone (file {where}), the other is whole"
        )

    def _nobody_knows(self, name: str) -> Damaged:
        return Damaged(
            f"{self._no_list}, so that nobody knows whether there was a part '{name}'; {_HELP_ALL}"
        )

    def _mark(self, name: str, standing: bytes) -> bytes:
        """What the next content begins with, where one that begins with `standing` is in its place."""
        try:
            return self._list().counted(name, standing).mark(name)
        except Damaged:
            return bytes(MARK_SIZE)

    @contextmanager
    def _changing_list(self) -> Iterator[Callable[[Callable[[PartList], PartList]], None]]:
        """Nobody else changes it meanwhile.  A damaged list stays as it is."""

        def change(how: Callable[[PartList], PartList]) -> None:
            with suppress(Damaged):
                before = self._list()
                after = how(before)
                if after.names != before.names:
                    # Both: one that knew of a part less would take it for one that never was.
                    for name in _ROLLS:
                        self._write_list(name, after)
                elif after.revision != before.revision:
                    # The other is one behind, as far as whoever is killed leaves it anyway.
                    self._write_list(_ROLLS[after.revision % len(_ROLLS)], after)

        with self.locked(_ROLLS[0]):
            yield change

    def _write_list(self, name: str, listed: PartList) -> None:
        if self._read_list(name) is None:
            path, told = self._path(name), self._half_a_list(name)
            what = f"is put aside as {put_aside(path).name}" if path.exists() else "is made anew"
            self.tell(f"{told}; it {what}")
        self._put_list(name, listed)

    def _put_list(self, name: str, listed: PartList) -> None:
        replace_file(self._path(name), self.vault.seal(name, listed.to_bytes(), self._entropy))
