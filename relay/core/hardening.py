"""What the kernel can do so that secrets in memory stay there: no core dumps, no debugger of the same user, no swap.

Best effort: where the kernel or a limit says no, a program goes on without.
"""

import ctypes
import resource

_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


def shield_process() -> None:
    """No core dump of this process from now on (core(5)), and no other process of the same user reads its memory
    (prctl(2), PR_SET_DUMPABLE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def keep_from_swap(secret: bytearray) -> bool:
    """Whether the kernel keeps the pages that `secret` lies in out of swap (mlock(2)); until it is freed."""
    if not secret:
        return True
    view = (ctypes.c_char * len(secret)).from_buffer(secret)
    return bool(_libc.mlock(ctypes.byref(view), ctypes.c_size_t(len(secret))) == 0)
