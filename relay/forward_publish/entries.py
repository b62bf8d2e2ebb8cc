"""What contact points keep and hand on: entries of a few kinds, each a slot of one size that proves itself.

Whatever the kind, an entry has a key, a revision and an expiry, all of them inside its slot and signed there.  Of
two entries of one (kind, key) the higher revision wins; of two with one revision the one whose slot sorts higher, so
that all contact points come to the same set whatever order they learn things in.

Keys are spread evenly.  Who asks for entries names the first bits of a key, never all of it: a *prefix*, and what
lies under it is a *bucket*.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from relay.core import MisuseError, PeerError
from relay.wire import unpad

KEY_SIZE = 32
MOST_PREFIX_BITS = 14
"""More would single out a record among fewer than the 16,384th part of them."""

LEAST_IN_BUCKET = 64
"""Entries, at least, under every prefix that is asked for; a store with fewer than two such parts is asked whole."""

LARGEST = 2**53 - 1
"""Numbers in entries end here, where every language still counts exactly."""

_KEY_BITS = 8 * KEY_SIZE


class EntryKind(IntEnum):
    """What an entry is."""

    RECORD = 1
    """A contact record (`relay.forward_publish.records`)."""
    LISTING = 2
    """A standing listing (`relay.forward_publish.listing`)."""
    DESCRIPTOR = 3
    """A reflector's descriptor; what is in it is no business of this package."""

    @property
    def slot_size(self) -> int:
        """Bytes of every entry of this kind."""
        return _SLOT_SIZES[self]


_SLOT_SIZES = {EntryKind.RECORD: 2040, EntryKind.LISTING: 510, EntryKind.DESCRIPTOR: 4080}


class Entry(Protocol):
    """What a store needs to know of an entry."""

    @property
    def kind(self) -> int: ...
    @property
    def key(self) -> bytes:
        """`KEY_SIZE` bytes."""
        ...

    @property
    def revision(self) -> int:
        """0 to `LARGEST`."""
        ...

    @property
    def expires(self) -> int:
        """Unix seconds."""
        ...

    @property
    def body(self) -> bytes:
        """The whole slot."""
        ...


class ReadEntry(Entry, Protocol):
    """An entry whose form is sound; whether it is authentic and in time is asked for."""

    def verify(self) -> None:
        """Raises `PeerError` ("forged") unless the owner of the key made it."""
        ...

    def check_time(self, now: float, *, ahead: float = ...) -> None:
        """Raises `PeerError` ("expired", "future-dated") where it is of no use at Unix time `now`.

        `ahead`: seconds by which the owner's clock may be ahead of ours.
        """
        ...


Parser = Callable[[bytes], ReadEntry]
"""Reads a slot: form alone, no signature, no time.  Raises `PeerError`."""


def content_of(slot: bytes, kind: EntryKind) -> bytes:
    """What `pad` filled up to a slot.  Raises `PeerError` ("oversized", "truncated", "non-canonical")."""
    if len(slot) != kind.slot_size:
        raise PeerError("oversized" if len(slot) > kind.slot_size else "truncated")
    try:
        return unpad(slot)
    except PeerError:
        raise PeerError("non-canonical") from None


def prefix_of(key: bytes, bits: int) -> int:
    """The first `bits` bits of a key."""
    if not 0 <= bits <= MOST_PREFIX_BITS or len(key) != KEY_SIZE:
        raise MisuseError("a prefix is 0 to 14 bits of a key")
    return int.from_bytes(key) >> (_KEY_BITS - bits)


def key_range(bits: int, prefix: int) -> tuple[bytes, bytes]:
    """The first and the last key of a prefix."""
    low = prefix << (_KEY_BITS - bits)
    return low.to_bytes(KEY_SIZE), (low + (1 << (_KEY_BITS - bits)) - 1).to_bytes(KEY_SIZE)


def check_prefix(bits: int, prefix: int) -> None:
    """Raises `PeerError` ("bad prefix")."""
    if not (0 <= bits <= MOST_PREFIX_BITS and 0 <= prefix < 1 << bits):
        raise PeerError("bad prefix")
