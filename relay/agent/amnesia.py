"""Where an amnesic agent has its things: in memory, sealed with a key that is nowhere but in the agent.

A directory on a file system that is memory (tmpfs(5)), so that commands beside the agent find it as ever.  It goes with
the agent.  What a killed agent leaves there until the machine is switched off, or until the next one starts, is sealed
under a key that is gone, but for Tor's own directory, which says that Tor was used.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.agent.sealed_files import SealedFiles
from relay.agent.state import StateDirectory
from relay.agent.vault_directory import VAULT
from relay.core import ConfigurationError, Entropy
from relay.identity.vault import KEY_SIZE, Vault

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_USERS = Path("/run/user")
_EVERYBODYS = Path("/dev/shm")


def amnesic_places(state_directory: Path, user: int | None = None) -> tuple[Path, ...]:
    """All places in memory that may stand for a state directory of a user, by number, or of ours; an agent is in one of
    them, or in none.

    The user's alone first, else everybody's.  No variable has a say: whoever wipes from another session, from cron or
    after su(1) has to find what was started here.
    """
    # Its name must say neither whose it is nor where it would be.
    told = b"bayonne amnesic" + os.fsencode(state_directory.absolute())
    user = os.geteuid() if user is None else user
    name = f"bayonne-{user}-{hashlib.sha256(told).hexdigest()[:16]}"
    return tuple(place / name for place in (_USERS / str(user), _EVERYBODYS))


def amnesic_directory(state_directory: Path) -> Path:
    """The one to begin in: where one was left, or runs, that one.  Raises `ConfigurationError`."""
    places = amnesic_places(state_directory)
    for place in (*filter(is_ours, places), *places):
        if place.parent.is_dir() and os.access(place.parent, os.W_OK) and is_in_memory(place.parent):
            return place
    raise ConfigurationError(
        "--amnesic: this machine has no file system in memory; mount a tmpfs at /dev/shm, or do without"
    )


@contextmanager
def in_memory(directory: Path, entropy: Entropy) -> Iterator[SealedFiles]:
    """Nothing at first, and nothing afterwards.  Raises `ConfigurationError`, `NotKept`."""
    _check_owner(directory)
    # Not from under an agent that runs there.
    claim = StateDirectory(directory)
    claim.claim()
    try:
        _empty(directory)
    finally:
        claim.release()
    vault = Vault(bytearray(entropy.token(KEY_SIZE)))
    try:
        place = directory / VAULT
        place.mkdir(mode=0o700)
        files = SealedFiles(place, vault, entropy)
        files.begin()
        yield files
    finally:
        vault.wipe()
        shutil.rmtree(directory, ignore_errors=True)


def is_in_memory(place: Path, mounts: str | None = None) -> bool:
    """Whether a directory lies on a file system that no disk holds; `mounts` is mountinfo (proc(5))."""
    lines = (_MOUNTS.read_text() if mounts is None else mounts).splitlines()
    kind, longest = "", -1
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split()[4].encode().decode("unicode_escape"))
        if place.is_relative_to(point) and len(point.parts) >= longest:
            kind, longest = rest.split()[0], len(point.parts)
    return kind in _IN_MEMORY


def is_ours(directory: Path, user: int | None = None) -> bool:
    """Whether nobody but `user`, or we, can have made what stands there: whoever did would answer in the agent's
    place."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    user = os.geteuid() if user is None else user
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def _check_owner(directory: Path) -> None:
    """/dev/shm is everybody's: another user may have made it first."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return
    if directory.is_symlink() or found.st_uid != os.geteuid():
        raise ConfigurationError(
            "--amnesic: its directory in memory belongs to somebody else; see who made it"
        )


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif not path.name.endswith(".lock"):
            path.unlink(missing_ok=True)
