"""Overwriting secrets that are not needed any more: freed memory keeps what was in it until somebody else uses it.

Only a `bytearray` can be overwritten.  What a library returned as `bytes`, and what it copied, is out of reach here.
"""

from collections.abc import Iterator
from contextlib import contextmanager


def wipe(secret: bytearray) -> None:
    """Make it zeros, in place; its length stays."""
    secret[:] = bytes(len(secret))


@contextmanager
def passing(size: int) -> Iterator[bytearray]:
    """Room for a secret of `size` bytes that is zeros again when the block ends."""
    secret = bytearray(size)
    try:
        yield secret
    finally:
        wipe(secret)
