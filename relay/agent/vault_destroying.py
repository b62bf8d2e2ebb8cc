"""Out of this world: what an agent keeps is destroyed, without a passphrase, and whatever else is wrong.

Whoever wipes may have named a directory wrongly, and there is no way back.  So a directory is taken for an agent's by
what nobody else has in one, and in it nothing goes but what bears a name that an agent gives.
"""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from relay.agent.control import SOCKET
from relay.agent.credentials import IDENTITY_FILE
from relay.agent.kept import LOCKS, NAMES, NotKept
from relay.agent.listings import DATABASE
from relay.agent.overwriting import destroy_file
from relay.agent.vault_directory import VAULT
from relay.core import PeerError
from relay.identity.vault import LARGEST_HEADER, check_header, is_size_of_part

LEFT_BY_EARLIER = (f"{DATABASE}-wal", f"{DATABASE}-shm")
"""What lay in the clear beside the others in earlier versions."""

_VAULTS = (VAULT, f"{VAULT}.new")
_TORS = "tor"
_OTHER_ROLES = ".role.lock"
"""What a contact point or a reflector leaves in its state directory."""

_HEADER = re.compile(r"header(\.copy)?(\.damaged\d*|\.former)?|\.header(\.copy)?\.new")
_PART = re.compile(r"[0-9a-f]{32}")
_OTHERS = re.compile(r"[0-9a-f]{32}(\.damaged\d*)?|\.[0-9a-f]{32}\.(new|lock)|\.header\.lock")


def plain_files(state_directory: Path) -> list[Path]:
    """What an agent keeps in the clear there, if that is an agent's."""
    found = (state_directory / name for name in (*sorted(NAMES), *LEFT_BY_EARLIER))
    return [path for path in found if _is_file(path)]


