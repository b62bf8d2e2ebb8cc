"""The kernel's floor as a relay (native/floor.rs), in a process of its own.

`python -m bench.peers.floor` speaks the same few lines of JSON as `relay.lab.load.subject`.
"""

import ctypes
import json
import sys
import threading
from pathlib import Path

from relay.core import TransportUnavailable
from relay.lab.load.library import SHARED, built
from relay.lab.load.subject import Task, answer, relay_sockets

ROOT = Path(__file__).parent.parent / "native" / "floor.rs"
SLOTTED, AT_ONCE = "floor", "floor at once"


def main() -> None:
    """Be the relay until standard input ends."""
    task = Task(**json.loads(sys.stdin.readline()))
    library = ctypes.CDLL(str(built(ROOT, SHARED[1:])))
    library.floor_new.restype = ctypes.c_void_p
    library.floor_new.argtypes = [ctypes.c_int, ctypes.c_size_t]
    library.floor_run.restype = None
    library.floor_run.argtypes = [ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p]
    (sock,) = relay_sockets(1)
    floor = library.floor_new(sock.fileno(), task.lines)
    stop = ctypes.c_uint8(0)
    arguments = (floor, task.prefer == AT_ONCE, ctypes.byref(stop))
    worker = threading.Thread(target=library.floor_run, args=arguments)
    worker.start()
    answer(name=task.prefer, port=sock.getsockname()[1])
    try:
        while sys.stdin.readline():
            answer()
    finally:
        stop.value = 1
        worker.join()


if __name__ == "__main__":
    try:
        main()
    except TransportUnavailable as error:
        sys.exit(f"bayonne: {error}")
