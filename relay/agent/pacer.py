"""The sender of one line's cells, run by its path as a process of its own.

Nothing that arrives may change when a cell leaves (DESIGN.md section 6).  In the agent's own process it would: whatever
the phone sends wakes the event loop, and the phone's packets come a little later while somebody speaks, because speech
takes longer to encode.  So the one thing that happens at a departure happens here, where nothing ever arrives but the
next cell, well ahead of its time.

Takes the number of a connected UDP socket, then records on standard input until its end: the moment of departure
(CLOCK_MONOTONIC seconds, as a double) and a cell.  Says nothing but one byte for each cell that has no way out.  It
imports nothing of this project, to be small and to start fast, and therefore reads the clock itself.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
import time
from io import RawIOBase

CELL_SIZE = 160
RECORD = struct.Struct(f"=d{CELL_SIZE}s")
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)
"""What a cell meets whose socket is bound to an address that this machine has no more, or no way from."""


def main() -> None:
    """Send every cell at its moment; a late one at once.

    The socket's own mode is left alone: the agent, which receives on it, shares it.
    """
    endpoint = socket.socket(fileno=int(sys.argv[1]))
    _ask_for_punctuality()
    os.set_blocking(1, False)
    # Unbuffered: a buffer would wait for more cells than one.
    with open(0, "rb", buffering=0, closefd=False) as records:
        while (record := _read(records, RECORD.size)) is not None:
            departure, cell = RECORD.unpack(record)
            time.sleep(max(0.0, departure - time.monotonic()))
            try:
                endpoint.send(cell)
            except OSError as error:
                # A refused port shows itself as silence, which the line measures.
                if error.errno in NO_WAY:
                    _tell()


def _tell() -> None:
    """One byte on standard output, if there is room: the line may want to leave from elsewhere."""
    with contextlib.suppress(OSError):
        os.write(1, b"!")


def _ask_for_punctuality() -> None:
    """Wake as exactly as the kernel will let us: a phone that encodes speech on the same core must not hold us up."""
    with contextlib.suppress(OSError), open("/proc/self/timerslack_ns", "w") as slack:
        slack.write("1")
    with contextlib.suppress(OSError):
        # Allowed to root, and to users whose limits say so (RLIMIT_RTPRIO); others go without.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _read(stream: RawIOBase, size: int) -> bytes | None:
    record = b""
    while len(record) < size:
        piece = stream.read(size - len(record))
        if not piece:
            return None
        record += piece
    return record


if __name__ == "__main__":
    main()
