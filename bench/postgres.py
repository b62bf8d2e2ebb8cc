"""A PostgreSQL server of one's own: started, used and gone, whatever else runs on the machine.

It lives in a directory of its own, listens on a unix socket there and nowhere else, and runs as an ordinary user.
Debian's package `postgresql` holds the programs.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.core import ConfigurationError, spawn

USER = "relay"
"""Who may do everything there, without a password."""

_SECONDS = 30.0
_INSTALLED = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")


@contextmanager
def postgres() -> Iterator[Path]:
    """The directory of the socket of a running server.  Raises `ConfigurationError` where none can be started."""
    # Not in anybody's own directories: their paths are too long for a unix socket, and closed to another user.
    place = Path(tempfile.mkdtemp(prefix="bvr-pg-"))
    try:
        account = _account()
        if account is not None:
            os.chown(place, account.pw_uid, account.pw_gid)
        data, log = place / "data", place / "log"
        initialise = ["-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        # The machine may die meanwhile; nothing here depends on what is left then, and syncing takes a minute.
        serve = ["-D", str(data), "-k", str(place), "-c", "listen_addresses=", "-c", "fsync=off"]
        made = subprocess.run(_as(account, "initdb", initialise), cwd=place, capture_output=True, check=False)
        if made.returncode:
            raise ConfigurationError(f"initdb: {made.stderr.decode(errors='replace')}")
        with log.open("wb") as output:
            child = spawn(_as(account, "postgres", serve), directory=place, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + _SECONDS
            while not _is_ready(place):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise ConfigurationError(f"PostgreSQL does not start: {log.read_text()}")
                time.sleep(0.1)
            yield place
        finally:
            # The signal for an end in order that does not wait for clients.
            child.send_signal(signal.SIGINT)
            try:
                child.wait(_SECONDS)
            finally:
                child.kill()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as where this is root: PostgreSQL refuses to be root."""
    if os.getuid():
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError("PostgreSQL: no account without privilege that it could run as")


def _as(account: pwd.struct_passwd | None, program: str, arguments: list[str]) -> list[str]:
    command = [_program(program), *arguments]
    if account is None:
        return command
    # Changing the user takes away that the child dies with its parent: so it is asked for again.
    become = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    return ["setpriv", *become, "--pdeathsig", "KILL", *command]


def _program(name: str) -> str:
    """Debian keeps a server's programs beside its version, outside of PATH."""
    places = sorted(_INSTALLED.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]), reverse=True)
    found = str(places[0]) if places else shutil.which(name)
    if found is None:
        raise ConfigurationError("PostgreSQL is not installed; 'apt-get install postgresql'")
    return found


def _is_ready(place: Path) -> bool:
    asked = subprocess.run([_program("pg_isready"), "-q", "-h", str(place)], check=False)
    return asked.returncode == 0
