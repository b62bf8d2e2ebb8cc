"""The kept inputs: one a line, so that a change can be read and undone.

A line is the input in hexadecimal or, where that is shorter, a JSON string whose characters are its bytes.  `unpack`
lays the inputs out as the fuzzer wants them, one file each; `pack` writes back what is left after minimising.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = CORPUS / "found"
"""Inputs that went wrong once, by codec: kept for good, whatever else reaches the same code."""


def inputs(path: Path) -> list[bytes]:
    """All kept inputs of a file; none where there is no file."""
    return [_read(line) for line in path.read_text().splitlines()] if path.exists() else []


def of_codec(name: str) -> list[bytes]:
    """All that is kept for the codec of that name."""
    return inputs(FOUND / f"{name}.txt") + inputs(CORPUS / f"{name}.txt")


def unpack(directory: Path, path: Path) -> int:
    """Write each input to a file of its own, named by its hash; how many there are."""
    found = inputs(path)
    lay_out(directory, found)
    return len(found)


def lay_out(directory: Path, found: Iterable[bytes]) -> None:
    """Each input in a file of its own, named by its hash."""
    directory.mkdir(parents=True, exist_ok=True)
    for data in found:
        (directory / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def pack(directory: Path, path: Path) -> int:
    """Keep the inputs in `directory`, shortest first, and no others; how many there are."""
    return keep((file.read_bytes() for file in directory.iterdir() if file.is_file()), path)


def keep(found: Iterable[bytes], path: Path) -> int:
    """Keep these inputs, shortest first, and no others; how many there are.  No file where there are none."""
    lines = [_written(data) for data in sorted(set(found), key=lambda data: (len(data), data)) if data]
    if not lines:
        path.unlink(missing_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return len(lines)


def _read(line: str) -> bytes:
    return json.loads(line).encode("latin-1") if line.startswith('"') else bytes.fromhex(line)


def _written(data: bytes) -> str:
    return min(data.hex(), json.dumps(data.decode("latin-1")), key=len)
