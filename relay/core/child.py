"""Child processes that cannot outlive us.

The kernel kills such a child when the thread that started it ends, however it ends (prctl(2),
PR_SET_PDEATHSIG); start children from the main thread.

setpriv(1) asks the kernel for that, in the child.  Code of ours that ran there before the program did would need a
copy of this whole process first (fork(2) in place of vfork(2)): 10 to 20 ms in which no cell is sealed.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from relay.core.errors import TransportUnavailable

Child = subprocess.Popen[bytes]

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_UNLESS_IT_IS_GONE = ("/bin/sh", "-c", '[ "$PPID" -eq "$0" ] && exec "$@"')
"""It may have ended before the kernel was asked; `$0` is its number."""


def spawn(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    keep: Sequence[int] = (),
) -> Child:
    """Start a program in a session of its own that dies with this process.

    The own session keeps a terminal's Ctrl-C from reaching it before we could stop it in order.
    Raises `TransportUnavailable` when the program is not there.
    """
    path = (os.environ if environment is None else environment).get("PATH")
    program = _found(arguments[0], path)
    return subprocess.Popen(
        [
            _found(_DIE_WITH_PARENT[0], os.environ.get("PATH")),
            *_DIE_WITH_PARENT[1:],
            *_UNLESS_IT_IS_GONE,
            str(os.getpid()),
            program,
            *arguments[1:],
        ],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=None if environment is None else dict(environment),
        cwd=directory,
        start_new_session=True,
        pass_fds=tuple(keep),
    )


def _found(program: str, path: str | None) -> str:
    found = shutil.which(program, path=path)
    if found is None:
        raise TransportUnavailable(
            f"the program '{Path(program).name}' is not installed; 'make setup' installs it"
        )
    return found
