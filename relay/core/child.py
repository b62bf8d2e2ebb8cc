"""Child processes that cannot outlive us.

The kernel kills such a child when the thread that started it ends, however it ends (prctl(2),
PR_SET_PDEATHSIG); start children from the main thread.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from relay.core.errors import TransportUnavailable

Child = subprocess.Popen[bytes]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


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
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        return subprocess.Popen(
            list(arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=tuple(keep),
            preexec_fn=die_with_parent,
        )
    except FileNotFoundError:
        program = Path(arguments[0]).name
        raise TransportUnavailable(
            f"the program '{program}' is not installed; 'make setup' installs it"
        ) from None
