"""What must not be found, in every spelling in which it could be found, and where to look for it."""

import asyncio
import base64
import gc
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType


def spellings(secret: bytes) -> list[bytes]:
    """Raw, hexadecimal, base32 and base64 (both alphabets, at every alignment) of some bytes."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    base32 = base64.b32encode(secret).rstrip(b"=")
    # The last characters of an encoding depend on what follows, the first on what stands before.
    found += [base32[:-2], base32[:-2].lower()]
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)[4 if before else 0 : -4]
        found += [text, text.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def search(needles: Mapping[str, Iterable[bytes]], haystacks: Mapping[str, bytes]) -> list[str]:
    """Which needle lies in which haystack: lines of "needle in haystack".  Capitals make no difference to text."""
    found = []
    for place, haystack in haystacks.items():
        folded = haystack.lower()
        for name, wanted in needles.items():
            if any(one in haystack or (one.isascii() and one.lower() in folded) for one in wanted):
                found.append(f"{name} in {place}")
    return found


def files_below(directory: Path) -> dict[str, bytes]:
    """Every regular file's content, by path relative to `directory`."""
    return {
        f"{directory.name}/{path.relative_to(directory)}": path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def memory_of(*roots: object) -> bytes:
    """Every text and byte string that can be reached from there.

    Code, classes and modules are nobody's memory, and the event loop is everybody's: through it one role of a test
    reaches all others.
    """
    found: list[bytes] = []
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        here = waiting.pop()
        if id(here) in seen or isinstance(here, (type, ModuleType, FunctionType, asyncio.AbstractEventLoop)):
            continue
        seen.add(id(here))
        if isinstance(here, (bytes, bytearray)):
            found.append(bytes(here))
        elif isinstance(here, str):
            found.append(here.encode())
        else:
            waiting += gc.get_referents(here)
    return b"\0".join(found)
