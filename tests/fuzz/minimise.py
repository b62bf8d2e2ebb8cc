"""Choosing which inputs to keep: the shortest that together pass every turn of the project's code that all of them do.

A turn is a line that was reached from another one of the same function.  `sys.settrace` sees them in any Python, so
that a kept corpus does not depend on the fuzzer that found it.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.codec import Codec

ROOT = str(Path(__file__).parents[2] / "relay") + "/"
LARGEST_FILE = 56 * 1024
"""Bytes of a file of kept inputs; beyond, the longest inputs are given up."""

Turn = tuple[int, int, int]


def turns(codec: Codec, data: bytes) -> set[Turn]:
    """Which turns an input takes.  Raises what the codec raises."""
    found: set[Turn] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(ROOT):
            return None
        number = hash((code.co_filename, code.co_firstlineno, code.co_name))
        last = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            # A refusal that leaves a function is a turn too.
            line = -1 if event == "exception" else frame.f_lineno
            found.add((number, last, line))
            last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        codec.play(data)
    finally:
        sys.settrace(before)
    return found


def least(codec: Codec, found: Iterable[bytes]) -> list[bytes]:
    """The inputs to keep, shortest first; seeds are played first and are not among them."""
    reached: set[Turn] = set()
    for seed in codec.seeds():
        reached |= turns(codec, seed)
    kept, size = list[bytes](), 0
    for data in sorted(set(found), key=lambda data: (len(data), data)):
        new = turns(codec, data) - reached
        if new and size + 2 * len(data) + 1 <= LARGEST_FILE:
            kept.append(data)
            size += 2 * len(data) + 1
            reached |= new
    return kept
