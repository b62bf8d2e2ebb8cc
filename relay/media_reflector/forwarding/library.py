"""The native data plane's library: where it is, what it was built from, what its functions take (native/ffi.rs)."""

import ctypes
import hashlib
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from relay.core import TransportUnavailable

_HERE = Path(__file__).parent

ROOT = _HERE / "native" / "lib.rs"
OUTPUT = (
    _HERE / "built" / f"forwarding-{sysconfig.get_config_var('MULTIARCH') or sysconfig.get_platform()}.so"
)
"""Where the library is, named by the machine that it is for."""

TEXT_SIZE = 200
"""Room for a sentence or a name out of the library."""


def sources(root: Path = ROOT) -> list[Path]:
    """The sources of the crate whose first one is `root`."""
    return sorted(root.parent.glob("*.rs"))


def sources_hash(paths: Sequence[Path]) -> str:
    """A short name for exactly these sources (16 hexadecimal digits)."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def open_library(path: Path = OUTPUT) -> ctypes.CDLL:
    """The library, once it is sure that it was built from the sources that are here.

    Raises `TransportUnavailable` when it is not there, cannot be loaded or is of other sources.
    """
    try:
        library = ctypes.CDLL(str(path))
        _declare(library)
        built_from = text_of(library.forwarding_sources)
    except (OSError, AttributeError):
        raise TransportUnavailable("the native data plane is not built; `make setup` builds it") from None
    if built_from != sources_hash(sources()):
        raise TransportUnavailable(
            "the native data plane is built from other sources; `make setup` builds it anew"
        )
    return library


@cache
def shared_library() -> ctypes.CDLL:
    """The library of this process, as `open_library`."""
    return open_library()


def text_of(function: "ctypes._NamedFuncPointer") -> str:
    """What a function of the library tells that fills in text."""
    text = ctypes.create_string_buffer(TEXT_SIZE)
    size = function(text, TEXT_SIZE)
    return text.raw[:size].decode(errors="replace")


def libcrypto() -> str:
    """What the libcrypto calls itself that the native data plane uses; "" when there is none.

    Raises `TransportUnavailable` as `open_library`.
    """
    return text_of(shared_library().forwarding_libcrypto)


def _declare(library: ctypes.CDLL) -> None:
    handle, data, room, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
    line, slot, now, truth = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_double, ctypes.c_bool
    for name, result, *arguments in (
        ("sources", size, room, size),
        ("libcrypto", size, room, size),
        ("new", handle, room, size),
        ("free", None, handle),
        ("add_line", line, handle, slot, data, now),
        ("prepare", truth, handle, line, data),
        ("settle", truth, handle, line, data, data, truth),
        ("cross", truth, handle, line, line),
        ("uncross", truth, handle, line),
        ("control", truth, handle, line, data),
        ("remove", truth, handle, line),
        ("send", truth, handle, slot, data, data),
        ("permit", None, handle, data),
        ("forbid", None, handle, data),
        ("check_keys", None, handle, data, size, size),
        ("counters", None, handle, room),
        ("lines", size, handle),
        ("upcalls", size, handle, room, size),
        ("receive", truth, handle, data, size, now),
        ("slot", size, handle, ctypes.c_uint64, now),
        ("departures", size, handle, room, size),
        ("start", ctypes.c_int, handle, room, size, room, size),
        ("stop", None, handle),
    ):
        function = getattr(library, f"forwarding_{name}")
        function.restype, function.argtypes = result, arguments