class StateToDestroy:
    """What of an agent's lies in one state directory, whichever way that was named.

    `look` comes first.  What it found to be an agent's stays so: keys go first, and those are what tells it.
    """

    def __init__(self, state_directory: Path) -> None:
        self.named = state_directory
        self.path = Path(os.path.realpath(state_directory))
        self._ours = False
        self._vaults: set[Path] = set()

    def look(self) -> tuple[str, ...]:
        """What of an agent's is there, for people; nothing where there is nothing.  Raises `OSError`."""
        vaults = self._reachable_vaults()
        proved = {place for place in vaults if any(map(_proves_a_vault, place.iterdir()))}
        self._ours = self._ours or bool(proved) or self._is_marked()
        self._vaults.update(vaults if self._ours else ())
        found = {
            "a vault": any(_files_of(place) for place in self._vaults.intersection(vaults)),
            "files in the clear": bool(self._plain_files()),
            "Tor's directory": bool(self._tors()),
        }
        return tuple(what for what, there in found.items() if there)

    def left(self) -> tuple[str, ...]:
        """Afterwards: what bears a name that an agent gives, was not touched, and why, for people.

        Raises `OSError`."""
        paths = [self.path / name for name in (*_VAULTS, _TORS, *sorted(NAMES))]
        return tuple(f"{path.name} ({why})" for path in paths if (why := self._why_left(path)))

    def destroy_keys(self) -> None:
        """What opens everything else, at once.  Raises `NotKept` or `OSError`, after the last of them."""
        headers = [
            path for place in self._reachable_vaults() for path in self._files_in(place) if _is_header(path)
        ]
        _each(destroy_file, (*headers, *self._plain_files()))

    def destroy(self) -> None:
        """Everything that an agent has there, and nothing else that may lie there.  May be called where there is
        nothing, or twice.  Where one thing cannot be removed, the others are.  Raises `NotKept`."""
        failed: list[str] = []
        for step in (self.look, self.destroy_keys, self._destroy_files, self._remove_directories):
            try:
                step()
            except NotKept as error:
                failed.append(str(error))
            except OSError as error:
                failed.append(f"not all could be removed ({error.strerror or 'for no reason that is known'})")
        if failed:
            raise NotKept(failed[0])

    def _destroy_files(self) -> None:
        gone = [path for place in self._reachable_vaults() for path in self._files_in(place)]
        if self._ours:
            gone += [self.path / SOCKET, *self._locks()]
            # Whoever was killed while it wrote left them.
            _each(destroy_file, [self.path / f".{name}.new" for name in sorted(NAMES)])
        _each(Path.unlink, [path for path in gone if os.path.lexists(path)])

    def _remove_directories(self) -> None:
        failed: list[BaseException] = []
        for place in self._tors():
            shutil.rmtree(place, onerror=lambda _, path, found: failed.append(found[1]))
        try:
            _each(_remove_if_empty, [*sorted(self._vaults), *([self.named] if self._ours else [])])
        except OSError as error:
            failed.append(error)
        if failed:
            raise failed[0]

    # -- what is an agent's --------------------------------------------------------------------------------------

    def _is_marked(self) -> bool:
        """By what an agent leaves beside what it keeps; or by so many of its names that they are nobody else's."""
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK((self.path / SOCKET).lstat().st_mode):
                return True
        names = {path.name for path in plain_files(self.path)}
        return bool(self._locks()) or (IDENTITY_FILE in names and len(names) > 1)

    def _locks(self) -> list[Path]:
        found = (self.path / f".{name}.lock" for name in LOCKS)
        return [path for path in found if _is_file(path) and not path.stat().st_size]

    def _plain_files(self) -> list[Path]:
        return plain_files(self.path) if self._ours else []

    def _tors(self) -> list[Path]:
        """Tor's directory, unless it may be another role's, or is elsewhere."""
        place = self.path / _TORS
        ours = self._ours and place.is_dir() and not place.is_symlink()
        return [place] if ours and not (self.path / _OTHER_ROLES).exists() else []

    def _reachable_vaults(self) -> list[Path]:
        """What is called so.  An agent follows a link, so a wipe does; but not to what another user has: root would."""
        found = [self.path / name for name in _VAULTS]
        return [path for path in found if path.is_dir() and path.lstat().st_uid == path.stat().st_uid]

    def _files_in(self, place: Path) -> list[Path]:
        return _files_of(place) if place in self._vaults else []

    def _why_left(self, path: Path) -> str:
        if not os.path.lexists(path) or path in self._tors() or path in self._plain_files():
            return ""
        if path.is_symlink() and not (path in self._vaults and path.is_dir()):
            return "a link; see what is behind it"
        if not self._ours:
            return "nothing says that it is an agent's"
        if path in self._vaults:
            others = set(path.iterdir()) - set(_files_of(path))
            return "what is in it that is not an agent's" if others else ""
        return "not as an agent leaves it"


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _files_of(vault: Path) -> list[Path]:
    """All in a vault that an agent has put there."""
    return [
        path
        for path in sorted(vault.iterdir())
        if (path.is_symlink() or path.is_file()) and (_is_header(path) or _OTHERS.fullmatch(path.name))
    ]


def _is_header(path: Path) -> bool:
    """By its name, or, of a copy that somebody made, by what it says."""
    return bool(_HEADER.fullmatch(path.name)) or _is_whole_header(path)


def _is_whole_header(path: Path) -> bool:
    with suppress(PeerError, OSError):
        if _is_file(path) and path.stat().st_size <= LARGEST_HEADER:
            check_header(path.read_bytes())
            return True
    return False


def _proves_a_vault(path: Path) -> bool:
    part = _is_file(path) and _PART.fullmatch(path.name) and is_size_of_part(path.stat().st_size)
    return bool(part) or _is_whole_header(path)


def _remove_if_empty(place: Path) -> None:
    """A link to it, too."""
    real = Path(os.path.realpath(place))
    if real.is_dir() and not any(real.iterdir()):
        real.rmdir()
    if place.is_symlink() and not real.exists():
        place.unlink()


def _each(step: Callable[[Path], None], paths: Iterable[Path]) -> None:
    """Raises what the first of them raised, after the last."""
    failed: NotKept | OSError | None = None
    for path in paths:
        try:
            step(path)
        except (NotKept, OSError) as error:
            failed = failed or error
    if failed is not None:
        raise failed
