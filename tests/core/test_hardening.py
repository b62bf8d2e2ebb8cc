"""What a shielded process lets nobody have."""

import resource
import subprocess
import sys

from relay.core import keep_from_swap

_SHIELDED = """
import ctypes, os, resource
from pathlib import Path
from relay.core import shield_process
shield_process()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(Path(f"/proc/self/fd/{os.open('/', os.O_RDONLY)}/dev").exists())
os.abort()
"""


def test_a_shielded_process_leaves_no_core_and_is_nobodys_to_read() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run([sys.executable, "-c", _SHIELDED], capture_output=True, text=True)
    assert done.stdout == "0 0\nTrue\n", "its own files it reads still"
    assert done.returncode != 0
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


def test_a_secret_keeps_its_content_and_can_be_wiped() -> None:
    secret = bytearray(b"secret")
    keep_from_swap(secret)
    assert secret == b"secret"
    secret[:] = bytes(6)
    assert secret == bytes(6)
    assert keep_from_swap(bytearray())
