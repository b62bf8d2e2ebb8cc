"""The generator's native library: found, or built, and loaded.

It stands beside the package, like the reflector's data plane.  Its name holds a hash of all its sources, so that an old
one is never taken for a new one.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from relay.core import TransportUnavailable
from relay.media_reflector.forwarding.build import build_crate
from relay.media_reflector.forwarding.library import ROOT as FORWARDING
from relay.media_reflector.forwarding.library import sources, sources_hash

_HERE = Path(__file__).parent
ROOT = _HERE / "native" / "load.rs"
SHARED = tuple(FORWARDING.with_name(name) for name in ("crypto.rs", "sys.rs"))
"""Sources of the data plane that are also part of the generator."""


def built(root: Path, shared: Sequence[Path]) -> Path:
    """The library of the crate at `root`, built first where it is not there yet.

    Raises `TransportUnavailable` when that cannot be.
    """
    digest = sources_hash([*sources(root), *shared])
    output = root.parent.parent / "built" / f"{root.stem}-{digest}.so"
    if not output.exists():
        build_crate(root, output)
        for old in output.parent.glob(f"{root.stem}-*.so"):
            if old != output:
                old.unlink(missing_ok=True)
    return output


@cache
def load_library() -> ctypes.CDLL:
    """The load generator; see native/load.rs for its functions.  Raises `TransportUnavailable`."""
    path = built(ROOT, SHARED)
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        raise TransportUnavailable("the load generator was built for another machine") from None
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    for name, result, *arguments in (
        ("new", pointer, ctypes.c_int, pointer, size, number, number, ctypes.c_uint64),
        ("sizes", None, pointer, pointer),
        ("tally", pointer, pointer),
        ("reset", None, pointer),
        ("run", None, pointer, number, number, number, pointer),
        ("free", None, pointer),
    ):
        function = getattr(library, f"load_{name}")
        function.restype, function.argtypes = result, arguments
    return library
