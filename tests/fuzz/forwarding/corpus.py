"""The kept inputs: one a line, in hexadecimal, so that a change can be read and undone.

`unpack` lays them out as the fuzzer wants them, one file each; `pack` writes back what is left after minimising.
"""

import hashlib
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "corpus" / "forwarding.txt"


def inputs(path: Path = CORPUS) -> list[bytes]:
    """All kept inputs."""
    return [bytes.fromhex(line) for line in path.read_text().split()] if path.exists() else []


def unpack(directory: Path, path: Path = CORPUS) -> int:
    """Write each input to a file of its own, named by its hash; how many there are."""
    directory.mkdir(parents=True, exist_ok=True)
    found = inputs(path)
    for data in found:
        (directory / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(found)


def pack(directory: Path, path: Path = CORPUS) -> int:
    """Keep the inputs in `directory`, shortest first, and no others; how many there are."""
    found = {file.read_bytes() for file in directory.iterdir() if file.is_file()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(data.hex() + "\n" for data in sorted(found, key=lambda data: (len(data), data)) if data)
    )
    return len(found)
