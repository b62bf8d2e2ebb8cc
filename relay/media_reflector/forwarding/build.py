"""Builds native code of this project with `rustc` alone: no package manager, no dependency, nothing from the network.

    python -m relay.media_reflector.forwarding.build

puts the native data plane beside this package, in a directory that is not part of the sources.  A hash of its sources
is compiled in, so that an old library is never taken for a new one.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from relay.core import TransportUnavailable
from relay.media_reflector.forwarding.library import OUTPUT, ROOT, open_library, sources, sources_hash

__all__ = ["build_crate", "find_compiler", "sources_hash"]

OLDEST = (1, 70)
"""The first version of the compiler that will do."""

_OPTIONS = (
    *("--edition", "2021", "--crate-type", "cdylib"),
    *("-C", "opt-level=3", "-C", "codegen-units=1", "-C", "strip=symbols"),
    # A reflector with half a state could seal two cells under one nonce: whatever cannot be true ends the process, and
    # the service manager starts it anew.  It also keeps a panic from ever crossing into Python.
    *("-C", "panic=abort"),
)


def find_compiler() -> str | None:
    """A `rustc` that is recent enough: what RUSTC names, else the first one on PATH."""
    compiler = shutil.which(os.environ.get("RUSTC") or "rustc")
    if compiler is None:
        return None
    try:
        answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    version = re.match(r"rustc (\d+)\.(\d+)", answer)
    return compiler if version and (int(version[1]), int(version[2])) >= OLDEST else None


def build_crate(root: Path, output: Path, *, label: str = "") -> None:
    """Compile the crate whose first source is `root` to the shared library `output`, which is replaced in one step.

    The crate may read `label` as FORWARDING_SOURCES.  Raises `TransportUnavailable` when there is no compiler that will
    do, or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        wanted = ".".join(map(str, OLDEST))
        raise TransportUnavailable(
            f"native code needs rustc {wanted} or newer (Debian 12: package rustc-web, newer ones: rustc)"
        )
    try:
        output.parent.mkdir(exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=output.parent)
    except OSError:
        raise TransportUnavailable(
            "native code cannot be built: its directory cannot be written to"
        ) from None
    with place as directory:
        fresh = Path(directory) / output.name
        done = subprocess.run(
            [compiler, *_OPTIONS, "-o", fresh, root],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "FORWARDING_SOURCES": label},
        )
        if done.returncode or not fresh.exists():
            first = next(
                (line for line in done.stderr.splitlines() if line.startswith("error")), "rustc failed"
            )
            raise TransportUnavailable(f"native code cannot be built: {first}")
        os.replace(fresh, output)


def main() -> int:
    """Build the data plane, if need be; says in one line what became of it."""
    try:
        open_library()
        return 0
    except TransportUnavailable:
        pass
    try:
        build_crate(ROOT, OUTPUT, label=sources_hash(sources()))
    except TransportUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    print("the native data plane is built")
    return 0


if __name__ == "__main__":
    sys.exit(main())
