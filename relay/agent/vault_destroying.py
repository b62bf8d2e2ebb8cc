"""Out of this world: what an agent keeps is destroyed, without a passphrase, and whatever else is wrong."""

import shutil
from pathlib import Path

from relay.agent.control import SOCKET
from relay.agent.kept import NAMES, NotKept
from relay.agent.listings import DATABASE
from relay.agent.overwriting import destroy_file
from relay.agent.put_aside import put_aside_of
from relay.agent.vault_directory import HEADERS, VAULT

LEFT_BY_EARLIER = (f"{DATABASE}-wal", f"{DATABASE}-shm")
"""What lay in the clear beside the others in earlier versions."""

_TORS = "tor"


def plain_files(state_directory: Path) -> list[Path]:
    """What an agent keeps in the clear there."""
    found = (state_directory / name for name in (*sorted(NAMES), *LEFT_BY_EARLIER))
    return [path for path in found if path.is_file() and not path.is_symlink()]


def what_lies_in(state_directory: Path) -> tuple[str, ...]:
    """What of an agent's is there, for people; nothing where there is nothing.  Raises `OSError`."""
    vaults = [state_directory / name for name in (VAULT, f"{VAULT}.new")]
    return tuple(
        what
        for what, there in (
            ("a vault", any(place.is_dir() for place in vaults)),
            ("files in the clear", bool(plain_files(state_directory))),
            ("Tor's directory", (state_directory / _TORS).is_dir()),
        )
        if there
    )


def destroy_keys(state_directory: Path) -> None:
    """What opens everything else, at once and without a passphrase.  Raises `NotKept`, after the last of them."""
    places = (state_directory / VAULT, state_directory / f"{VAULT}.new")
    headers = [place / name for place in places for name in HEADERS]
    headers += [path for header in headers for path in put_aside_of(header)]
    failed: NotKept | None = None
    for path in (*headers, *plain_files(state_directory)):
        try:
            destroy_file(path)
        except NotKept as error:
            failed = failed or error
    if failed is not None:
        raise failed


def destroy(state_directory: Path) -> None:
    """Everything that an agent has there, and nothing else that may lie there.  May be called where there is nothing,
    or twice.  Raises `NotKept`."""
    try:
        destroy_keys(state_directory)
    finally:
        _destroy_rest(state_directory)


def _destroy_rest(state_directory: Path) -> None:
    """Where one thing cannot be removed, the others are."""
    failed: list[str] = []
    for name in (VAULT, f"{VAULT}.new", _TORS):
        place = state_directory / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, onerror=lambda _, path, found: failed.append(_reason(found[1])))
    # Whoever was killed while it wrote left the first; locks are empty.
    left = [state_directory / f".{name}.new" for name in NAMES]
    locks = [path for path in state_directory.glob(".*.lock") if not path.stat().st_size]
    try:
        for path in left:
            destroy_file(path)
        for path in (state_directory / SOCKET, *locks):
            path.unlink(missing_ok=True)
        if state_directory.is_dir() and not any(state_directory.iterdir()):
            state_directory.rmdir()
    except OSError as error:
        failed.append(_reason(error))
    if failed:
        raise NotKept(f"not all could be removed ({failed[0]}); the keys are destroyed all the same")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", "") or "for no reason that is known"
